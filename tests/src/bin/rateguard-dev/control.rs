//! `up`, `down` and `status`: they talk to the supervisor through its record and by signals.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rateguard_tests::stack::folder::Folder;
use rateguard_tests::stack::wait;
use rustix::process::Signal;

use crate::{record, report};

/// A cold build inside `up` is the longest step.
const UP_WITHIN: Duration = Duration::from_secs(1_800);
const DOWN_WITHIN: Duration = Duration::from_secs(60);

/// Starts a supervisor that stays, shows what it says until everything is ready, and prints how to use it.
///
/// # Errors
/// A part does not come up: the supervisor's words have been shown.
pub(crate) async fn up(home: &Path, fresh: bool) -> Result<()> {
    fs::create_dir_all(home).with_context(|| format!("making {}", home.display()))?;
    let home = &home.canonicalize()?;
    if let Some(supervisor) = supervisor(home) {
        if !report::exists(home) {
            bail!(
                "a stack is just starting (process {}); see ./dev status",
                supervisor.pid()
            );
        }
        println!(
            "It is already running (./dev down stops it).\n\n{}",
            report::text(home)?
        );
        return Ok(());
    }
    end_leftovers(home).await;
    if fresh {
        Folder::wipe(&home.join("stack"))?;
    }
    report::remove(home);
    let log = home.join("supervisor.log");
    let child = spawn_supervisor(home, &log)?;
    follow_until_ready(home, &log, child).await?;
    println!("\n{}", report::text(home)?);
    Ok(())
}

/// Stops exactly what `up` started.
///
/// # Errors
/// Something does not end.
pub(crate) async fn down(home: &Path) -> Result<()> {
    let running: Vec<record::Entry> = record::read(home)
        .into_iter()
        .filter(record::Entry::is_alive)
        .collect();
    if running.is_empty() {
        println!("Nothing is running.");
    } else {
        for entry in running.iter().filter(|entry| entry.name == record::SUPERVISOR) {
            entry.signal(Signal::TERM);
            let _ = gone(entry).await;
        }
        end_leftovers(home).await;
        for entry in &running {
            gone(entry).await?;
        }
        println!(
            "Stopped. Data stays in {} (./dev up --fresh begins anew).",
            home.join("stack").display()
        );
    }
    report::remove(home);
    record::remove(home);
    Ok(())
}

/// Shows each part; false when something is not as it should be.
///
/// # Errors
/// The HTTP client cannot be made.
pub(crate) async fn status(home: &Path) -> Result<bool> {
    let entries = record::read(home);
    if !entries.iter().any(record::Entry::is_alive) {
        println!("Nothing is running (./dev up starts it).");
        return Ok(false);
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(3))
        .build()?;
    let mut all_ready = true;
    println!("{:<14} {:>8}  {:<22} STATE", "PART", "PID", "ADDRESS");
    for entry in &entries {
        let state = if entry.is_alive() {
            state(&client, entry).await
        } else {
            "ended".to_owned()
        };
        all_ready &= state == "ready";
        let address = entry
            .address
            .map_or_else(|| "-".to_owned(), |address| address.to_string());
        println!("{:<14} {:>8}  {address:<22} {state}", entry.name, entry.pid());
    }
    if !report::exists(home) {
        println!("still starting; see {}", home.join("supervisor.log").display());
        return Ok(false);
    }
    Ok(all_ready)
}

async fn state(client: &reqwest::Client, entry: &record::Entry) -> String {
    let Some(address) = entry.address else {
        return "ready".to_owned();
    };
    if matches!(entry.name.as_str(), "postgres" | "redis" | "clickhouse" | "kafka") {
        return match tokio::net::TcpStream::connect(address).await {
            Ok(_) => "ready".to_owned(),
            Err(error) => format!("not ready: {error}"),
        };
    }
    match client.get(format!("http://{address}/ready")).send().await {
        Ok(answer) if answer.status().is_success() => "ready".to_owned(),
        Ok(answer) => format!("not ready: /ready answers {}", answer.status()),
        Err(error) => format!("not ready: {error}"),
    }
}

fn supervisor(home: &Path) -> Option<record::Entry> {
    record::read(home)
        .into_iter()
        .find(|entry| entry.name == record::SUPERVISOR && entry.is_alive())
}

/// Ends parts whose supervisor is gone (it was killed where the kernel does not end its children), last first.
async fn end_leftovers(home: &Path) {
    for entry in record::read(home).iter().rev().filter(|entry| entry.is_alive()) {
        entry.signal(if entry.name == "postgres" {
            Signal::INT
        } else {
            Signal::TERM
        });
        if gone(entry).await.is_err() {
            entry.signal(Signal::KILL);
        }
    }
}

async fn gone(entry: &record::Entry) -> Result<()> {
    wait::until(&format!("{} to end", entry.name), DOWN_WITHIN, async || {
        anyhow::ensure!(!entry.is_alive(), "process {} still runs", entry.pid());
        Ok(())
    })
    .await
}

fn spawn_supervisor(home: &Path, log: &Path) -> Result<Child> {
    let output = File::create(log).with_context(|| format!("making {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--home").arg(home).arg("supervise");
    // A group of its own: Ctrl-C and the end of this terminal do not reach it.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    command.spawn().context("starting the supervisor")
}

async fn follow_until_ready(home: &Path, log: &Path, mut child: Child) -> Result<()> {
    let started = Instant::now();
    let mut shown = 0;
    loop {
        let is_ready = report::exists(home);
        let ended = child.try_wait()?;
        shown = show_from(log, shown)?;
        if is_ready {
            println!("ready after {:.1} s", started.elapsed().as_secs_f32());
            return Ok(());
        }
        if let Some(status) = ended {
            bail!(
                "the stack did not start ({status}); logs are in {}",
                home.join("stack/logs").display()
            );
        }
        if started.elapsed() > UP_WITHIN {
            let _ = child.kill();
            bail!("not ready after {} s", UP_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Prints what a file has gained since `shown` bytes, and returns its new length.
fn show_from(log: &Path, shown: u64) -> Result<u64> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(shown))?;
    let mut gained = Vec::new();
    let length = file.read_to_end(&mut gained)?;
    let mut terminal = std::io::stdout().lock();
    terminal.write_all(&gained)?;
    terminal.flush()?;
    Ok(shown + length as u64)
}
