//! One ClickHouse engine for the whole test program (`deploy/local/clickhouse_bridge.py`), a fresh database per test.
//!
//! `CLICKHOUSE_URL` names a server to use instead. Ours lives in a temporary folder; a shell that reads a pipe of ours
//! stops it and removes the folder when this program ends, however it ends.

use rateguard_control_plane::analytics::{Endpoint, migrate};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The engine that `./dev` installs (`deploy/local/environment.sh`).
const INSTALLED: &str = "rateguard/chdb-26.9.0/bin/python";

/// Stops the engine when it reads end of file, which is when this program is gone.
const SUPERVISOR: &str = r#"
"$@" >"$LOG" 2>&1 &
engine=$!
read -r _ || true
kill $engine 2>/dev/null
wait $engine
rm -rf "$FOLDER"
"#;

static SERVER: OnceLock<String> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database that does not exist yet.
pub(crate) fn no_database() -> Endpoint {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name = format!("rateguard_test_{}_{number}", std::process::id());
    let server = server().trim_end_matches('/');
    Endpoint::parse(&format!("{server}/{name}"), None).unwrap()
}

/// A database with all tables.
pub(crate) async fn fresh_database() -> Endpoint {
    let endpoint = no_database();
    migrate::run(&endpoint).await.unwrap();
    endpoint
}

#[expect(clippy::disallowed_methods, reason = "tests read their own environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn server() -> &'static str {
    SERVER.get_or_init(|| match variable("CLICKHOUSE_URL") {
        Some(url) => url.rsplit_once('/').unwrap().0.to_owned(),
        None => start(),
    })
}

fn python() -> PathBuf {
    let cache = || {
        let home = PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache");
        variable("XDG_CACHE_HOME").map_or(home, PathBuf::from)
    };
    let python = variable("RATEGUARD_CHDB_PYTHON").map_or_else(|| cache().join(INSTALLED), PathBuf::from);
    assert!(
        python.exists(),
        "these tests need ClickHouse's engine: ./dev test installs it, or set CLICKHOUSE_URL"
    );
    python
}

/// Starts an engine and gives its URL.
fn start() -> String {
    let folder = tempfile::Builder::new()
        .prefix("rg-cp-ch-")
        .tempdir()
        .unwrap()
        .keep();
    let log = folder.join("log");
    let bridge = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/clickhouse_bridge.py");
    let child = Command::new("sh")
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(python())
        .arg(bridge)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .env("LOG", &log)
        .env("FOLDER", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The pipe stays open for as long as this program lives.
    std::mem::forget(child);
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let address = said
            .lines()
            .filter(|_| said.ends_with('\n'))
            .find_map(|line| line.strip_prefix("listening "));
        if let Some(address) = address {
            return format!("http://{address}");
        }
        assert!(Instant::now() < deadline, "the engine did not start: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
