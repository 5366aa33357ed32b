//! The ledger in memory: the reference model of the Redis ledger, and what answers while Redis is away.
//!
//! Memory is bounded by [`MemoryBounds`]. A full table of open reservations, buckets or log entries makes `reserve`
//! and `settle` answer `Unavailable`, never "admitted". A full table of resolved ids forgets the oldest early: an id
//! repeated after that counts again.
//!
//! A refused request leaves no trace: the same id is judged again.

mod bucket;
mod expire;
mod reserve;
mod resolve;

use super::check;
use super::{
    BucketRef, BucketStatus, Caller, Expired, Ledger, LedgerError, Manner, Member, Reserve, Reserved,
    Resolution, Settlement, Spent,
};
use bucket::Bucket;
use rateguard_model::id::{QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::Quota;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most things that are kept. A reservation takes about 1 kB, a bucket 300 B, an entry 50 B.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBounds {
    pub open_max: usize,
    pub resolved_max: usize,
    pub bucket_max: usize,
    /// Entries of all sliding windows together.
    pub entry_max: usize,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        Self {
            open_max: 100_000,
            resolved_max: 200_000,
            bucket_max: 200_000,
            entry_max: 2_000_000,
        }
    }
}

/// How often idle buckets are looked for, in ms.
const TIDY_EVERY_MS: i64 = 30_000;

#[derive(Debug, Default)]
pub struct MemoryLedger {
    bounds: MemoryBounds,
    state: Mutex<State>,
}

type ReservationKey = (WorkspaceId, RequestId);
type BucketKey = (WorkspaceId, QuotaId, u32, String);

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<BucketKey, Bucket>,
    entry_count: usize,
    records: HashMap<ReservationKey, Record>,
    /// Open reservations: workspace, expiry, id.
    open: BTreeSet<(WorkspaceId, i64, RequestId)>,
    /// Resolved ids in the order they are forgotten.
    resolved: VecDeque<(i64, ReservationKey)>,
    expired: BTreeMap<ReservationKey, Expired>,
    /// Until when the buckets of each workspace were known to be whole.
    marks: HashMap<WorkspaceId, i64>,
    tidy_at_ms: i64,
}

/// What is remembered of a reservation.
#[derive(Debug)]
struct Record {
    phase: Phase,
    /// `None`: settled before the reserve was seen.
    answer: Option<Reserved>,
    /// Shadow rules that would have refused, and so were not charged.
    skipped: Vec<BucketKey>,
    reports: Reports,
}

/// What reports said of a reservation that stays open. Totals.
#[derive(Debug, Clone, Default)]
struct Reports {
    /// The last one; 0 if there was none.
    last: u32,
    /// Per amount: not held any more, and used.
    sums: Vec<(i64, i64)>,
}

#[derive(Debug)]
enum Phase {
    /// With the window that each quota was taken from.
    Open {
        expires_at_ms: i64,
        caller: Caller,
        charges: Vec<(Quota, i64)>,
        members: Vec<Member>,
    },
    /// Only requests were counted: nothing to settle.
    Admitted,
    Expired,
    Resolved {
        /// It had expired.
        was_charged: bool,
    },
    /// No record yet, or one of reports only.
    Unseen,
}

impl MemoryLedger {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_bounds(bounds: MemoryBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    /// The state is whole after every step, so a panic elsewhere does not spoil it.
    fn lock(&self, now_ms: i64) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tidy(now_ms, self.bounds);
        state
    }
}

impl Ledger for MemoryLedger {
    async fn reserve(&self, request: &Reserve, now_ms: i64) -> Result<Reserved, LedgerError> {
        check::reserve(request)?;
        self.lock(now_ms).reserve(request, now_ms, self.bounds)
    }

    async fn settle(&self, settlements: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.lock(now_ms)
            .resolve(settlements, Manner::Settle, now_ms, self.bounds)
    }

    async fn renew(
        &self,
        reservations: &[(WorkspaceId, RequestId)],
        ttl_ms: u32,
        now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        if ttl_ms == 0 || ttl_ms > check::TTL_MS_MAX {
            return Err(LedgerError::Invalid("ttl_ms"));
        }
        let mut state = self.lock(now_ms);
        Ok(reservations
            .iter()
            .map(|key| state.renew(*key, now_ms + i64::from(ttl_ms)))
            .collect())
    }

    async fn release(&self, releases: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.lock(now_ms)
            .resolve(releases, Manner::Release, now_ms, self.bounds)
    }

    async fn charge(&self, overdue: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.lock(now_ms)
            .resolve(overdue, Manner::Charge, now_ms, self.bounds)
    }

    async fn status(
        &self,
        workspace_id: WorkspaceId,
        buckets: &[BucketRef],
        now_ms: i64,
    ) -> Result<Vec<BucketStatus>, LedgerError> {
        for bucket in buckets {
            check::quota(&bucket.quota)?;
        }
        let mut state = self.lock(now_ms);
        Ok(buckets
            .iter()
            .map(|bucket| state.status(workspace_id, &bucket.quota, now_ms))
            .collect())
    }

