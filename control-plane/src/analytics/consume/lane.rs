//! The life of one partition: gather, insert, bury, acknowledge.

use super::Context;
use super::batch::Batch;
use super::metrics::LaneLabels;
use super::store::{Backoff, Gone, store};
use crate::analytics::dedup::Recent;
use crate::analytics::source::{Hold, Lane, Message, SourceError};
use crate::analytics::spend::{Mark, remember};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a batch waits for more (SPEC 5).
const GATHER_MAX: Duration = Duration::from_secs(2);

const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the partition is somebody else's or the program ends.
pub(super) async fn drive<L: Lane>(lane: L, context: Context) {
    let name = lane.name().clone();
    tracing::info!(partition = %name, "consuming");
    let mut driver = Driver {
        hold: lane.hold(),
        meter: Meter {
            labels: LaneLabels {
                partition: name.to_string(),
            },
            measured: None,
        },
        lane,
        context,
        recent: None,
    };
    while driver.step().await.is_ok() {}
    driver.context.metrics.lag.remove(&driver.meter.labels);
    driver.context.metrics.lag_seconds.remove(&driver.meter.labels);
    tracing::info!(partition = %name, "not consuming any more");
}

struct Driver<L> {
    lane: L,
    hold: watch::Receiver<Hold>,
    context: Context,
    /// Loaded when the first message says from when on.
    recent: Option<Recent>,
    meter: Meter,
}

/// Says how far behind a lane is.
struct Meter {
    labels: LaneLabels,
    measured: Option<Instant>,
}

impl Meter {
    async fn measure<L: Lane>(&mut self, lane: &mut L, context: &Context) {
        if self.measured.is_some_and(|at| at.elapsed() < LAG_INTERVAL) {
            return;
        }
        self.measured = Some(Instant::now());
        if let Ok(lag) = lane.lag(context.clock.now_ms()).await {
            let set = |family: &Family<LaneLabels, Gauge>, value: u64| {
                family
                    .get_or_create(&self.labels)
                    .set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&context.metrics.lag, lag.messages);
            set(&context.metrics.lag_seconds, lag.age_ms / 1_000);
        }
    }
}

impl<L: Lane> Driver<L> {
    /// One batch, or a moment without messages.
    async fn step(&mut self) -> Result<(), Gone> {
        let batch = self.gather().await?;
        if batch.is_empty() {
            return self.wanted();
        }
        self.keep(batch).await?;
        self.wanted()
    }

    fn current(&self) -> Hold {
        // A source that is gone has nobody who renews the hold.
        self.hold
            .has_changed()
            .map_or(Hold::Lost, |_| *self.hold.borrow())
    }

    fn wanted(&self) -> Result<(), Gone> {
        if self.current() == Hold::Keep {
            Ok(())
        } else {
            Err(Gone)
        }
    }

    async fn gather(&mut self) -> Result<Batch, Gone> {
        let mut batch = Batch::default();
        let mut deadline = None;
        loop {
            self.meter.measure(&mut self.lane, &self.context).await;
            if self.current() == Hold::Lost {
                return Err(Gone);
            }
            let messages = self.read().await?;
            if let Some(first) = messages.first() {
                self.load_recent(first.received_at_ms).await?;
                deadline.get_or_insert_with(|| Instant::now() + GATHER_MAX);
            }
            if let Some(recent) = &self.recent {
                for message in messages {
                    batch.add(self.lane.name(), message, recent);
                }
            }
            let is_due = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            if is_due || batch.is_full() || self.current() != Hold::Keep {
                return Ok(batch);
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Message>, Gone> {
        let mut backoff = Backoff::default();
        loop {
            match self.lane.read().await {
                Ok(messages) => return Ok(messages),
                Err(error) => self.warn(&error, "cannot read events"),
            }
            backoff.wait(&mut self.hold).await?;
        }
    }

    async fn load_recent(&mut self, first_received_at_ms: i64) -> Result<(), Gone> {
        let mut backoff = Backoff::default();
        while self.recent.is_none() {
            match Recent::load(&self.context.endpoint, self.lane.share(), first_received_at_ms).await {
                Ok(recent) => self.recent = Some(recent),
                Err(error) => {
                    self.context.metrics.failed();
                    tracing::warn!(partition = %self.lane.name(), %error, "clickhouse does not tell what it has");
                    self.meter.measure(&mut self.lane, &self.context).await;
                    backoff.wait(&mut self.hold).await?;
                }
            }
        }
        Ok(())
    }

    /// Stores, buries, acknowledges: in this order, so that a crash repeats and never loses.
    async fn keep(&mut self, mut batch: Batch) -> Result<(), Gone> {
        let token = batch.token(self.lane.name());
        let name = self.lane.name().clone();
        let refused = {
            let mut storing = pin!(store(&self.context, &name, &token, &batch.rows, &mut self.hold));
            loop {
                match tokio::time::timeout(LAG_INTERVAL, &mut storing).await {
                    Ok(stored) => break stored?,
                    // What waits grows meanwhile, and has to be seen.
                    Err(_) => self.meter.measure(&mut self.lane, &self.context).await,
                }
            }
        };
        batch.dead.extend(refused);
        let recent = self.recent.get_or_insert_default();
        self.context.active.note(&batch.rows);
        for row in &batch.rows {
            recent.insert(row);
        }
        for (event_id, received_at) in &batch.voids {
            recent.note_void(*event_id, *received_at);
        }
        let metrics = self.context.metrics.clone();
        metrics.duplicates.inc_by(batch.duplicates);
        self.note_marks(&batch.marks).await?;
        let mut backoff = Backoff::default();
        while !batch.dead.is_empty() {
            match self.lane.bury(&batch.dead).await {
                Ok(()) => {
                    metrics.dead_letters.inc_by(batch.dead.len() as u64);
                    for letter in batch.dead.drain(..) {
                        let (origin, reason) = (letter.origin, letter.reason);
                        tracing::error!(
                            origin,
                            reason,
                            "an event can never be stored: it is a dead letter"
                        );
                    }
                }
                Err(error) => {
                    self.warn(&error, "cannot keep dead letters");
                    backoff.wait(&mut self.hold).await?;
                }
            }
        }
        loop {
            match self.lane.acknowledge(&batch.offsets).await {
                Ok(()) => return Ok(()),
                Err(error) => self.warn(&error, "cannot acknowledge events"),
            }
            backoff.wait(&mut self.hold).await?;
        }
    }

    /// What was on the bus before these is stored.
    async fn note_marks(&mut self, marks: &[Mark]) -> Result<(), Gone> {
        let mut backoff = Backoff::default();
        while !marks.is_empty() {
            match remember(&self.context.endpoint, marks).await {
                Ok(()) => break,
                Err(error) => {
                    self.context.metrics.failed();
                    tracing::warn!(partition = %self.lane.name(), %error, "clickhouse did not take a mark");
                }
            }
            backoff.wait(&mut self.hold).await?;
        }
        Ok(())
    }

    fn warn(&self, error: &SourceError, what: &'static str) {
        tracing::warn!(partition = %self.lane.name(), error = %error.0, "{what}");
    }
}
