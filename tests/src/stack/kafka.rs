//! A Kafka broker of our own in KRaft mode, or brokers of yours (`KAFKA_BROKERS`).

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::artifacts::{self, cache_folder};
use super::ports::loopback;
use super::process::{Process, run};
use super::wait;

/// The broker that `./dev` installs (`deploy/local/environment.sh`).
pub const KAFKA_VERSION: &str = "4.1.0";

/// Written when a broker has caught up with the cluster's metadata and takes requests.
const STARTED: &str = "Kafka Server started";

/// The id of the one cluster that a data folder belongs to: 16 bytes in base64url. Any will do.
const CLUSTER_ID: &str = "UmF0ZUd1YXJkLUthZmthMQ";

/// Small and quick to start: a test's broker carries little and lives for seconds.
const JVM: &[&str] = &[
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// Starts a broker with its data in `data`, which outlive a kill, and waits until it takes requests.
///
/// # Errors
/// No Java or no broker on this machine, or it does not come up: the end of its log is in the error.
pub async fn start(data: &Path, log: &Path, broker: u16, controller: u16) -> Result<Process> {
    start_node(data, log, &properties(data, 1, broker, controller)).await
}

/// Starts one more broker in the cluster of the one whose controller listens there: for topics with a second copy.
///
/// # Errors
/// As of [`start`].
pub async fn start_second(data: &Path, log: &Path, broker: u16, controller: u16) -> Result<Process> {
    start_node(data, log, &properties(data, 2, broker, controller)).await
}

async fn start_node(data: &Path, log: &Path, properties: &str) -> Result<Process> {
    std::fs::create_dir_all(data)?;
    let config = data.join("server.properties");
    std::fs::write(&config, properties)?;
    if !data.join("log/meta.properties").exists() {
        run(
            "formatting Kafka's folder",
            java()?
                .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
                .arg(&config),
        )?;
    }
    let mut command = java()?;
    command.arg("kafka.Kafka").arg(&config);
    let mut process = Process::start("kafka", command, log)?;
    await_start(&mut process).await?;
    Ok(process)
}

/// Waits until a broker that was started (again) takes requests.
///
/// # Errors
/// It ends, or takes longer than a minute: the end of its log is in the error.
pub async fn await_start(process: &mut Process) -> Result<()> {
    let name = process.name().to_owned();
    let started = std::time::Instant::now();
    while !process.has_said(STARTED) {
        ensure!(
            process.exited().is_none() && started.elapsed() < Duration::from_secs(60),
            "{name} did not start; end of its log:\n{}",
            process.log_tail()
        );
        tokio::time::sleep(wait::interval(started.elapsed())).await;
    }
    Ok(())
}

/// Succeeds when a broker has written that it takes requests.
///
/// # Errors
/// It has not.
pub fn has_started(process: &Process) -> Result<()> {
    ensure!(process.has_said(STARTED), "the broker does not take requests yet");
    Ok(())
}

/// The brokers to use instead of one of our own: `KAFKA_BROKERS` of this process' own environment.
#[must_use]
pub fn given_brokers() -> Option<String> {
    env::var_os("KAFKA_BROKERS")
        .and_then(|brokers| brokers.into_string().ok())
        .filter(|brokers| !brokers.is_empty())
}

/// Node 1 is a broker and the one controller; others are brokers. One copy of everything that is not asked for with more.
fn properties(data: &Path, node: u8, broker: u16, controller: u16) -> String {
    let (broker, controller) = (loopback(broker), loopback(controller));
    let (roles, also_listens) = match node {
        1 => ("broker,controller", format!(",CONTROLLER://{controller}")),
        _ => ("broker", String::new()),
    };
    format!(
        "\
process.roles={roles}
node.id={node}
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{broker}{also_listens}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
log.dirs={log}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
# A broker that was killed is let in again when its last session has ended: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
",
        log = data.join("log").display()
    )
}

/// A `java` with the broker's classes.
fn java() -> Result<Command> {
    let jars = env::var_os("RATEGUARD_KAFKA_JARS").map_or_else(
        || cache_folder().join(format!("kafka-{KAFKA_VERSION}/jars")),
        PathBuf::from,
    );
    ensure!(
        jars.is_dir(),
        "no Kafka in {}: set KAFKA_BROKERS, or let ./dev install it",
        jars.display()
    );
    let mut classes = OsString::from(jars);
    classes.push("/*");
    let mut command = Command::new(
        artifacts::program("java", &[]).context("Kafka needs Java 17 or later; ./dev installs it")?,
    );
    command.args(JVM).arg("-cp").arg(classes);
    Ok(command)
}
