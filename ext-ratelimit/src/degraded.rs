//! The ledger with a second one behind it: Redis while it answers, memory while it does not (SPEC 1.9).
//!
//! - While Redis is away a Reserve is answered from memory, marked degraded, by each quota's failure mode.
//! - Nothing else is: what cannot be made durable is not acknowledged, and the data plane's outbox keeps it.
//! - What memory admitted and nobody settles is charged in Redis after its return ([`Failover::overdue`]).
//! - With no primary at all the fallback is the store, and nothing is degraded.

mod admit;
mod breaker;
mod pending;
mod share;

#[cfg(test)]
mod tests;

use crate::config::Tuning;
use crate::ledger::{
    BucketRef, BucketStatus, Caller, Expired, Ledger, LedgerError, Reserve, Reserved, Resolution, Settlement,
    Spent,
};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use crate::workers::Workers;
pub(crate) use admit::closed;
use admit::is_bounded;
use breaker::Breaker;
use pending::Pending;
use rateguard_model::id::{QuotaId, RequestId, WorkspaceId};
use share::Shares;
use std::sync::Arc;
use std::time::Duration;

/// Batches wait this much longer for Redis than a Reserve: nobody's request hangs on them.
const BATCH_PATIENCE: u32 = 10;

/// A Reserve's answer, and whether memory gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub reserved: Reserved,
    pub degraded: bool,
}

pub struct Failover<P, F> {
    primary: Option<P>,
    fallback: F,
    breaker: Breaker,
    shares: Shares,
    pending: Pending,
    workers: Arc<Workers>,
    metrics: Arc<Metrics>,
    timeout: Duration,
    outbox_grace_ms: i64,
    warning: Throttle,
}

impl<P: Ledger, F: Ledger> Failover<P, F> {
    /// `timeout` bounds a call that names no deadline of its own.
    pub fn new(
        primary: Option<P>,
        fallback: F,
        workers: Arc<Workers>,
        metrics: Arc<Metrics>,
        timeout: Duration,
        tuning: Tuning,
    ) -> Self {
        Self {
            primary,
            fallback,
            breaker: Breaker::default(),
            shares: Shares::new(tuning.seen_max),
            pending: Pending::new(tuning.pending_max),
            workers,
            metrics,
            timeout,
            outbox_grace_ms: i64::try_from(tuning.outbox_grace.as_millis()).unwrap_or(i64::MAX),
            warning: Throttle::new(10_000),
        }
    }

    /// Redis is configured and away.
    pub fn is_degraded(&self) -> bool {
        self.primary.is_some() && self.breaker.is_open()
    }

    /// Redis is configured.
    pub fn has_primary(&self) -> bool {
        self.primary.is_some()
    }

    /// Milliseconds of the current outage; 0 while there is none.
    pub fn degraded_ms(&self, now_ms: i64) -> i64 {
        if self.is_degraded() {
            now_ms.saturating_sub(self.breaker.since_ms()).max(0)
        } else {
            0
        }
    }

    /// How long a call that names no deadline may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When Redis came back from its last outage; 0 if it never was away, [`i64::MAX`] while it is.
    pub fn back_since_ms(&self) -> i64 {
        if self.is_degraded() {
            i64::MAX
        } else {
            self.breaker.closed_at_ms()
        }
    }

    /// Whether settlements of an outage may still be on their way from the data planes' outboxes.
    pub fn is_catching_up(&self, now_ms: i64) -> bool {
        now_ms < self.back_since_ms().saturating_add(self.outbox_grace_ms) && self.back_since_ms() > 0
    }

    /// Reservations admitted from memory and not yet resolved in Redis.
    pub fn pending_count(&self) -> usize {
        self.pending.count()
    }

    /// Reserves within `patience`, from memory if Redis cannot.
    pub async fn reserve(
        &self,
        request: &Reserve,
        worker: u64,
        patience: Option<Duration>,
        now_ms: i64,
    ) -> Result<Admission, LedgerError> {
        let Some(primary) = &self.primary else {
            let reserved = self.fallback.reserve(request, now_ms).await?;
            return Ok(Admission {
                reserved,
                degraded: false,
            });
        };
        if !self.breaker.is_open() {
            let patience = patience.unwrap_or(self.timeout);
            match self.ask(patience, now_ms, primary.reserve(request, now_ms)).await {
                Ok(reserved) => {
                    self.observe(request, &reserved);
                    return Ok(Admission {
                        reserved,
                        degraded: false,
                    });
                }
                Err(LedgerError::Unavailable(_)) => {}
                Err(refused @ (LedgerError::Invalid(_) | LedgerError::SpendUnknown)) => return Err(refused),
            }
        }
        let reserved = self.reserve_degraded(request, worker, now_ms).await?;
        Ok(Admission {
            reserved,
            degraded: true,
        })
    }

