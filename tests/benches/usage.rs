//! What reading usage costs per chunk of a stream, over the least anybody could do: looking for line ends.

use rateguard_filter::sse_edit::UsageChunkHider;
use rateguard_filter::usage::Reader;
use rateguard_model::usage::UsageFormat;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 2_000;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/providers");
    println!("\nusage reader, per kB of body in chunks of 256 bytes");
    println!("{:>34} {:>12} {:>12} {:>8}", "", "line ends", "reader", "ratio");
    for provider in ["openai", "anthropic"] {
        let mut names: Vec<_> = std::fs::read_dir(folder.join(provider))?
            .filter_map(Result::ok)
            .map(|e| e.path())
            .collect();
        names.sort();
        for path in names {
            let (content_type, stream): (&[u8], _) = match path.extension().and_then(|e| e.to_str()) {
                Some("sse") => (b"text/event-stream", true),
                Some("json") => (b"application/json", false),
                _ => continue,
            };
            let body = std::fs::read(&path)?;
            let baseline = time(|| {
                for chunk in body.chunks(256) {
                    black_box(memchr::memchr_iter(b'\n', chunk).count());
                }
            });
            let reading = time(|| {
                let mut reader = Reader::for_response(UsageFormat::Auto, Some(content_type), None);
                let mut hider = UsageChunkHider::default();
                for chunk in body.chunks(256) {
                    reader.push(chunk);
                    if stream && provider == "openai" {
                        black_box(hider.push(chunk));
                    }
                }
                black_box(reader.finish(true));
            });
            let per_kb =
                |t: Duration| t.as_secs_f64() * 1e6 * 1024.0 / (body.len() as f64 * f64::from(ROUNDS));
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            println!(
                "{:>34} {:>9.2} µs {:>9.2} µs {:>8.1}",
                format!("{provider}/{name}"),
                per_kb(baseline),
                per_kb(reading),
                per_kb(reading) / per_kb(baseline)
            );
        }
    }
    Ok(())
}

fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    start.elapsed()
}
