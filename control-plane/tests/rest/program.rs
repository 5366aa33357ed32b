//! The program itself: its subcommands, its exit codes, its end.

use crate::support::postgres;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

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

#[tokio::test]
async fn serve_migrates_nothing_answers_and_stops_when_told() {
    let (_db, url) = postgres::fresh_database().await;
    let migrated = program()
        .arg("migrate")
        .env("DATABASE_URL", &url)
        .output()
        .await
        .unwrap();
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    let mut child = program()
        .arg("serve")
        .env("DATABASE_URL", &url)
        .env("RATEGUARD_ENV", "development")
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("LOG_FORMAT", "json")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line())
            .await
            .unwrap()
            .unwrap();
        let line: serde_json::Value = serde_json::from_str(&line.expect("it ended")).unwrap();
        let message = line["message"].as_str().unwrap_or_default();
        if let Some((_, address)) = message.split_once("listening http=") {
            break address.to_owned();
        }
    };
    let ready = reqwest::get(format!("http://{address}/ready")).await.unwrap();
    assert_eq!(ready.status(), 200);
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap()
            .success()
    );
    let ended = tokio::time::timeout(DEADLINE, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "{ended}");
}
