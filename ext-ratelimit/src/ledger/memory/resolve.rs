//! Settlements, releases, reports and renewals of reservations.

use super::bucket::{Bucket, Change};
use super::{MemoryBounds, Phase, Record, Reports, ReservationKey, State, bucket_key};
use crate::ledger::check::{self, MEMORY_MS};
use crate::ledger::{LedgerError, Manner, Resolution, Settlement};

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
    pub(super) fn resolve(
        &mut self,
        settlements: &[Settlement],
        manner: Manner,
        now_ms: i64,
        bounds: MemoryBounds,
    ) -> Result<Vec<Resolution>, LedgerError> {
        for settlement in settlements {
            self.has_room_to_settle(settlement, now_ms, bounds)?;
        }
        let resolve = |settlement: &Settlement| {
            if check::settlement(settlement, manner, now_ms) {
                self.resolve_one(settlement, manner, now_ms)
            } else {
                Resolution::Invalid
            }
        };
        Ok(settlements.iter().map(resolve).collect())
    }

    fn resolve_one(&mut self, settlement: &Settlement, manner: Manner, now_ms: i64) -> Resolution {
        let part = settlement.part;
        let key = (settlement.workspace_id, settlement.id);
        let mut record = self.records.remove(&key).unwrap_or(Record {
            phase: Phase::Unseen,
            answer: None,
            skipped: Vec::new(),
            reports: Reports::default(),
        });
        let resolution = match record.phase {
            Phase::Resolved { was_charged: true } if part == 0 && manner != Manner::Charge => {
                Resolution::Replaced
            }
            Phase::Resolved { .. } => Resolution::Duplicate,
            _ if part > 0 && part <= record.reports.last => Resolution::Duplicate,
            _ if part > 0 && !record.has_amounts(settlement.amounts.len()) => Resolution::Invalid,
            Phase::Expired if manner == Manner::Charge => Resolution::Duplicate,
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
            let is_released = manner == Manner::Release;
            let actual = if is_released { 0 } else { amount.actual };
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
            if expired {
                self.expired.remove(&key);
            }
            record.phase = if manner == Manner::Charge {
                record.reports = Reports::default();
                Phase::Expired
            } else {
                Phase::Resolved { was_charged: expired }
            };
            self.resolved.push_back((now_ms + MEMORY_MS, key));
        }
        self.records.insert(key, record);
        resolution
    }

    pub(super) fn renew(&mut self, key: ReservationKey, to_ms: i64) -> Resolution {
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
}
