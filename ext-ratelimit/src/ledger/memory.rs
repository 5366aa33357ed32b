//! The ledger in memory: the reference model of the Redis ledger, and what answers while Redis is away.
//!
//! Memory is bounded by [`MemoryBounds`]. A full table of open reservations, buckets or log entries makes `reserve`
//! and `settle` answer `Unavailable`, never "admitted". A full table of resolved ids forgets the oldest early: an id
//! repeated after that counts again.
//!
//! A refused request leaves no trace: the same id is judged again.

mod bucket;

use super::check::{self, MEMORY_MS, Part};
use super::{
    BucketRef, BucketStatus, Caller, Expired, Ledger, LedgerError, MARK_BEAT_MS, QuotaResult, Reserve,
    Reserved, Resolution, Settlement, Spent,
};
use bucket::{Bucket, Change};
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
        self.lock(now_ms).resolve(settlements, false, now_ms, self.bounds)
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
        self.lock(now_ms).resolve(releases, true, now_ms, self.bounds)
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

    /// Its end is that of this process.
    async fn started_ms(&self) -> Result<i64, LedgerError> {
        Ok(0)
    }
}

impl Record {
    /// Whether it was made, or reported on, with so many amounts.
    fn has_amounts(&self, count: usize) -> bool {
        if self.reports.last > 0 {
            self.reports.sums.len() == count
        } else {
            self.answer
                .as_ref()
                .is_none_or(|answer| answer.results.len() == count)
        }
    }
}

impl State {
    fn reserve(
        &mut self,
        request: &Reserve,
        now_ms: i64,
        bounds: MemoryBounds,
    ) -> Result<Reserved, LedgerError> {
        if let Some(record) = self.records.get(&(request.workspace_id, request.id)) {
            return Ok(record
                .answer
                .clone()
                .unwrap_or_else(|| self.look(request, now_ms)));
        }
        if let Some(since_ms) = request.whole_since_ms {
            let mark_ms = self.marks.get_mut(&request.workspace_id);
            let mark_ms = mark_ms.filter(|mark_ms| **mark_ms >= since_ms);
            let mark_ms = mark_ms.ok_or(LedgerError::SpendUnknown)?;
            if now_ms - *mark_ms >= MARK_BEAT_MS {
                *mark_ms = now_ms;
            }
        }
        self.has_room(&request.quotas, now_ms, bounds)?;
        let fits: Vec<bool> = request
            .quotas
            .iter()
            .map(|quota| self.bucket(request, quota, now_ms).fits(quota, now_ms))
            .collect();
        let admitted = request
            .quotas
            .iter()
            .zip(&fits)
            .all(|(quota, fits)| *fits || check::part(quota) != Part::Enforce);

        let mut results = Vec::with_capacity(request.quotas.len());
        let mut skipped = Vec::new();
        for (quota, fits) in request.quotas.iter().zip(fits) {
            let skip = !fits && check::part(quota) == Part::ShadowWhenItFits;
            if admitted && skip {
                skipped.push(bucket_key(request.workspace_id, quota));
            }
            let bucket = self.bucket(request, quota, now_ms);
            if admitted && !skip {
                bucket.take(quota, request.id, now_ms);
            }
            let told = bucket.tell(quota, now_ms);
            let retry_after_ms = if fits { None } else { told.retry_after_ms };
            results.push(QuotaResult {
                admitted: fits,
                retry_after_ms,
                ..told
            });
        }
        let answer = Reserved {
            admitted,
            now_ms,
            results,
        };
        if admitted {
            self.entry_count += request.quotas.len();
            self.remember(request, &answer, skipped, now_ms);
        }
        Ok(answer)
    }

    /// The answer to a reserve that comes after its settlement: admitted, and nothing is taken.
    fn look(&mut self, request: &Reserve, now_ms: i64) -> Reserved {
        let results = request.quotas.iter().map(|quota| {
            let told = self.bucket(request, quota, now_ms).tell(quota, now_ms);
            QuotaResult {
                admitted: true,
                retry_after_ms: None,
                ..told
            }
        });
        Reserved {
            admitted: true,
            now_ms,
            results: results.collect(),
        }
    }

