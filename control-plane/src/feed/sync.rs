//! Keeps the image fresh: reads what changed when Postgres says so, and asks once a second in case it did not.

use super::Hub;
use crate::db::{DbError, data_plane_node, feed::CHANNEL, feed::may_shrink_until, snapshot};
use crate::snapshot::row::Position;
use crate::state::AppState;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often the version row is asked although nothing was said: a lost notification costs at most this.
const FALLBACK_INTERVAL: Duration = Duration::from_secs(1);
/// How often what data planes reported is written.
const REPORTS_INTERVAL: Duration = Duration::from_secs(5);
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long a data plane that says nothing is listed.
const NODES_KEPT: TimeDelta = TimeDelta::days(7);
/// How long removals are kept for clients that come back.
const REMOVALS_KEPT: TimeDelta = TimeDelta::days(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until `shutdown` turns true: follows the database, writes `lastUsedAt`, prunes removals.
pub async fn run(state: AppState, shutdown: watch::Receiver<bool>) {
    // Connections of its own: requests that use up the pool must not hold a revocation back.
    let db = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(state.db.connect_options().as_ref().clone());
    let mut stop = shutdown.clone();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = follow(&state, &db) => {}
        () = write_reports(&state) => {}
        () = prune(&state) => {}
    }
    flush_reports(&state).await;
}

/// Brings the image up to date; true if it moved.
pub async fn refresh(state: &AppState, db: &PgPool) -> Result<bool, DbError> {
    let hub: &Hub = &state.feed;
    let known = hub.position();
    if let Some(known) = known
        && snapshot::position(db).await? == known
    {
        return Ok(false);
    }
    let reading = match known {
        Some(known) => snapshot::read_since(db, known).await?,
        None => snapshot::read_all(db).await?,
    };
    if let Some(known) = known
        && reading.is_full
    {
        warn_of_new_history(known, reading.position);
    }
    hub.let_shrink_until(may_shrink_until(db).await?);
    for problem in hub.apply(reading, &state.keyring, state.now()) {
        tracing::error!(
            table = problem.table,
            id = %problem.id,
            column = problem.column,
            reason = problem.reason,
            "a row cannot be told to data planes"
        );
    }
    Ok(true)
}

fn warn_of_new_history(known: Position, found: Position) {
    tracing::warn!(
        known_version = known.version,
        found_version = found.version,
        "the database went back or was replaced; every data plane gets everything"
    );
}

async fn follow(state: &AppState, db: &PgPool) {
    let mut tick = tokio::time::interval(FALLBACK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener: Option<PgListener> = None;
    let mut is_away = false;
    loop {
        if listener.is_none() {
            listener = listen(db).await;
        }
        // After listening, never before: what changed in between would be missed.
        match refresh(state, db).await {
            Ok(_) if is_away => {
                is_away = false;
                tracing::info!("the database is back; the feed follows it again");
            }
            Ok(_) => {}
            Err(error) => {
                listener = None;
                if !is_away {
                    is_away = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the feed cannot read the database; polls are answered from memory"
                    );
                }
            }
        }
        tokio::select! {
            lost = notified(listener.as_mut()) => {
                if lost {
                    listener = None;
                }
            }
            _ = tick.tick() => {}
        }
    }
}

async fn listen(db: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(db).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Waits for a notification; true if the connection was lost instead. Without one it waits for ever.
async fn notified(listener: Option<&mut PgListener>) -> bool {
    match listener {
        Some(listener) => !matches!(listener.try_recv().await, Ok(Some(_))),
        None => std::future::pending().await,
    }
}

async fn write_reports(state: &AppState) {
    let mut tick = tokio::time::interval(REPORTS_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        flush_reports(state).await;
    }
}

/// Writes what data planes reported: last uses of keys that are due, and what each of them runs.
pub async fn flush_reports(state: &AppState) {
    flush_key_uses(state).await;
    let heard = state.feed.take_heard();
    if heard.is_empty() {
        return;
    }
    if let Err(error) = data_plane_node::record(&state.db, &heard).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "what data planes run cannot be written yet"
        );
        state.feed.put_back_heard(heard);
    }
}

/// Writes the uses that are due; keeps them if that fails.
pub async fn flush_key_uses(state: &AppState) {
    let due = state.feed.take_key_uses(state.clock.now_ms());
    if due.is_empty() {
        return;
    }
    let rows: Vec<_> = due
        .iter()
        .filter_map(|(id, minute)| Some((*id, DateTime::<Utc>::from_timestamp(minute.checked_mul(60)?, 0)?)))
        .collect();
    if let Err(error) = snapshot::touch_keys(&state.db, &rows).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "last uses of keys cannot be written yet"
        );
        state.feed.put_back_key_uses(due);
    }
}

async fn prune(state: &AppState) {
    let mut tick = tokio::time::interval(PRUNE_INTERVAL);
    loop {
        tick.tick().await;
        if let Err(error) = snapshot::prune_removals(&state.db, state.now() - REMOVALS_KEPT).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old removals cannot be pruned yet"
            );
        }
        if let Err(error) = data_plane_node::prune(&state.db, state.now() - NODES_KEPT).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "data planes that are gone cannot be forgotten yet"
            );
        }
    }
}
