//! Who is admitted while Redis is away: by each quota's failure mode, and from memory.

use super::Failover;
use crate::ledger::{Ledger, LedgerError, QuotaResult, Reserve, Reserved, SettledAmount, Settlement};
use rateguard_model::quota::{FailureMode, Meter, Mode, Quota, QuotaKind};

/// What a refusal by a share or a closed quota asks the caller to wait: Redis may be back at any time.
pub(super) const RETRY_AFTER_MS: i64 = 1_000;

impl<P: Ledger, F: Ledger> Failover<P, F> {
    /// Each quota's failure mode: closed ones refuse, bounded ones take from the worker's share, open ones are
    /// approximated by the memory ledger. All or nothing, as in Redis.
    pub(super) async fn reserve_degraded(
        &self,
        request: &Reserve,
        worker: u64,
        now_ms: i64,
    ) -> Result<Reserved, LedgerError> {
        if request.quotas.iter().any(is_closed) {
            return Ok(refused(request, now_ms, |quota| is_closed(quota).then_some(0)));
        }
        let repeated = self.pending.contains(request.id);
        let mut lefts = Vec::with_capacity(request.quotas.len());
        for quota in &request.quotas {
            if repeated || !is_bounded(quota) {
                lefts.push(None);
                continue;
            }
            match self.shares.take(quota, worker) {
                Ok(left) => lefts.push(Some(left)),
                Err(left) => {
                    self.give_back(request, worker, &lefts);
                    let same = |q: &Quota| std::ptr::eq(q, quota);
                    return Ok(refused(request, now_ms, |q| same(q).then_some(left)));
                }
            }
        }
        // The shares bound hard budgets here: memory never knew what was spent.
        let unasked = Reserve {
            whole_since_ms: None,
            ..request.clone()
        };
        let mut reserved = match self.fallback.reserve(&unasked, now_ms).await {
            Ok(reserved) if reserved.admitted => reserved,
            other => {
                self.give_back(request, worker, &lefts);
                return other;
            }
        };
        for (result, left) in reserved.results.iter_mut().zip(lefts) {
            if let Some(left) = left {
                result.remaining = left;
            }
        }
        self.remember(request, &reserved, now_ms);
        Ok(reserved)
    }

    fn give_back(&self, request: &Reserve, worker: u64, lefts: &[Option<i64>]) {
        for (quota, left) in request.quotas.iter().zip(lefts) {
            if left.is_some() {
                self.shares.give_back(quota, worker);
            }
        }
    }

    fn remember(&self, request: &Reserve, reserved: &Reserved, now_ms: i64) {
        let amounts = request
            .quotas
            .iter()
            .zip(&reserved.results)
            .map(|(quota, result)| SettledAmount {
                quota: quota.clone(),
                window_start_ms: result.window_start_ms,
                actual: quota.amount,
                returned: 0,
            })
            .collect();
        let settlement = Settlement {
            id: request.id,
            workspace_id: request.workspace_id,
            reserved_at_ms: reserved.now_ms,
            amounts,
            part: 0,
        };
        let expires_at_ms = now_ms.saturating_add(i64::from(request.ttl_ms));
        if !self.pending.insert(settlement, request.caller, expires_at_ms) {
            self.metrics.untracked.inc();
        }
    }
}

pub(super) fn is_bounded(quota: &Quota) -> bool {
    quota.mode == Mode::Enforce
        && quota.kind == QuotaKind::Budget
        && quota.failure_mode == FailureMode::BoundedOpen
}

fn is_closed(quota: &Quota) -> bool {
    quota.mode == Mode::Enforce && quota.failure_mode == FailureMode::FailClosed
}

/// A refusal by those quotas that `refuses` names, because nobody knows what they have left.
pub(crate) fn closed(request: &Reserve, now_ms: i64, refuses: impl Fn(&Quota) -> bool) -> Reserved {
    refused(request, now_ms, |quota| refuses(quota).then_some(0))
}

/// A refusal from which nothing was taken. `left` names what remains of the quotas that refuse.
fn refused(request: &Reserve, now_ms: i64, left: impl Fn(&Quota) -> Option<i64>) -> Reserved {
    let result = |quota: &Quota| {
        let (window_start_ms, reset_ms) = match &quota.meter {
            Meter::FixedWindow { window } => {
                let bounds = window.bounds(now_ms);
                (bounds.start_ms, bounds.end_ms.saturating_sub(now_ms))
            }
            Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => (0, RETRY_AFTER_MS),
        };
        let left = left(quota);
        QuotaResult {
            admitted: left.is_none(),
            remaining: left.unwrap_or(quota.limit),
            reset_ms,
            retry_after_ms: left.map(|_| RETRY_AFTER_MS),
            spent: 0,
            reserved: 0,
            window_start_ms,
        }
    };
    Reserved {
        admitted: false,
        now_ms,
        results: request.quotas.iter().map(result).collect(),
    }
}
