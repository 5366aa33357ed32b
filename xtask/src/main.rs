//! Steps of `./dev` that are more than ten lines of shell.

mod console;
mod postgres;
mod program;
mod sqlx;
mod stamp;
mod test;
mod wasm;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Steps of ./dev that are more than ten lines of shell")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the console's files and prints their folder.
    Console(console::Options),
    /// Builds the filter and prints the path of the .wasm file.
    Wasm(wasm::Options),
    /// Regenerates control-plane/.sqlx, which the compile-time checked queries need.
    Sqlx(sqlx::Options),
    /// Runs the tests of all crates, several programs at a time.
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Console(options) => console::run(&options),
        Command::Wasm(options) => wasm::run(&options),
        Command::Sqlx(options) => sqlx::run(&options),
        Command::Test(options) => test::run(&options),
    }
}
