//! Charging what nobody resolved.

use super::bucket::Bucket;
use super::{Phase, State, bucket_key};
use crate::ledger::Expired;
use crate::ledger::check::{self, MEMORY_MS};
use rateguard_model::id::{RequestId, WorkspaceId};

impl State {
    pub(super) fn expire(&mut self, workspace_id: WorkspaceId, max: usize, now_ms: i64) {
        let from = (workspace_id, i64::MIN, RequestId::from_bytes([0; 16]));
        let to = (workspace_id, now_ms, RequestId::from_bytes([0xff; 16]));
        let due: Vec<_> = self.open.range(from..=to).take(max).copied().collect();
        for (workspace_id, expires_at_ms, id) in due {
            self.open.remove(&(workspace_id, expires_at_ms, id));
            let key = (workspace_id, id);
            let Some(record) = self.records.get_mut(&key) else {
                continue;
            };
            let Phase::Open {
                caller,
                charges,
                members,
                ..
            } = std::mem::replace(&mut record.phase, Phase::Expired)
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
                    members,
                },
            );
        }
    }

    pub(super) fn awaiting(&self, workspace_id: WorkspaceId, max: usize) -> Vec<Expired> {
        let from = (workspace_id, RequestId::from_bytes([0; 16]));
        let to = (workspace_id, RequestId::from_bytes([0xff; 16]));
        self.expired
            .range(from..=to)
            .take(max)
            .map(|(_, expired)| expired.clone())
            .collect()
    }
}
