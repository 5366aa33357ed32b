//! BOUNDED_OPEN: what a hard budget may still admit while the ledger is away (SPEC 1.9).
//!
//! Each worker may admit its share: the remaining amount last seen ÷ the workers alive when the outage began, or
//! 0.1 % of the limit for a bucket never seen. All workers of this process together never get more than the shares
//! of those that were alive here then, so a worker that restarts during the outage gains nothing. The bound is per
//! outage and as fresh as this process's last answer about the bucket.

use rateguard_model::id::QuotaId;
use rateguard_model::quota::Quota;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Parts of the limit of a bucket never seen that one worker may admit.
const NEVER_SEEN_DIVISOR: i64 = 1_000;

/// A bucket, hashed with a secret seed: 64 bits are enough to tell the buckets of one process apart.
type BucketHash = u64;

#[derive(Debug)]
pub(super) struct Shares {
    hasher: RandomState,
    seen_max: usize,
    seen: Mutex<HashMap<BucketHash, i64>>,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug)]
struct Outage {
    /// Alive in all processes.
    live_workers: i64,
    /// Of those, the ones this process serves.
    own_workers: i64,
    pools: HashMap<BucketHash, Pool>,
}

#[derive(Debug)]
struct Pool {
    share: i64,
    left: i64,
    taken: HashMap<u64, i64>,
}

impl Pool {
    fn left_of(&self, worker: u64) -> i64 {
        let own = self.share - self.taken.get(&worker).copied().unwrap_or(0);
        own.min(self.left).max(0)
    }
}

impl Shares {
    pub(super) fn new(seen_max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            seen_max,
            seen: Mutex::default(),
            outage: Mutex::default(),
        }
    }

    /// Remembers what the ledger said is left in a bucket.
    pub(super) fn observe(&self, quota: &Quota, remaining: i64) {
        let bucket = self.bucket(quota);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A full table leaves the new bucket to the rule for buckets never seen, which is the stricter one.
        if seen.len() < self.seen_max || seen.contains_key(&bucket) {
            seen.insert(bucket, remaining.max(0));
        }
    }

    /// An outage begins. Counts of workers are at least 1.
    pub(super) fn begin(&self, live_workers: u32, own_workers: u32) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.get_or_insert_with(|| Outage {
            live_workers: i64::from(live_workers.max(own_workers).max(1)),
            own_workers: i64::from(own_workers.max(1)),
            pools: HashMap::new(),
        });
    }

    /// The outage is over. What it took stays deducted until the ledger is heard about the bucket again.
    pub(super) fn end(&self) {
        let ended = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (bucket, pool) in ended.into_iter().flat_map(|o| o.pools) {
            if let Some(remaining) = seen.get_mut(&bucket) {
                let taken = pool.taken.values().fold(0_i64, |sum, t| sum.saturating_add(*t));
                *remaining = remaining.saturating_sub(taken).max(0);
            }
        }
    }

    /// Takes the quota's amount from the worker's share: what is left of it, or what was left when refused.
    pub(super) fn take(&self, quota: &Quota, worker: u64) -> Result<i64, i64> {
        let bucket = self.bucket(quota);
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&bucket)
            .copied();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = outage.get_or_insert_with(|| Outage {
            live_workers: 1,
            own_workers: 1,
            pools: HashMap::new(),
        });
        let (live_workers, own_workers) = (outage.live_workers, outage.own_workers);
        let pool = outage.pools.entry(bucket).or_insert_with(|| {
            let share = match seen {
                Some(remaining) => remaining.min(quota.limit) / live_workers,
                None => quota.limit / NEVER_SEEN_DIVISOR,
            };
            Pool {
                share,
                left: share.saturating_mul(own_workers),
                taken: HashMap::new(),
            }
        });
        let left = pool.left_of(worker);
        if quota.amount > left {
            return Err(left);
        }
        *pool.taken.entry(worker).or_insert(0) += quota.amount;
        pool.left -= quota.amount;
        Ok(left - quota.amount)
    }

    /// Undoes a `take` of a request that another quota refused.
    pub(super) fn give_back(&self, quota: &Quota, worker: u64) {
        let bucket = self.bucket(quota);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = outage.as_mut().and_then(|o| o.pools.get_mut(&bucket)) {
            pool.left += quota.amount;
            if let Some(taken) = pool.taken.get_mut(&worker) {
                *taken -= quota.amount;
            }
        }
    }

    fn bucket(&self, quota: &Quota) -> BucketHash {
        let key: (&QuotaId, u32, &str) = (&quota.id, quota.version, &quota.partition);
        self.hasher.hash_one(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_model::quota::{FailureMode, Meter, Mode, QuotaKind, Unit};
    use rateguard_model::window::Window;

    fn budget(limit: i64, amount: i64) -> Quota {
        Quota {
            id: QuotaId::from_bytes([7; 16]),
            version: 1,
            kind: QuotaKind::Budget,
            unit: Unit::NanoUsd,
            limit,
            meter: Meter::FixedWindow {
                window: Window::Total,
            },
            mode: Mode::Enforce,
            failure_mode: FailureMode::BoundedOpen,
            partition: "-".into(),
            amount,
        }
    }

    fn admitted(shares: &Shares, quota: &Quota, worker: u64) -> i64 {
        (0..10_000)
            .take_while(|_| shares.take(quota, worker).is_ok())
            .count() as i64
    }

    #[test]
    fn rl_08_every_worker_gets_its_share_of_what_was_last_seen() {
        let shares = Shares::new(10);
        shares.observe(&budget(1_000, 1), 90);
        shares.begin(3, 2);
        assert_eq!(admitted(&shares, &budget(1_000, 1), 1), 30);
        assert_eq!(admitted(&shares, &budget(1_000, 1), 2), 30);
        // A third worker id here is one that restarted: the pool of two is used up.
        assert_eq!(admitted(&shares, &budget(1_000, 1), 3), 0);
    }

    #[test]
    fn a_bucket_never_seen_admits_a_thousandth() {
        let shares = Shares::new(10);
        shares.begin(5, 1);
        assert_eq!(admitted(&shares, &budget(7_000, 1), 1), 7);
        assert_eq!(shares.take(&budget(7_000, 1), 1), Err(0));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let shares = Shares::new(10);
        shares.observe(&budget(100, 1), 10);
        shares.begin(1, 1);
        assert_eq!(shares.take(&budget(100, 10), 1), Ok(0));
        shares.give_back(&budget(100, 10), 1);
        assert_eq!(shares.take(&budget(100, 4), 1), Ok(6));
        assert_eq!(shares.take(&budget(100, 7), 1), Err(6));
    }

    #[test]
    fn a_second_outage_without_news_has_only_what_the_first_left() {
        let shares = Shares::new(10);
        shares.observe(&budget(100, 1), 10);
        shares.begin(1, 1);
        assert_eq!(admitted(&shares, &budget(100, 1), 1), 10);
        shares.end();
        shares.begin(1, 1);
        assert_eq!(admitted(&shares, &budget(100, 1), 1), 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let shares = Shares::new(0);
        shares.observe(&budget(1_000, 1), 1_000);
        shares.begin(1, 1);
        assert_eq!(admitted(&shares, &budget(1_000, 1), 1), 1);
    }

    #[test]
    fn a_negative_remaining_admits_nothing() {
        let shares = Shares::new(1);
        shares.observe(&budget(1_000, 1), -50);
        shares.begin(1, 1);
        assert_eq!(admitted(&shares, &budget(1_000, 1), 1), 0);
    }
}
