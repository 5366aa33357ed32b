//! Starts the limit service and stops it on SIGTERM or SIGINT.

use anyhow::Context;
use clap::Parser;
use rateguard_ext_ratelimit::config::{Args, Config};
use rateguard_ext_ratelimit::serve::Server;
use rateguard_ext_ratelimit::telemetry;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let config = Config::try_from(Args::parse()).context("the configuration cannot be used")?;
    runtime(config.worker_threads)?.block_on(run(config))
}

fn runtime(worker_threads: u16) -> std::io::Result<Runtime> {
    match worker_threads {
        1 => Builder::new_current_thread().enable_all().build(),
        more => Builder::new_multi_thread()
            .worker_threads(more.into())
            .enable_all()
            .build(),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let endpoint = config
        .otlp_endpoint
        .as_deref()
        .filter(|endpoint| !endpoint.is_empty());
    let telemetry = telemetry::start(config.log_format, endpoint)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(config).await.context("the service cannot start")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.shutdown().await;
    // The exporter's connection lives on this runtime, which must go on while it sends.
    let _ = tokio::task::spawn_blocking(|| telemetry.shutdown()).await;
    Ok(())
}
