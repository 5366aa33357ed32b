//! The control plane's command line; see `rateguard-control-plane --help`.

use clap::Parser;
use rateguard_control_plane::config::{FILE_VARIABLE, Settings};
use rateguard_control_plane::serve::{self, Command};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "rateguard-control-plane",
    version,
    about = "RateGuard's control plane. Configured by environment or file; .env.example lists every variable."
)]
struct Cli {
    /// File of NAME=value lines; the environment wins over it
    #[arg(long, global = true, value_name = "FILE", env = FILE_VARIABLE)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let ended = match Settings::load(config.as_deref()) {
        Ok(settings) => serve::execute(command, &settings).await,
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
