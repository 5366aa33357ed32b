//! Bills what nobody resolved: expired reservations are charged as reserved, published, and then forgotten.

use crate::clock;
use crate::degraded::Failover;
use crate::events::EventBus;
use crate::feed::Feed;
use crate::ledger::{Caller, Expired, Ledger, LedgerError, Resolution, Settlement};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use rateguard_model::id::{QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::Unit;
use rateguard_wire::v1::{self, RequestEvent, UsageSource};
use std::sync::Arc;
use std::time::Duration;

/// Reservations of one workspace handled per pass, so that none starves the others.
const BATCH: usize = 500;

/// Who published, in the entries of the bus.
const NODE_ID: &str = "ext-ratelimit/sweeper";

pub struct Sweeper<P, F> {
    ledger: Arc<Failover<P, F>>,
    bus: Arc<dyn EventBus>,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    warning: Throttle,
    /// Charged after an outage and not yet published; at most one batch.
    charged: Vec<RequestEvent>,
}

impl<P: Ledger, F: Ledger> Sweeper<P, F> {
    pub fn new(
        ledger: Arc<Failover<P, F>>,
        bus: Arc<dyn EventBus>,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
        warning: Throttle,
    ) -> Self {
        Self {
            ledger,
            bus,
            feed,
            metrics,
            warning,
            charged: Vec::new(),
        }
    }

    /// Sweeps at intervals until cancelled.
    pub async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.pass(clock::now_ms()).await;
        }
    }

    /// One bounded pass over all workspaces.
    pub async fn pass(&mut self, now_ms: i64) {
        self.ledger.sweep_fallback(BATCH, now_ms).await;
        if self.ledger.is_degraded() {
            return;
        }
        if let Err(error) = self.sweep(now_ms).await {
            if self.warning.pass(now_ms) {
                tracing::warn!(%error, "expired reservations could not be swept; the next pass tries again");
            }
            return;
        }
        self.charge_overdue(now_ms).await;
        self.metrics
            .pending
            .set(i64::try_from(self.ledger.pending_count()).unwrap_or(i64::MAX));
    }

    async fn sweep(&self, now_ms: i64) -> Result<(), LedgerError> {
        for workspace_id in self.ledger.open_workspaces(now_ms).await? {
            let expired = self.ledger.sweep(workspace_id, BATCH, now_ms).await?;
            if expired.is_empty() {
                continue;
            }
            let ids: Vec<RequestId> = expired.iter().map(|e| e.id).collect();
            let events = expired.iter().map(|e| self.event_of_expired(e)).collect();
            // Another process may publish the same ones: the consumer drops duplicates by event id.
            if self.publish(events).await {
                self.ledger.confirm_expired(workspace_id, &ids, now_ms).await?;
                self.metrics.expired.inc_by(ids.len() as u64);
                tracing::info!(workspace.id = %workspace_id, count = ids.len(), "reservations expired unsettled");
            }
        }
        Ok(())
    }

    /// Writes to Redis what memory admitted during an outage and nobody settled since, and publishes what was charged
    /// by that. What another process settled in the meantime is a duplicate here and billed already.
    async fn charge_overdue(&mut self, now_ms: i64) {
        if !self.publish_charged().await {
            return;
        }
        let (overdue, callers): (Vec<_>, Vec<_>) = self.ledger.overdue(BATCH, now_ms).into_iter().unzip();
        if overdue.is_empty() {
            return;
        }
        match self.ledger.charge(&overdue, now_ms).await {
            Ok(resolutions) => {
                let charged = overdue
                    .iter()
                    .zip(callers)
                    .zip(resolutions)
                    .filter(|(_, r)| *r == Resolution::Applied);
                let charged = charged
                    .map(|((s, caller), _)| event(s.id, s.workspace_id, caller, now_ms, held_nanos(s)));
                self.charged.extend(charged);
                self.publish_charged().await;
            }
            Err(error) => {
                if self.warning.pass(now_ms) {
                    tracing::warn!(%error, "reservations admitted from memory could not be charged yet");
                }
            }
        }
    }

    /// Answers whether nothing is left to publish.
    async fn publish_charged(&mut self) -> bool {
        if self.charged.is_empty() {
            return true;
        }
        if !self.publish(self.charged.clone()).await {
            return false;
        }
        let count = self.charged.len();
        self.charged.clear();
        self.metrics.expired.inc_by(count as u64);
        tracing::info!(
            count,
            "reservations admitted from memory were charged as reserved"
        );
        true
    }

    async fn publish(&self, events: Vec<RequestEvent>) -> bool {
        match self.bus.publish(NODE_ID, events).await {
            Ok(()) => true,
            Err(error) => {
                if self.warning.pass(clock::now_ms()) {
                    tracing::warn!(%error, "expired reservations could not be published; the next pass tries again");
                }
                false
            }
        }
    }

    /// Its cost is what a budget was charged: budgets of one request all hold the same estimate.
    fn event_of_expired(&self, expired: &Expired) -> RequestEvent {
        let view = self.feed.view();
        let is_budget = |id: &QuotaId| view.as_ref().is_some_and(|v| v.budget(*id).is_some());
        let charges = expired.charges.iter();
        let cost = charges
            .filter(|(id, ..)| is_budget(id))
            .map(|(.., amount)| *amount)
            .max()
            .unwrap_or(0);
        let members = expired.members.iter().map(|member| v1::Member {
            request_id: member.id.as_bytes().to_vec(),
            cost_nanos: member.cost_nanos,
        });
        RequestEvent {
            members: members.collect(),
            ..event(
                expired.id,
                expired.workspace_id,
                expired.caller,
                expired.expired_at_ms,
                cost,
            )
        }
    }
}

fn held_nanos(settlement: &Settlement) -> i64 {
    let amounts = settlement.amounts.iter();
    amounts
        .filter(|a| a.quota.unit == Unit::NanoUsd)
        .map(|a| a.actual)
        .max()
        .unwrap_or(0)
}

fn event(
    id: RequestId,
    workspace_id: WorkspaceId,
    caller: Caller,
    timestamp_ms: i64,
    cost_nanos: i64,
) -> RequestEvent {
    let Caller { key_id, api_id } = caller;
    RequestEvent {
        api_key_id: key_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        api_id: api_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        event_id: id.as_bytes().to_vec(),
        timestamp_ms,
        workspace_id: workspace_id.as_bytes().to_vec(),
        cost_nanos,
        usage_source: UsageSource::Reserved.into(),
        revision: 0,
        ..RequestEvent::default()
    }
}
