//! The stack of `./dev up`: started detached from the terminal, its data kept in `.dev/`.

mod control;
mod record;
mod report;
mod supervise;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Starts, stops and shows the local stack; ./dev calls it")]
struct Arguments {
    /// Folder for data, logs and records.
    #[arg(long, default_value = ".dev")]
    home: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts everything and prints how to use it.
    Up {
        /// Forget the data of earlier runs first.
        #[arg(long)]
        fresh: bool,
    },
    /// Stops what `up` started.
    Down,
    /// Shows each part.
    Status,
    /// Stays in the foreground and holds the stack.
    #[command(hide = true)]
    Supervise,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { home, command } = Arguments::parse();
    let outcome = match command {
        Command::Up { fresh } => control::up(&home, fresh).await.map(|()| true),
        Command::Down => control::down(&home).await.map(|()| true),
        Command::Status => control::status(&home).await,
        Command::Supervise => supervise::run(&home).await.map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