    async fn sweep(
        &self,
        workspace_id: WorkspaceId,
        max: usize,
        now_ms: i64,
    ) -> Result<Vec<Expired>, LedgerError> {
        let mut state = self.lock(now_ms);
        state.expire(workspace_id, max, now_ms);
        Ok(state.awaiting(workspace_id, max))
    }

    async fn confirm_expired(&self, workspace_id: WorkspaceId, ids: &[RequestId]) -> Result<(), LedgerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            state.expired.remove(&(workspace_id, *id));
        }
        Ok(())
    }

    async fn open_workspaces(&self) -> Result<Vec<WorkspaceId>, LedgerError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = state.open.iter().map(|(workspace_id, _, _)| *workspace_id);
        let expired = state.expired.keys().map(|(workspace_id, _)| *workspace_id);
        Ok(open.chain(expired).collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn reset(
        &self,
        workspace_id: WorkspaceId,
        quota: QuotaId,
        partition: Option<&str>,
    ) -> Result<u32, LedgerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.buckets.len();
        state.buckets.retain(|(workspace, id, _, whose), _| {
            *workspace != workspace_id
                || *id != quota
                || partition.is_some_and(|partition| partition != whose)
        });
        state.count_entries();
        Ok((before - state.buckets.len()) as u32)
    }

    async fn raise(
        &self,
        workspace_id: WorkspaceId,
        spent: &[Spent],
        whole: bool,
        now_ms: i64,
    ) -> Result<Vec<i64>, LedgerError> {
        for spent in spent {
            check::spent(spent)?;
        }
        let quotas: Vec<Quota> = spent.iter().map(|spent| spent.quota.clone()).collect();
        let mut state = self.lock(now_ms);
        state.has_room(&quotas, now_ms, self.bounds)?;
        let raised = spent.iter().map(|spent| {
            let key = bucket_key(workspace_id, &spent.quota);
            let bucket = state.buckets.entry(key);
            bucket
                .or_insert_with(|| Bucket::new(&spent.quota, spent.window_start_ms))
                .raise(spent.window_start_ms, spent.spent)
        });
        let raised = raised.collect();
        if whole {
            if state.marks.len() >= self.bounds.bucket_max {
                // They are asked for again.
                state.marks.clear();
            }
            state.marks.insert(workspace_id, now_ms);
        }
        Ok(raised)
    }

    async fn whole_until_ms(&self, workspace_id: WorkspaceId) -> Result<Option<i64>, LedgerError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.marks.get(&workspace_id).copied())
    }

    /// Its end is that of this process.
    async fn started_ms(&self) -> Result<i64, LedgerError> {
        Ok(0)
    }
}

impl State {
    fn status(&mut self, workspace_id: WorkspaceId, quota: &Quota, now_ms: i64) -> BucketStatus {
        let mut fresh = Bucket::new(quota, now_ms);
        let bucket = self
            .buckets
            .get_mut(&bucket_key(workspace_id, quota))
            .unwrap_or(&mut fresh);
        bucket.advance(now_ms);
        check::status(quota, &bucket.tell(quota, now_ms), now_ms)
    }

    fn bucket(&mut self, request: &Reserve, quota: &Quota, now_ms: i64) -> &mut Bucket {
        let bucket = self
            .buckets
            .entry(bucket_key(request.workspace_id, quota))
            .or_insert_with(|| Bucket::new(quota, now_ms));
        bucket.advance(now_ms);
        bucket
    }

    fn has_room(&mut self, quotas: &[Quota], now_ms: i64, bounds: MemoryBounds) -> Result<(), LedgerError> {
        if self.buckets.len() + quotas.len() > bounds.bucket_max
            || self.entry_count + quotas.len() > bounds.entry_max
        {
            self.drop_idle(now_ms);
        }
        let full = self.open.len() >= bounds.open_max
            || self.buckets.len() + quotas.len() > bounds.bucket_max
            || self.entry_count + quotas.len() > bounds.entry_max;
        if full {
            Err(LedgerError::Unavailable(None))
        } else {
            Ok(())
        }
    }

    fn tidy(&mut self, now_ms: i64, bounds: MemoryBounds) {
        while let Some((forget_at_ms, key)) = self.resolved.front().copied() {
            if forget_at_ms > now_ms && self.resolved.len() <= bounds.resolved_max {
                break;
            }
            self.resolved.pop_front();
            // An id that was forgotten before may have come back and be open.
            if self
                .records
                .get(&key)
                .is_some_and(|record| !matches!(record.phase, Phase::Open { .. }))
            {
                self.records.remove(&key);
            }
        }
        if now_ms >= self.tidy_at_ms {
            self.drop_idle(now_ms);
            self.tidy_at_ms = now_ms + TIDY_EVERY_MS;
        }
    }

    fn drop_idle(&mut self, now_ms: i64) {
        self.buckets.retain(|_, bucket| {
            bucket.advance(now_ms);
            !bucket.is_idle(now_ms)
        });
        self.count_entries();
    }

    fn count_entries(&mut self) {
        self.entry_count = self.buckets.values().map(Bucket::entry_count).sum();
    }
}

fn bucket_key(workspace_id: WorkspaceId, quota: &Quota) -> BucketKey {
    (workspace_id, quota.id, quota.version, quota.partition.clone())
}
