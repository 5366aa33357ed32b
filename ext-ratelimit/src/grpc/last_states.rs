//! What budgets had spent when the ledger was last asked: BudgetStatus' answer, marked degraded, while it is away.

use crate::ledger::{BucketRef, BucketStatus};
use rateguard_model::id::QuotaId;
use rateguard_model::quota::Meter;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Budgets that are remembered. About 60 bytes each.
const BUDGET_COUNT_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub struct LastStates {
    states: Mutex<HashMap<(QuotaId, u32), BucketStatus>>,
}

impl LastStates {
    pub(super) fn remember(&self, buckets: &[BucketRef], states: &[BucketStatus]) {
        let mut known = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (bucket, state) in buckets.iter().zip(states) {
            let key = (bucket.quota.id, bucket.quota.version);
            if known.len() < BUDGET_COUNT_MAX || known.contains_key(&key) {
                known.insert(key, *state);
            }
        }
    }

    /// The last states, if all of these buckets are known and still in the same window: an old window's spend, or
    /// none at all, would be wrong figures rather than old ones.
    pub(super) fn of(&self, buckets: &[BucketRef], now_ms: i64) -> Option<Vec<BucketStatus>> {
        let known = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let last = |bucket: &BucketRef| {
            let state = known.get(&(bucket.quota.id, bucket.quota.version))?;
            let Meter::FixedWindow { window } = &bucket.quota.meter else {
                return None;
            };
            (window.bounds(now_ms).start_ms == state.window.start_ms).then_some(*state)
        };
        buckets.iter().map(last).collect()
    }
}
