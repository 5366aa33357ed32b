//! A Redis of our own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::artifacts;
use super::ports::loopback;
use super::process::Process;
use super::wait;

/// Starts `redis-server` with its data in `data`, and waits until it answers.
///
/// `durable` keeps an append-only file; without it nothing is written and a restart begins empty.
///
/// # Errors
/// No `redis-server`, or it does not come up: the end of its log is in the error.
pub async fn start(data: &Path, log: &Path, port: u16, durable: bool) -> Result<Process> {
    std::fs::create_dir_all(data)?;
    // A file that may not grow is to be an error for it, as a full disk is (`Process::fill_disk`), and not its end.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(artifacts::program("redis-server", &[])?);
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--daemonize",
        "no",
    ]);
    command.args([
        "--appendonly",
        if durable { "yes" } else { "no" },
        "--maxmemory-policy",
        "noeviction",
    ]);
    command.arg("--dir").arg(data);
    let mut process = Process::start("redis", command, log)?;
    wait::ready(&mut process, Duration::from_secs(20), async || ping(port).await).await?;
    Ok(process)
}

/// Succeeds when Redis at a port answers PING (so not while it loads its data).
///
/// # Errors
/// It does not.
pub async fn ping(port: u16) -> Result<()> {
    let mut connection = connect(port).await?;
    redis::cmd("PING")
        .query_async::<String>(&mut connection)
        .await
        .context("PING")?;
    Ok(())
}

/// A connection to Redis at a port.
///
/// # Errors
/// It is not there.
pub async fn connect(port: u16) -> Result<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{}/", loopback(port)))?;
    client
        .get_multiplexed_async_connection()
        .await
        .context("connecting to Redis")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::ports;

    #[tokio::test]
    async fn durable_data_survives_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let mut process = start(
            &folder.path().join("data"),
            &folder.path().join("log"),
            port,
            true,
        )
        .await
        .unwrap();
        let mut connection = connect(port).await.unwrap();
        redis::cmd("CONFIG")
            .arg(&["SET", "appendfsync", "always"])
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
        redis::cmd("SET")
            .arg(&["k", "v"])
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
        process.kill();
        assert!(ping(port).await.is_err());
        process.restart().unwrap();
        wait::ready(&mut process, Duration::from_secs(20), async || ping(port).await)
            .await
            .unwrap();
        let mut connection = connect(port).await.unwrap();
        let value: String = redis::cmd("GET")
            .arg("k")
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(value, "v");
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = start(
            &folder.path().join("data"),
            &folder.path().join("log"),
            port,
            false,
        )
        .await
        .unwrap_err();
        assert!(crate::stack::is_port_conflict(&error), "{error:#}");
    }
}