    /// One answer per settlement, in order; [`LedgerError::Unavailable`] while it could not be made durable.
    pub async fn settle(
        &self,
        settlements: &[Settlement],
        now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.settle(settlements, now_ms).await;
        };
        let answer = self.durable(now_ms, primary.settle(settlements, now_ms)).await?;
        self.resolved(settlements, &answer);
        Ok(answer)
    }

    /// As [`Ledger::charge`], for what is [overdue](Self::overdue).
    pub async fn charge(&self, overdue: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.charge(overdue, now_ms).await;
        };
        let answer = self.durable(now_ms, primary.charge(overdue, now_ms)).await?;
        self.resolved(overdue, &answer);
        Ok(answer)
    }

    /// As [`Self::settle`].
    pub async fn release(
        &self,
        releases: &[Settlement],
        now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.release(releases, now_ms).await;
        };
        let answer = self.durable(now_ms, primary.release(releases, now_ms)).await?;
        self.resolved(releases, &answer);
        Ok(answer)
    }

    /// Renews where the reservation is held. While Redis is away, only a batch that memory holds entirely succeeds.
    pub async fn renew(
        &self,
        reservations: &[(WorkspaceId, RequestId)],
        ttl_ms: u32,
        now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.renew(reservations, ttl_ms, now_ms).await;
        };
        let expires_at_ms = now_ms.saturating_add(i64::from(ttl_ms));
        let held: Vec<bool> = reservations
            .iter()
            .map(|(workspace_id, id)| self.pending.renew(*workspace_id, *id, expires_at_ms))
            .collect();
        if held.iter().all(|held| *held) {
            return Ok(vec![Resolution::Applied; reservations.len()]);
        }
        let answer = self
            .durable(now_ms, primary.renew(reservations, ttl_ms, now_ms))
            .await?;
        let merge =
            |(resolution, held): (Resolution, bool)| if held { Resolution::Applied } else { resolution };
        Ok(answer.into_iter().zip(held).map(merge).collect())
    }

    pub async fn status(
        &self,
        workspace_id: WorkspaceId,
        buckets: &[BucketRef],
        now_ms: i64,
    ) -> Result<Vec<BucketStatus>, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.status(workspace_id, buckets, now_ms).await;
        };
        self.durable(now_ms, primary.status(workspace_id, buckets, now_ms))
            .await
    }

    pub async fn reset(
        &self,
        workspace_id: WorkspaceId,
        quota: QuotaId,
        partition: Option<&str>,
        now_ms: i64,
    ) -> Result<u32, LedgerError> {
        let Some(primary) = &self.primary else {
            return self.fallback.reset(workspace_id, quota, partition).await;
        };
        let removed = self
            .durable(now_ms, primary.reset(workspace_id, quota, partition))
            .await?;
        // Memory may hold the same bucket from an outage; a failure there has nothing to lose.
        let _ = self.fallback.reset(workspace_id, quota, partition).await;
        Ok(removed)
    }

    /// As [`Ledger::raise`].
    pub async fn raise(
        &self,
        workspace_id: WorkspaceId,
        spent: &[Spent],
        whole: bool,
        now_ms: i64,
    ) -> Result<Vec<i64>, LedgerError> {
        match &self.primary {
            None => self.fallback.raise(workspace_id, spent, whole, now_ms).await,
            Some(primary) => {
                self.durable(now_ms, primary.raise(workspace_id, spent, whole, now_ms))
                    .await
            }
        }
    }

    /// As [`Ledger::whole_until_ms`].
    pub async fn whole_until_ms(
        &self,
        workspace_id: WorkspaceId,
        now_ms: i64,
    ) -> Result<Option<i64>, LedgerError> {
        match &self.primary {
            None => self.fallback.whole_until_ms(workspace_id).await,
            Some(primary) => self.durable(now_ms, primary.whole_until_ms(workspace_id)).await,
        }
    }

    /// As [`Ledger::started_ms`].
    pub async fn started_ms(&self, now_ms: i64) -> Result<i64, LedgerError> {
        match &self.primary {
            None => self.fallback.started_ms().await,
            Some(primary) => self.durable(now_ms, primary.started_ms()).await,
        }
    }

    pub async fn open_workspaces(&self, now_ms: i64) -> Result<Vec<WorkspaceId>, LedgerError> {
        match &self.primary {
            None => self.fallback.open_workspaces().await,
            Some(primary) => self.durable(now_ms, primary.open_workspaces()).await,
        }
    }

    pub async fn sweep(
        &self,
        workspace_id: WorkspaceId,
        max: usize,
        now_ms: i64,
    ) -> Result<Vec<Expired>, LedgerError> {
        match &self.primary {
            None => self.fallback.sweep(workspace_id, max, now_ms).await,
            Some(primary) => {
                self.durable(now_ms, primary.sweep(workspace_id, max, now_ms))
                    .await
            }
        }
    }

    pub async fn confirm_expired(
        &self,
        workspace_id: WorkspaceId,
        ids: &[RequestId],
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        match &self.primary {
            None => self.fallback.confirm_expired(workspace_id, ids).await,
            Some(primary) => {
                self.durable(now_ms, primary.confirm_expired(workspace_id, ids))
                    .await
            }
        }
    }

    /// Frees what expired in the memory behind Redis. [`Self::overdue`] is what bills it.
    pub async fn sweep_fallback(&self, max: usize, now_ms: i64) {
        if self.primary.is_none() {
            return;
        }
        let Ok(workspaces) = self.fallback.open_workspaces().await else {
            return;
        };
        for workspace_id in workspaces {
            if let Ok(expired) = self.fallback.sweep(workspace_id, max, now_ms).await {
                let ids: Vec<_> = expired.iter().map(|e| e.id).collect();
                let _ = self.fallback.confirm_expired(workspace_id, &ids).await;
            }
        }
    }

    /// At most `max` reservations that memory admitted, that expired, and that no outbox settled within its grace
    /// after Redis' return. `actual` is what was held. They stay until [`Self::charge`] or [`Self::settle`]
    /// has resolved them.
    pub fn overdue(&self, max: usize, now_ms: i64) -> Vec<(Settlement, Caller)> {
        let grace_over = now_ms >= self.breaker.closed_at_ms().saturating_add(self.outbox_grace_ms);
        if self.is_degraded() || !grace_over {
            return Vec::new();
        }
        self.pending.expired(max, now_ms)
    }

    /// While Redis is away: asks it one cheap question. Called at intervals, so that no request has to find out.
    pub async fn probe(&self, now_ms: i64) {
        let Some(primary) = &self.primary else { return };
        if !self.breaker.is_open() {
            return;
        }
        let patience = self.timeout.max(Duration::from_millis(250));
        match tokio::time::timeout(patience, primary.open_workspaces()).await {
            Ok(Ok(_)) => {
                let degraded_ms = self.degraded_ms(now_ms);
                self.breaker.close(now_ms);
                self.shares.end();
                self.metrics.degraded.set(0);
                tracing::info!(degraded_ms, pending = self.pending.count(), "redis is back");
            }
            _ => self.warn_degraded(now_ms),
        }
    }

    fn warn_degraded(&self, now_ms: i64) {
        if self.warning.pass(now_ms) {
            tracing::warn!(
                degraded_ms = self.degraded_ms(now_ms),
                pending = self.pending.count(),
                "redis is away: reservations are answered from memory by failure mode"
            );
        }
    }

    /// A call whose answer must come from Redis.
    async fn durable<T>(
        &self,
        now_ms: i64,
        call: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        if self.breaker.is_open() {
            return Err(LedgerError::Unavailable(None));
        }
        self.ask(self.timeout * BATCH_PATIENCE, now_ms, call).await
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        now_ms: i64,
        call: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let opened = match tokio::time::timeout(patience, call).await {
            Ok(Err(LedgerError::Unavailable(source))) => {
                self.metrics.redis_errors.unavailable.inc();
                let opened = self.breaker.failed(now_ms);
                if opened {
                    let reason = source.map(|s| s.to_string()).unwrap_or_default();
                    tracing::warn!(reason, "redis failed");
                }
                opened
            }
            Ok(answer) => {
                self.breaker.succeeded();
                return answer;
            }
            Err(_elapsed) => {
                self.metrics.redis_errors.timeout.inc();
                self.breaker.timed_out(now_ms)
            }
        };
        if opened {
            self.shares.begin(self.workers.everywhere(), self.workers.own());
            self.metrics.degraded.set(1);
            self.warn_degraded(now_ms);
        }
        Err(LedgerError::Unavailable(None))
    }

    fn observe(&self, request: &Reserve, reserved: &Reserved) {
        for (quota, result) in request.quotas.iter().zip(&reserved.results) {
            if is_bounded(quota) {
                self.shares.observe(quota, result.remaining);
            }
        }
    }

    fn resolved(&self, settlements: &[Settlement], answer: &[Resolution]) {
        let done = settlements
            .iter()
            .zip(answer)
            .filter(|(s, r)| s.part == 0 && **r != Resolution::Invalid);
        self.pending.resolve(done.map(|(s, _)| s.id));
    }
}