    fn remember(&mut self, request: &Reserve, answer: &Reserved, skipped: Vec<BucketKey>, now_ms: i64) {
        let key = (request.workspace_id, request.id);
        let phase = if request.quotas.iter().any(check::needs_settling) {
            let expires_at_ms = now_ms + i64::from(request.ttl_ms);
            self.open
                .insert((request.workspace_id, expires_at_ms, request.id));
            let starts = answer.results.iter().map(|result| result.window_start_ms);
            Phase::Open {
                expires_at_ms,
                caller: request.caller,
                charges: request.quotas.iter().cloned().zip(starts).collect(),
            }
        } else {
            self.resolved.push_back((now_ms + MEMORY_MS, key));
            Phase::Admitted
        };
        self.records.insert(
            key,
            Record {
                phase,
                answer: Some(answer.clone()),
                skipped,
                reports: Reports::default(),
            },
        );
    }

    fn resolve(
        &mut self,
        settlements: &[Settlement],
        release: bool,
        now_ms: i64,
        bounds: MemoryBounds,
    ) -> Result<Vec<Resolution>, LedgerError> {
        for settlement in settlements {
            self.has_room_to_settle(settlement, now_ms, bounds)?;
        }
        let resolve = |settlement: &Settlement| {
            if check::settlement(settlement, release, now_ms) {
                self.resolve_one(settlement, release, now_ms)
            } else {
                Resolution::Invalid
            }
        };
        Ok(settlements.iter().map(resolve).collect())
    }

    fn resolve_one(&mut self, settlement: &Settlement, release: bool, now_ms: i64) -> Resolution {
        let part = settlement.part;
        let key = (settlement.workspace_id, settlement.id);
        let mut record = self.records.remove(&key).unwrap_or(Record {
            phase: Phase::Unseen,
            answer: None,
            skipped: Vec::new(),
            reports: Reports::default(),
        });
        let resolution = match record.phase {
            Phase::Resolved { was_charged: true } if part == 0 => Resolution::Replaced,
            Phase::Resolved { .. } => Resolution::Duplicate,
            _ if part > 0 && part <= record.reports.last => Resolution::Duplicate,
            _ if part > 0 && !record.has_amounts(settlement.amounts.len()) => Resolution::Invalid,
            Phase::Expired if part == 0 => Resolution::Replaced,
            Phase::Unseen | Phase::Admitted | Phase::Open { .. } | Phase::Expired => Resolution::Applied,
        };
        let is_resolved = matches!(record.phase, Phase::Resolved { .. });
        if is_resolved || matches!(resolution, Resolution::Duplicate | Resolution::Invalid) {
            self.records.insert(key, record);
            return resolution;
        }
        let unseen = matches!(record.phase, Phase::Unseen);
        let open = matches!(record.phase, Phase::Open { .. });
        let expired = matches!(record.phase, Phase::Expired);
        let mut sums = Vec::with_capacity(settlement.amounts.len());
        for (i, amount) in settlement.amounts.iter().enumerate() {
            let (before, used) = record.reports.sums.get(i).copied().unwrap_or_default();
            let returned = if part > 0 {
                amount.returned
            } else {
                amount.quota.amount
            };
            // What expired was charged whole, and stays so until the last word replaces it.
            let after = if part > 0 && expired {
                before
            } else {
                returned.max(before)
            };
            let actual = if release { 0 } else { amount.actual };
            sums.push((after, actual));
            let bucket_key = bucket_key(settlement.workspace_id, &amount.quota);
            if !record.skipped.contains(&bucket_key) {
                let change = Change {
                    taken: if unseen { 0 } else { after - before },
                    open,
                    used: actual - used,
                };
                let bucket = self
                    .buckets
                    .entry(bucket_key)
                    .or_insert_with(|| Bucket::new(&amount.quota, now_ms));
                bucket.advance(now_ms);
                bucket.settle(settlement, amount, change, now_ms);
            }
        }
        self.entry_count += settlement.amounts.len();
        if part > 0 {
            if unseen && record.reports.last == 0 {
                self.resolved.push_back((now_ms + MEMORY_MS, key));
            }
            record.reports = Reports { last: part, sums };
        } else {
            if let Phase::Open { expires_at_ms, .. } = record.phase {
                self.open.remove(&(key.0, expires_at_ms, key.1));
            }
            record.phase = Phase::Resolved { was_charged: expired };
            self.resolved.push_back((now_ms + MEMORY_MS, key));
        }
        self.records.insert(key, record);
        resolution
    }

