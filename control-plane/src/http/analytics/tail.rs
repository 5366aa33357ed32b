//! The live tail: looks for new events every second and sends them as server-sent events.

use super::events::shown;
use crate::analytics::query::QueryError;
use crate::analytics::query::events::{EventFilter, NEWEST_MAX};
use crate::analytics::{ApiEvent, Reader};
use crate::http::error::ApiError;
use crate::state::AppState;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

/// At the same time, in this process.
const TAILS_MAX: usize = 64;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// As long as an access token lasts: who has lost access is out then (TI-09).
const LIFE: Duration = Duration::from_secs(15 * 60);
/// How late an event may become visible after newer ones have, in milliseconds.
const LATE_MS: i64 = 60_000;

/// What had been taken so shortly before a tail begins is shown too: it may not have been visible yet.
const ON_ITS_WAY_MS: i64 = 5_000;

/// Who may follow.
#[derive(Clone)]
pub struct Tails(Arc<Semaphore>);

impl Default for Tails {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TAILS_MAX)))
    }
}

/// A stream that has begun; 429 where there are too many.
pub(super) async fn answer(
    state: AppState,
    reader: Reader,
    workspace_id: Uuid,
    filter: EventFilter,
) -> Result<Response, ApiError> {
    let permit = Arc::clone(&state.tails.0)
        .try_acquire_owned()
        .map_err(|_| ApiError::TooMany { retry_after_s: 10 })?;
    let now_ms = state.clock.now_ms();
    let mut tail = Tail {
        begun_ms: now_ms - ON_ITS_WAY_MS,
        since_ms: now_ms,
        ends: Instant::now() + LIFE,
        seen: HashMap::new(),
        waiting: VecDeque::new(),
        state,
        reader,
        workspace_id,
        filter,
        _permit: permit,
    };
    // A refusal is an answer of its own, not the end of a stream.
    tail.look().await?;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold((tail, ticks), |(mut tail, mut ticks)| async move {
        loop {
            if let Some(event) = tail.waiting.pop_front() {
                return Some((Ok::<_, Infallible>(event), (tail, ticks)));
            }
            if Instant::now() >= tail.ends {
                return None;
            }
            let mut shutdown = tail.state.shutdown.clone();
            tokio::select! {
                // Also when nobody is left who could say so.
                _ = shutdown.wait_for(|stop| *stop) => return None,
                _ = ticks.tick() => {}
            }
            // ClickHouse may come back.
            if let Err(error) = tail.look().await {
                tracing::debug!(error = %error, "the tail sees nothing for now");
            }
        }
    });
    let kept_alive = KeepAlive::new().interval(HEARTBEAT_EVERY);
    Ok(Sse::new(events).keep_alive(kept_alive).into_response())
}

struct Tail {
    state: AppState,
    reader: Reader,
    workspace_id: Uuid,
    filter: EventFilter,
    /// What was taken before is not shown.
    begun_ms: i64,
    /// The newest receive time that was seen.
    since_ms: i64,
    /// Receive times of what was sent, as far back as the next look goes.
    seen: HashMap<(Uuid, u8), i64>,
    waiting: VecDeque<Event>,
    ends: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    async fn look(&mut self) -> Result<(), ApiError> {
        let from_ms = self.since_ms - LATE_MS;
        let found: Result<Vec<ApiEvent>, QueryError> =
            self.reader.newest(self.workspace_id, from_ms, &self.filter).await;
        let mut fresh = found?;
        fresh.retain(|event| {
            let is_new = !self.seen.contains_key(&(event.event_id, event.revision));
            is_new && event.received_at >= self.begun_ms
        });
        let bodies = shown(&self.state.db, self.workspace_id, &fresh).await?;
        for (event, body) in fresh.iter().zip(bodies) {
            self.seen
                .insert((event.event_id, event.revision), event.received_at);
            self.since_ms = self.since_ms.max(event.received_at);
            if let Ok(event) = Event::default()
                .event("request")
                .id(body.id.clone())
                .json_data(&body)
            {
                self.waiting.push_back(event);
            }
        }
        let oldest_ms = self.since_ms - LATE_MS;
        self.seen.retain(|_, received_ms| *received_ms >= oldest_ms);
        debug_assert!(self.waiting.len() <= NEWEST_MAX as usize);
        Ok(())
    }
}
