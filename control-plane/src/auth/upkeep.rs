//! Forgets what nobody asks for any more: ended sessions, old links, old failures of logins.

use crate::db::{DbError, login_failure, password_reset, session};
use crate::state::AppState;
use chrono::TimeDelta;
use std::time::Duration;
use tokio::sync::watch;

const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Sessions that ended tell for this long from where an account signs in (`throttle`).
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(30);
const REST_KEPT: TimeDelta = TimeDelta::days(1);

/// Runs until `shutdown` turns true.
pub async fn run(state: AppState, mut shutdown: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = once(&state).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "old sessions cannot be forgotten yet");
        }
    }
}

/// One round.
pub async fn once(state: &AppState) -> Result<(), DbError> {
    let now = state.now();
    session::prune(&state.db, now - SESSIONS_KEPT).await?;
    password_reset::prune(&state.db, now - REST_KEPT).await?;
    login_failure::prune(&state.db, now - REST_KEPT).await
}
