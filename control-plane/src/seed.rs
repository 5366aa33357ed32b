//! `seed`: the demo user, workspace, APIs, key, rules and budget.

use crate::state::AppState;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct SeedArgs {
    /// Where the stub upstream listens, e.g. http://127.0.0.1:8080
    #[arg(long)]
    pub stub_url: String,
    /// File that gets the demo's login, key and token (mode 600)
    #[arg(long)]
    pub out: PathBuf,
}

pub async fn run(_state: AppState, _args: SeedArgs) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
