//! Settlements, releases and charges: one script call per workspace and fifty of them.

use super::key_list::KeyList;
use super::pack::{self, Packer};
use super::{RedisLedger, bucket_key, log_key};
use crate::keys::WorkspaceKeys;
use crate::ledger::{LedgerError, Manner, Resolution, Settlement, check};
use futures_util::future::try_join_all;
use rateguard_model::id::WorkspaceId;
use rateguard_model::quota::Meter;
use std::collections::BTreeMap;

/// Most settlements of one script call: it keeps Redis from anything else for about a quarter of a millisecond.
pub(super) const BATCH_MAX: usize = 50;

/// Most amounts of one script call.
const BATCH_AMOUNTS_MAX: usize = 500;

impl RedisLedger {
    pub(super) async fn resolve(
        &self,
        settlements: &[Settlement],
        manner: Manner,
        now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        let mut resolutions = vec![Resolution::Invalid; settlements.len()];
        let mut by_workspace: BTreeMap<WorkspaceId, Vec<usize>> = BTreeMap::new();
        for (i, settlement) in settlements.iter().enumerate() {
            if check::settlement(settlement, manner, now_ms) {
                by_workspace.entry(settlement.workspace_id).or_default().push(i);
            }
        }
        let batches: Vec<Vec<usize>> = by_workspace
            .into_values()
            .flat_map(|indexes| batches(settlements, &indexes))
            .collect();
        let calls = batches.iter().map(|batch| {
            let batch: Vec<&Settlement> = batch.iter().filter_map(|i| settlements.get(*i)).collect();
            async move { self.resolve_batch(&batch, manner).await }
        });
        let answers = try_join_all(calls).await?;
        for (batch, answer) in batches.iter().zip(answers) {
            for (i, resolution) in batch.iter().zip(answer) {
                if let Some(slot) = resolutions.get_mut(*i) {
                    *slot = resolution;
                }
            }
        }
        Ok(resolutions)
    }

    /// Settlements of one workspace in one call.
    async fn resolve_batch(
        &self,
        batch: &[&Settlement],
        manner: Manner,
    ) -> Result<Vec<Resolution>, LedgerError> {
        let Some(workspace_id) = batch.first().map(|settlement| settlement.workspace_id) else {
            return Ok(Vec::new());
        };
        let names = WorkspaceKeys::new(workspace_id);
        let mut slots = KeyList::after(3);
        for settlement in batch {
            slots.index(names.resolved(settlement.id).0);
        }
        let mut buckets = KeyList::after(3 + slots.keys.len());
        for amount in batch.iter().flat_map(|settlement| &settlement.amounts) {
            buckets.index(bucket_key(&names, &amount.quota)?);
        }
        let mut logs = KeyList::after(3 + slots.keys.len() + buckets.keys.len());
        let mut packer = Packer::default();
        for settlement in batch {
            let (slot, slot_end_ms) = names.resolved(settlement.id);
            packer
                .short(slots.index(slot))
                .number(slot_end_ms)
                .short(settlement.amounts.len())
                .long(settlement.part);
            for amount in &settlement.amounts {
                let bucket = buckets.index(bucket_key(&names, &amount.quota)?);
                let log = match amount.quota.meter {
                    Meter::SlidingWindow { .. } => logs.index(log_key(&names, &amount.quota)?),
                    Meter::TokenBucket { .. } | Meter::FixedWindow { .. } => 0,
                };
                pack::settled_amount(&mut packer, settlement, amount, bucket, log);
            }
        }
        let mut header = Packer::default();
        header
            .byte(manner as u8)
            .number(check::MEMORY_MS)
            .short(batch.len());
        header.short(slots.keys.len()).short(buckets.keys.len());

        let mut args = vec![header.0, packer.0];
        args.extend(batch.iter().map(|settlement| settlement.id.as_bytes().to_vec()));
        let mut keys = vec![names.held(), names.open(), names.expired()];
        keys.append(&mut slots.keys);
        keys.append(&mut buckets.keys);
        keys.append(&mut logs.keys);
        let reply = self.run_packed(&self.scripts.settle, &keys, &args).await?;
        let resolutions: Option<Vec<_>> = reply.iter().map(|status| resolution(*status)).collect();
        resolutions
            .filter(|resolutions| resolutions.len() == batch.len())
            .ok_or_else(pack::garbled)
    }
}

/// Cuts one workspace's settlements into script calls.
fn batches(settlements: &[Settlement], indexes: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut amount_count = 0;
    for &i in indexes {
        let amounts = settlements
            .get(i)
            .map_or(0, |settlement| settlement.amounts.len());
        amount_count += amounts;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MAX && amount_count <= BATCH_AMOUNTS_MAX => batch.push(i),
            _ => {
                batches.push(vec![i]);
                amount_count = amounts;
            }
        }
    }
    batches
}

fn resolution(status: u8) -> Option<Resolution> {
    match status {
        1 => Some(Resolution::Applied),
        2 => Some(Resolution::Duplicate),
        3 => Some(Resolution::Replaced),
        4 => Some(Resolution::Invalid),
        _ => None,
    }
}
