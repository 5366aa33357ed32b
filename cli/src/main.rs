//! `rateguard`: the REST API on the command line. It knows routes and columns; every rule is the control plane's.

mod account;
mod analytics;
mod arguments;
mod body;
mod client;
mod credentials;
mod error;
mod output;
mod resources;

use arguments::{Arguments, Command, Costs, Global};
use clap::{CommandFactory as _, Parser as _};
use client::Client;
use credentials::Store;
use error::Error;
use output::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { global, command } = Arguments::parse();
    match run(global, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(global: Global, command: Command) -> Result<(), Error> {
    if let Command::Completion { shell } = command {
        clap_complete::generate(
            shell,
            &mut Arguments::command(),
            "rateguard",
            &mut std::io::stdout(),
        );
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(answer(global, command))
}

async fn answer(global: Global, command: Command) -> Result<(), Error> {
    let printer = Printer::new(global.output, global.quiet);
    let store = Store::find(global.config_dir.as_deref())?;
    let mut client = Client::new(&global, store)?;
    match command {
        Command::Login(login) => account::log_in(&mut client, &printer, login).await,
        Command::Logout => account::log_out(&mut client, &printer).await,
        Command::Whoami => account::who_am_i(&mut client, &printer).await,
        Command::Workspaces { command } => resources::workspaces(&mut client, &printer, command).await,
        Command::Apis { command } => {
            resources::crud(
                &mut client,
                &printer,
                &resources::APIS,
                command.unwrap_or_default(),
            )
            .await
        }
        Command::Keys { command } => {
            resources::keys(&mut client, &printer, command.unwrap_or_default()).await
        }
        Command::Rules { command } => {
            resources::rules(&mut client, &printer, command.unwrap_or_default()).await
        }
        Command::Budgets { command } => {
            resources::crud(
                &mut client,
                &printer,
                &resources::BUDGETS,
                command.unwrap_or_default(),
            )
            .await
        }
        Command::Budget(change) => resources::monthly_budget(&mut client, &printer, change).await,
        Command::Costs(Costs { by: None, .. }) => resources::costs(&mut client, &printer).await,
        Command::Costs(Costs { by: Some(by), span }) => {
            analytics::breakdown(&mut client, &printer, &by, &span).await
        }
        Command::Analytics { command } => analytics::analytics(&mut client, &printer, command).await,
        Command::Tail(tail) => analytics::tail(&mut client, &printer, tail).await,
        Command::DataPlanes { command } => {
            resources::data_planes(&mut client, &printer, command.unwrap_or_default()).await
        }
        Command::Api { method, path, data } => {
            resources::raw(&mut client, &method, &path, data.as_deref()).await
        }
        // Answered above: it needs neither network nor files.
        Command::Completion { .. } => Ok(()),
    }
}
