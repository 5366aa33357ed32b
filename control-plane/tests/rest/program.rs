//! The program itself: its subcommands, its exit codes, its end.

use crate::support::postgres;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const DEADLINE: Duration = Duration::from_secs(30);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rateguard-control-plane"));
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

#[tokio::test]
async fn bad_configuration_is_told_before_a_port_is_bound() {
    let output = program()
        .arg("serve")
        .env("REGISTRATION", "maybe")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    for name in ["DATABASE_URL", "JWT_SECRET", "ENCRYPTION_KEY", "REGISTRATION"] {
        assert!(said.contains(name), "{said}");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_named() {
    let mut command = program();
    command
        .arg("migrate")
        .env("DATABASE_URL", "postgres://nobody:canary@127.0.0.1:1/none");
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("DATABASE_URL"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
}

/// A served program on a database of its own.
struct Served {
    child: Child,
    address: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Served {
    async fn start() -> Self {
        let (_db, url) = postgres::fresh_database().await;
        // What matters comes from a file; the environment wins over it.
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("DATABASE_URL=\"{url}\"\nRATEGUARD_ENV=development\nLISTEN_ADDR=nonsense\n");
        std::fs::write(file.path(), text).unwrap();
        let mut child = program()
            .arg("serve")
            .arg("--all")
            .arg("--config")
            .arg(file.path())
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = wait_for_line(&mut lines, "listening http=").await;
        let address = said.split_once("listening http=").unwrap().1.to_owned();
        Self {
            child,
            address,
            lines,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Until so many requests, the one that asks among them, are being answered.
    async fn in_flight(&self, count: u32) {
        let wanted = format!("rateguard_control_plane_requests_in_flight {count}\n");
        let asking = async {
            loop {
                let text = reqwest::get(self.url("/metrics"))
                    .await
                    .unwrap()
                    .text()
                    .await
                    .unwrap();
                if text.contains(&wanted) {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, asking).await.unwrap();
    }

    async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(killed.success());
    }

    async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(DEADLINE, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }
}

/// The `message` of the next line that contains a text.
async fn wait_for_line(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> String {
    let reading = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it ended");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let message = line["message"].as_str().unwrap_or_default();
            if message.contains(wanted) {
                return message.to_owned();
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap()
}

#[tokio::test]
async fn serve_takes_a_file_answers_and_stops_when_told() {
    let mut served = Served::start().await;
    let ready = reqwest::get(served.url("/ready")).await.unwrap();
    assert_eq!(ready.status(), 200);
    served.terminate().await;
    let ended = served.ended().await;
    assert!(ended.success(), "{ended}");
}

/// What was begun is answered, also what takes long; nothing new is taken.
#[tokio::test]
async fn a_stop_under_load_answers_what_was_begun() {
    let mut served = Served::start().await;
    let client = reqwest::Client::new();
    let registering: Vec<_> = (0..4)
        .map(|n| {
            let body = serde_json::json!({
                "email": format!("p{n}@example.com"), "password": "correct horse", "name": "P"
            });
            let sent = client.post(served.url("/api/auth/register")).json(&body).send();
            tokio::spawn(sent)
        })
        .collect();
    served.in_flight(5).await;
    served.terminate().await;
    for answer in registering {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), 201);
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(body["accessToken"].is_string());
    }
    let ended = served.ended().await;
    assert!(ended.success(), "{ended}");
    assert!(client.get(served.url("/health")).send().await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut served = Served::start().await;
    // Its body never comes: the drain would wait for it.
    let mut stuck = tokio::net::TcpStream::connect(&served.address).await.unwrap();
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stuck.write_all(head.as_bytes()).await.unwrap();
    served.in_flight(2).await;
    served.terminate().await;
    wait_for_line(&mut served.lines, "stopping").await;
    served.terminate().await;
    assert_eq!(served.ended().await.code(), Some(2));
}

#[tokio::test]
async fn a_bad_file_is_named_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "LOG_FORMAT=text\nnonsense\n").unwrap();
    let mut command = program();
    command.arg("serve").env("RATEGUARD_CONFIG_FILE", file.path());
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("RATEGUARD_CONFIG_FILE: line 2 of"), "{said}");
}

#[tokio::test]
async fn the_doctor_tells_what_is_away_with_a_fix_and_exits_with_1() {
    let (_db, url) = postgres::fresh_database().await;
    let run = async |extra: &[(&str, &str)], arguments: &[&str]| {
        let output = program()
            .arg("doctor")
            .args(arguments)
            .env("DATABASE_URL", &url)
            .envs(extra.iter().copied())
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, table) = run(&[], &[]).await;
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("ok       database migrations"), "{table}");
    assert!(table.contains("skipped  Redis"), "{table}");

    let away = [
        ("REDIS_URL", "redis://:canary@127.0.0.1:1/"),
        ("LIMITS_URL", "http://127.0.0.1:1"),
        ("LIMITS_TOKEN", "rgdp_canary"),
        ("ENVOY_ADMIN_URL", "http://127.0.0.1:1"),
        ("GATEWAY_PUBLIC_URL", "http://127.0.0.1:1"),
        ("DOCTOR_API_KEY", "canary"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("CLICKHOUSE_URL", "http://canary:canary@127.0.0.1:1"),
    ];
    let (code, text) = run(&away, &["--json"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(!text.contains("canary"), "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ok"], false);
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 6, "{text}");
    assert!(failed.iter().all(|check| check["fix"].is_string()), "{text}");
}

#[tokio::test]
async fn cp_10_a_database_of_a_newer_version_is_left_as_it_is() {
    let (db, url) = postgres::fresh_database().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99990101000000, 'of a newer version', true, '\\x00', 0)";
    sqlx::query(newer).execute(&db).await.unwrap();
    let output = program()
        .arg("migrate")
        .env("DATABASE_URL", &url)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let applied: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE version = 99990101000000")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(applied, 1);
}