    fn renew(&mut self, key: ReservationKey, to_ms: i64) -> Resolution {
        let (workspace_id, id) = key;
        match self.records.get_mut(&key) {
            Some(Record {
                phase: Phase::Open { expires_at_ms, .. },
                ..
            }) => {
                self.open.remove(&(workspace_id, *expires_at_ms, id));
                *expires_at_ms = to_ms;
                self.open.insert((workspace_id, to_ms, id));
                Resolution::Applied
            }
            _ => Resolution::Unknown,
        }
    }

    fn status(&mut self, workspace_id: WorkspaceId, quota: &Quota, now_ms: i64) -> BucketStatus {
        let mut fresh = Bucket::new(quota, now_ms);
        let bucket = self
            .buckets
            .get_mut(&bucket_key(workspace_id, quota))
            .unwrap_or(&mut fresh);
        bucket.advance(now_ms);
        check::status(quota, &bucket.tell(quota, now_ms), now_ms)
    }

    fn expire(&mut self, workspace_id: WorkspaceId, max: usize, now_ms: i64) {
        let from = (workspace_id, i64::MIN, RequestId::from_bytes([0; 16]));
        let to = (workspace_id, now_ms, RequestId::from_bytes([0xff; 16]));
        let due: Vec<_> = self.open.range(from..=to).take(max).copied().collect();
        for (workspace_id, expires_at_ms, id) in due {
            self.open.remove(&(workspace_id, expires_at_ms, id));
            let key = (workspace_id, id);
            let Some(record) = self.records.get_mut(&key) else {
                continue;
            };
            let Phase::Open { caller, charges, .. } = std::mem::replace(&mut record.phase, Phase::Expired)
            else {
                continue;
            };
            let skipped = record.skipped.clone();
            let returned = record.reports.sums.clone();
            let returned = returned.into_iter().map(|(returned, _)| returned);
            let mut charged = Vec::new();
            for ((mut quota, window_start_ms), returned) in
                charges.into_iter().zip(returned.chain(std::iter::repeat(0)))
            {
                quota.amount = quota.amount.saturating_sub(returned);
                let bucket_key = bucket_key(workspace_id, &quota);
                if !check::needs_settling(&quota) || skipped.contains(&bucket_key) {
                    continue;
                }
                if check::is_held(&quota) {
                    let bucket = self
                        .buckets
                        .entry(bucket_key)
                        .or_insert_with(|| Bucket::new(&quota, now_ms));
                    bucket.expire(&quota, window_start_ms);
                }
                charged.push((quota.id, quota.version, quota.partition, quota.amount));
            }
            self.resolved.push_back((now_ms + MEMORY_MS, key));
            self.expired.insert(
                key,
                Expired {
                    id,
                    workspace_id,
                    caller,
                    expired_at_ms: now_ms,
                    charges: charged,
                },
            );
        }
    }

    fn awaiting(&self, workspace_id: WorkspaceId, max: usize) -> Vec<Expired> {
        let from = (workspace_id, RequestId::from_bytes([0; 16]));
        let to = (workspace_id, RequestId::from_bytes([0xff; 16]));
        self.expired
            .range(from..=to)
            .take(max)
            .map(|(_, expired)| expired.clone())
            .collect()
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

    /// Settlements may use as much again as reservations: what was admitted must be written.
    fn has_room_to_settle(
        &mut self,
        settlement: &Settlement,
        now_ms: i64,
        bounds: MemoryBounds,
    ) -> Result<(), LedgerError> {
        let count = settlement.amounts.len();
        let full = |state: &Self| {
            state.buckets.len() + count > 2 * bounds.bucket_max
                || state.entry_count + count > 2 * bounds.entry_max
        };
        if full(self) {
            self.drop_idle(now_ms);
        }
        if full(self) {
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
