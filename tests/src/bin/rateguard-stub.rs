//! The stub upstream as a program, for `./dev up` and the benchmarks.

use clap::Parser;
use rateguard_tests::stub::Stub;
use std::net::SocketAddr;

/// Answers OpenAI Chat Completions and Anthropic Messages without any model behind it.
#[derive(Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let stub = Stub::start_without_log(Options::parse().listen).await?;
    println!("listening http={}", stub.addr());
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
        .recv()
        .await;
    Ok(())
}
