//! One Postgres for the whole test program, a fresh database for each test.
//!
//! `TEST_DATABASE_URL` names a server to use instead (its role must be allowed to create databases). Ours lives in
//! a temporary folder behind a Unix socket; a shell that reads a pipe of ours stops it and removes the folder when
//! this program ends, however it ends.

use rateguard_control_plane::serve::MIGRATOR;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// initdb refuses root.
const USER: &str = "nobody";

/// Stops the server when it reads end of file, which is when this program is gone.
const SUPERVISOR: &str = r#"
"$@" >"$LOG" 2>&1 &
server=$!
read -r _ || true
kill -INT $server 2>/dev/null
wait $server
rm -rf "$FOLDER"
"#;

static SERVER: OnceLock<String> = OnceLock::new();
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A pool on a new database with all migrations, and the database's URL.
pub(crate) async fn fresh_database() -> (PgPool, String) {
    let template = TEMPLATE.get_or_init(make_template).await;
    let name = format!("{template}_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&url("postgres")).await.unwrap();
    admin
        .execute(format!("CREATE DATABASE {name} TEMPLATE {template}").as_str())
        .await
        .unwrap();
    let url = url(&name);
    let options = PgConnectOptions::from_str(&url).unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options)
        .await
        .unwrap();
    (pool, url)
}

/// The URL of a database of [`fresh_database`], for a program of its own.
pub(crate) fn url_of(db: &PgPool) -> String {
    url(db.connect_options().get_database().expect("a database"))
}

async fn make_template() -> String {
    let name = format!("rateguard_test_{}", std::process::id());
    let mut admin = PgConnection::connect(&url("postgres")).await.unwrap();
    admin
        .execute(format!("CREATE DATABASE {name}").as_str())
        .await
        .unwrap();
    let mut template = PgConnection::connect(&url(&name)).await.unwrap();
    MIGRATOR.run(&mut template).await.unwrap();
    template.close().await.unwrap();
    name
}

#[expect(clippy::disallowed_methods, reason = "tests read their own environment")]
pub(crate) fn url(database: &str) -> String {
    let server = SERVER.get_or_init(|| std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| start()));
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(database);
    url.to_string()
}

/// Starts a server and gives the URL of its database `postgres`.
fn start() -> String {
    let programs = programs();
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let folder = tempfile::Builder::new()
        .prefix("rg-cp-pg-")
        .tempdir()
        .unwrap()
        .keep();
    if root {
        assert!(
            Command::new("chown")
                .arg(USER)
                .arg(&folder)
                .status()
                .unwrap()
                .success()
        );
    }
    let as_user = |program: PathBuf| -> Vec<std::ffi::OsString> {
        let mut line = Vec::new();
        if root {
            let group = Command::new("id").args(["-g", USER]).output().unwrap().stdout;
            let group = String::from_utf8(group).unwrap();
            let group = group.trim();
            for part in [
                "setpriv",
                "--reuid",
                USER,
                "--regid",
                group,
                "--clear-groups",
                "--",
            ] {
                line.push(part.into());
            }
        }
        line.push(program.into());
        line
    };
    let data = folder.join("data");
    let initdb = as_user(programs.join("initdb"));
    let made = Command::new(&initdb[0])
        .args(&initdb[1..])
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ])
        .arg(&data)
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "initdb failed: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let log = folder.join("postgres.log");
    let mut server = Command::new("sh");
    server
        .args(["-c", SUPERVISOR, "supervisor"])
        .args(as_user(programs.join("postgres")))
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(&folder);
    for setting in [
        "listen_addresses=",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=400",
    ] {
        server.args(["-c", setting]);
    }
    let child = server
        .env("LOG", &log)
        .env("FOLDER", &folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The pipe stays open for as long as this program lives.
    std::mem::forget(child);
    wait_for(&folder, &log);
    format!("postgres://postgres@localhost/postgres?host={}", folder.display())
}

fn wait_for(folder: &Path, log: &Path) {
    let deadline = Instant::now() + START_TIMEOUT;
    let ready = Command::new(programs().join("pg_isready"))
        .arg("-h")
        .arg(folder)
        .output();
    let mut ready = ready.unwrap().status.success();
    while !ready {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "Postgres did not start: {said}");
        std::thread::sleep(Duration::from_millis(20));
        let output = Command::new(programs().join("pg_isready"))
            .arg("-h")
            .arg(folder)
            .output();
        ready = output.unwrap().status.success();
    }
}

/// The folder with `initdb` and `postgres`: often not on PATH.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    versions.sort();
    let on_path = || {
        let found = Command::new("sh")
            .args(["-c", "command -v initdb"])
            .output()
            .ok()?;
        let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
        path.parent()
            .filter(|_| found.status.success())
            .map(Path::to_path_buf)
    };
    versions
        .pop()
        .or_else(on_path)
        .expect("these tests need PostgreSQL: install `postgresql`, or set TEST_DATABASE_URL")
}
