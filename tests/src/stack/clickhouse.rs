//! ClickHouse's engine behind `deploy/local/clickhouse_bridge.py`, or a server of your own (`CLICKHOUSE_URL`).

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::artifacts::{self, cache_folder, repository};
use super::ports::loopback;
use super::process::Process;
use super::wait;

/// The engine that `./dev` installs (`deploy/local/environment.sh`).
pub const CHDB_VERSION: &str = "26.9.0";

/// The database of a Stack that has the engine for itself.
const DATABASE: &str = "rateguard";

/// Starts the engine with its data in `data`, which outlive a kill, and waits until it answers.
///
/// # Errors
/// It is not installed, or does not come up: the end of its log is in the error.
pub async fn start(data: &Path, log: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(python()?);
    command
        .arg(repository().join("deploy/local/clickhouse_bridge.py"))
        .args(["--listen", &loopback(port).to_string(), "--data"])
        .arg(data);
    let mut process = Process::start("clickhouse", command, log)?;
    wait::ready(&mut process, Duration::from_secs(60), async || {
        ping(loopback(port)).await
    })
    .await?;
    Ok(process)
}

/// Succeeds when ClickHouse at an address answers `/ping`.
///
/// # Errors
/// It does not.
pub async fn ping(address: SocketAddr) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("http://{address}/ping")).send().await?;
    ensure!(answer.status().is_success(), "/ping answered {}", answer.status());
    Ok(())
}

/// `CLICKHOUSE_URL` for the programs of one Stack: of the engine at `address`, or of the server that this process was
/// told to use instead, where a Stack that keeps nothing has a database of its own, called after `port`.
#[must_use]
pub fn url(address: SocketAddr, is_kept: bool) -> String {
    match given_url() {
        None => format!("http://{address}/{DATABASE}"),
        Some(url) if is_kept => url,
        Some(url) => {
            let server = url.rsplit_once('/').map_or(url.as_str(), |(server, _)| server);
            format!(
                "{server}/rateguard_test_{}_{}",
                std::process::id(),
                address.port()
            )
        }
    }
}

/// The server to use instead of the engine: `CLICKHOUSE_URL` of this process' own environment.
#[must_use]
pub fn given_url() -> Option<String> {
    env::var_os("CLICKHOUSE_URL")
        .and_then(|url| url.into_string().ok())
        .filter(|url| !url.is_empty())
}

/// The Python that has the engine: `RATEGUARD_CHDB_PYTHON`, else the one that `./dev` installs.
fn python() -> Result<PathBuf> {
    if let Some(path) = env::var_os("RATEGUARD_CHDB_PYTHON") {
        return Ok(PathBuf::from(path));
    }
    let installed = cache_folder().join(format!("chdb-{CHDB_VERSION}/bin/python"));
    artifacts::program("the Python with chdb-core", &[&installed])
        .context("set CLICKHOUSE_URL, or let ./dev install ClickHouse's engine")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::ports;

    async fn run(port: u16, parameters: &[(&str, &str)], body: &'static str) -> (u16, String) {
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("http://{}/", loopback(port)))
            .query(parameters)
            .body(body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn what_was_inserted_survives_a_kill_and_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let (data, log) = (folder.path().join("data"), folder.path().join("log"));
        let mut process = start(&data, &log, port).await.unwrap();
        let table = "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a \
                     SETTINGS non_replicated_deduplication_window = 100";
        assert_eq!(run(port, &[], table).await, (200, String::new()));
        let insert = [
            ("query", "INSERT INTO t FORMAT TabSeparated"),
            ("insert_deduplication_token", "topic-0-0-2"),
        ];
        assert_eq!(run(port, &insert, "1\n2\n3\n").await.0, 200);
        process.kill();
        process.restart().unwrap();
        wait::ready(&mut process, Duration::from_secs(60), async || {
            ping(loopback(port)).await
        })
        .await
        .unwrap();
        assert_eq!(run(port, &insert, "1\n2\n3\n").await.0, 200);
        assert_eq!(run(port, &[], "SELECT count() FROM t").await, (200, "3\n".into()));
    }

    #[tokio::test]
    async fn an_insert_that_fails_says_so_in_the_table_and_in_a_view_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let _process = start(&folder.path().join("data"), &folder.path().join("log"), port)
            .await
            .unwrap();
        for sql in [
            "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a",
            "CREATE TABLE v (a UInt64) ENGINE = MergeTree ORDER BY a",
            "CREATE MATERIALIZED VIEW mv TO v AS SELECT a + throwIf(a = 9) AS a FROM t",
        ] {
            assert_eq!(run(port, &[], sql).await, (200, String::new()));
        }
        let insert = [("query", "INSERT INTO t (a, s) FORMAT TabSeparated")];
        assert_eq!(run(port, &insert, "1\t;\\n'\n2\tb\n").await, (200, String::new()));
        let values = [("query", "INSERT INTO t VALUES")];
        assert_eq!(run(port, &values, "(3, 'c')").await, (200, String::new()));
        let (status, text) = run(port, &insert, "9\tx\n").await;
        assert!(status == 500 && text.contains("Code: 395. "), "{status} {text}");
        let full = "ALTER TABLE t MODIFY SETTING parts_to_throw_insert = 1";
        assert_eq!(run(port, &[], full).await, (200, String::new()));
        let (status, text) = run(port, &insert, "5\tx\n").await;
        assert!(status == 500 && text.contains("Code: 252. "), "{status} {text}");
        assert_eq!(run(port, &[], "SELECT count() FROM v").await, (200, "3\n".into()));
    }

    #[tokio::test]
    async fn an_error_has_its_status_and_words_even_after_the_first_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let _process = start(&folder.path().join("data"), &folder.path().join("log"), port)
            .await
            .unwrap();
        let (status, text) = run(port, &[], "SELECT * FROM nothing").await;
        assert_eq!(status, 404);
        assert!(
            text.starts_with("Code: 60. ") && text.contains("UNKNOWN_TABLE"),
            "{text}"
        );
        let (status, text) = run(port, &[("max_result_rows", "5")], "SELECT number FROM numbers(9)").await;
        assert!(
            status == 500 && text.starts_with("Code: 396. "),
            "{status} {text}"
        );
        // The setting was that statement's only.
        assert_eq!(run(port, &[], "SELECT count() FROM numbers(9)").await.1, "9\n");
        let late =
            "SELECT throwIf(number = 900000), number FROM numbers(1000000) SETTINGS max_block_size = 1000";
        let (status, text) = run(port, &[], late).await;
        assert!(
            status == 200 && text.len() > 1_000_000,
            "{status}, {} bytes",
            text.len()
        );
        assert!(
            text.contains("Code: 395. ") && text.ends_with("__exception__\r\n"),
            "{}",
            &text[text.len() - 400..]
        );
        assert_eq!(run(port, &[], "SELECT 1").await, (200, "1\n".into()));
        let whole = "SELECT number FROM numbers(100000) SETTINGS max_block_size = 1000 FORMAT JSONCompact";
        let (_, text) = run(port, &[], whole).await;
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["data"].as_array().unwrap().len(), 100_000);
    }
}
