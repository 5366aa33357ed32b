//! `ReportUsage`: events for the bus, and what resolves the reservations of the same requests.
//!
//! Whatever of a message was read is carried out to its end, also when the data plane that sent it is gone by then: it
//! may be nobody's to send again. Each half is taken whole or not at all, and does not wait for the other to work:
//! while the bus is away budgets go on being settled, and while Redis is away events go on being published.

use super::auth::Caller;
use super::decode;
use super::resolve::{Checked, Resolve, Resolver};
use super::service::status;
use crate::clock;
use crate::events::{BusError, EventBus};
use crate::ledger::{Ledger, Resolution};
use crate::metrics::Metrics;
use rateguard_wire::bus::MARK_NODE;
use rateguard_wire::v1;
use rateguard_wire::v1::{RequestEvent, UsageSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tonic::Status;

/// How long settlements wait for the answer of a bus that may hang.
const BUS_PATIENCE: Duration = Duration::from_secs(1);

/// After that they do not wait for it at all, until somebody else finds that it is back.
const BUS_PAUSE_MS: i64 = 5_000;

/// Who published, in the entries of the bus.
const NODE_ID: &str = "ext-ratelimit/usage";

pub struct Usage<P, F> {
    resolver: Arc<Resolver<P, F>>,
    bus: Arc<dyn EventBus>,
    metrics: Arc<Metrics>,
    /// Unix ms.
    bus_paused_until: AtomicI64,
}

/// A message that its sender may send.
struct Report {
    node_id: String,
    events: Vec<RequestEvent>,
    settlements: Checked,
    releases: Checked,
}

impl<P: Ledger, F: Ledger> Usage<P, F> {
    pub fn new(resolver: Arc<Resolver<P, F>>, bus: Arc<dyn EventBus>, metrics: Arc<Metrics>) -> Self {
        Self {
            resolver,
            bus,
            metrics,
            bus_paused_until: AtomicI64::new(0),
        }
    }

    pub(super) async fn report(
        self: Arc<Self>,
        caller: Caller,
        request: v1::ReportUsageRequest,
    ) -> Result<v1::ReportUsageResponse, Status> {
        let report = self.check(caller, request)?;
        // Not a part of this call: that ends with its connection.
        tokio::spawn(async move { self.take(report).await })
            .await
            .map_err(|_| Status::internal("the report was not taken"))?
    }

    fn check(&self, caller: Caller, request: v1::ReportUsageRequest) -> Result<Report, Status> {
        let v1::ReportUsageRequest {
            node_id,
            mut events,
            settlements,
            releases,
        } = request;
        if node_id == MARK_NODE {
            return Err(Status::invalid_argument("node_id: is this service's own"));
        }
        decode::batch_len(events.len(), decode::EVENTS_MAX, "events")?;
        let resolving = settlements.len().saturating_add(releases.len());
        decode::batch_len(resolving, decode::REPORTED_MAX, "settlements and releases")?;
        let sent = events.len();
        events.retain(decode::is_sound_event);
        let invalid = sent - events.len();
        if invalid > 0 {
            self.metrics.events.invalid.inc_by(invalid as u64);
            self.resolver.warn_invalid("events", "an id is not 16 bytes");
        }
        for event in &events {
            // Requests without a valid key belong to no workspace.
            if !event.workspace_id.is_empty() {
                caller.may(decode::id(&event.workspace_id, "events.workspace_id")?)?;
            }
        }
        Ok(Report {
            node_id,
            events,
            settlements: self.resolver.check(caller, settlements, Resolve::Settle)?,
            releases: self.resolver.check(caller, releases, Resolve::Release)?,
        })
    }

    async fn take(&self, report: Report) -> Result<v1::ReportUsageResponse, Status> {
        let resolves = !report.settlements.is_empty() || !report.releases.is_empty();
        let has_events = !report.events.is_empty();
        let accepted = u32::try_from(report.events.len()).unwrap_or(u32::MAX);
        let (published, resolved) = tokio::join!(
            self.publish(&report.node_id, report.events, resolves),
            self.resolve(&report.settlements, &report.releases),
        );
        match (published, resolved) {
            (Err(error), _) if !resolves => Err(error),
            (_, Err(error)) if !has_events => Err(error),
            (Err(_), Err(error)) => Err(error),
            (published, resolved) => Ok(v1::ReportUsageResponse {
                accepted: if published.is_ok() { accepted } else { 0 },
                events_taken: published.is_ok(),
                settlements_taken: resolved.is_ok(),
                invalid_settlements: resolved.unwrap_or(0),
            }),
        }
    }

    /// `in_company`: somebody else's acknowledgement waits for it.
    async fn publish(
        &self,
        node_id: &str,
        events: Vec<RequestEvent>,
        in_company: bool,
    ) -> Result<(), Status> {
        if events.is_empty() {
            return Ok(());
        }
        let outcome = if !in_company {
            self.bus.publish(node_id, events).await
        } else if clock::now_ms() < self.bus_paused_until.load(Ordering::Relaxed) {
            return Err(refusal(&BusError::Unavailable(None)));
        } else {
            let publishing = tokio::time::timeout(BUS_PATIENCE, self.bus.publish(node_id, events));
            publishing.await.unwrap_or(Err(BusError::Unavailable(None)))
        };
        let pause_ms = outcome
            .as_ref()
            .map_or(clock::now_ms().saturating_add(BUS_PAUSE_MS), |()| 0);
        self.bus_paused_until.store(pause_ms, Ordering::Relaxed);
        outcome.map_err(|error| refusal(&error))
    }

    /// Answers how many were refused for good.
    async fn resolve(&self, settlements: &Checked, releases: &Checked) -> Result<u32, Status> {
        let (settled, released) =
            tokio::try_join!(self.resolver.apply(settlements), self.resolver.apply(releases))
                .map_err(|error| status(&error))?;
        let replaced = settlements.replaced(&settled).chain(releases.replaced(&released));
        let now_ms = clock::now_ms();
        let voids: Vec<RequestEvent> = replaced
            .map(|block| RequestEvent {
                event_id: block.id.as_bytes().to_vec(),
                workspace_id: block.workspace_id.as_bytes().to_vec(),
                timestamp_ms: now_ms,
                // To the consumer: what this id was charged on its expiry is taken back.
                usage_source: UsageSource::Reserved.into(),
                revision: 1,
                ..RequestEvent::default()
            })
            .collect();
        if !voids.is_empty() {
            // Settled again, they are replaced again: what did not get through comes once more.
            let published = self.bus.publish(NODE_ID, voids).await;
            published.map_err(|error| refusal(&error))?;
        }
        let resolutions = settled.iter().chain(&released);
        let invalid = resolutions.filter(|resolution| **resolution == Resolution::Invalid);
        Ok(u32::try_from(invalid.count()).unwrap_or(u32::MAX))
    }
}

fn refusal(error: &BusError) -> Status {
    match error {
        BusError::Full => Status::resource_exhausted("the event bus is full; try again later"),
        BusError::Unavailable(_) => Status::unavailable("the event bus is unavailable"),
    }
}
