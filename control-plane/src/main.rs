//! The control plane's command line; see `rateguard-control-plane --help`.

use clap::Parser;
use rateguard_control_plane::serve::{self, Command};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "rateguard-control-plane",
    version,
    about = "RateGuard's control plane. Configured by environment."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve::execute(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
