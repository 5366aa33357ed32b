//! Reservations that nobody resolved: charging them, and telling which await publishing.

use super::RedisLedger;
use super::key_list::KeyList;
use super::pack::{self, Packer};
use super::resolve::BATCH_MAX;
use crate::keys::WorkspaceKeys;
use crate::ledger::check;
use crate::ledger::{Caller, Expired, LedgerError};
use rateguard_model::id::{RequestId, WorkspaceId};
use std::collections::{BTreeMap, HashMap};

impl RedisLedger {
    /// Charges at most `max` reservations that are due.
    pub(super) async fn expire(
        &self,
        workspace_id: WorkspaceId,
        names: &WorkspaceKeys,
        max: usize,
    ) -> Result<(), LedgerError> {
        let due: Vec<Vec<u8>> = self
            .run(
                &self.scripts.due,
                &[names.held(), names.open()],
                &[max.to_string().into_bytes()],
            )
            .await?;
        let due: Vec<(RequestId, pack::Record)> = due
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [id, bytes] => Some((pack::request_id(id)?, read_record(workspace_id, bytes))),
                _ => None,
            })
            .collect();
        for batch in due.chunks(BATCH_MAX) {
            let mut others = KeyList::after(3);
            let mut args = vec![check::MEMORY_MS.to_string().into_bytes()];
            for (id, record) in batch {
                let (slot, slot_end_ms) = names.resolved(*id);
                let mut held = Vec::new();
                for charge in record.charges.iter().filter(|charge| charge.is_held) {
                    let key = names
                        .bucket(charge.quota_id, charge.version, &charge.partition)
                        .map_err(|_| pack::garbled())?;
                    held.push((others.index(key), charge));
                }
                let mut packer = Packer::default();
                packer
                    .bytes(id.as_bytes())
                    .short(others.index(slot))
                    .number(slot_end_ms)
                    .short(held.len())
                    .long(record.part);
                for (bucket, charge) in held {
                    packer.short(bucket).number(charge.amount);
                    packer.number(charge.window_start_ms).number(charge.keep_until_ms);
                }
                args.push(packer.0);
            }
            let mut keys = vec![names.held(), names.open(), names.expired()];
            keys.append(&mut others.keys);
            let _: i64 = self.run(&self.scripts.expire, &keys, &args).await?;
        }
        Ok(())
    }

    pub(super) async fn awaiting(
        &self,
        workspace_id: WorkspaceId,
        names: &WorkspaceKeys,
        max: usize,
    ) -> Result<Vec<Expired>, LedgerError> {
        let mut found = BTreeMap::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("HSCAN");
            command
                .arg(names.expired())
                .arg(cursor)
                .arg("COUNT")
                .arg(max.max(1));
            let (next, entries): (u64, HashMap<Vec<u8>, Vec<u8>>) = self.query(&command).await?;
            for (id, value) in entries {
                let Some(id) = pack::request_id(&id) else { continue };
                let (expired_at_ms, record) = pack::expired(&value).unwrap_or_default();
                let record = read_record(workspace_id, record);
                let caller = record.caller;
                let settled = record.charges.into_iter().filter(|charge| charge.needs_settling);
                let charges =
                    settled.map(|charge| (charge.quota_id, charge.version, charge.partition, charge.amount));
                found.insert(
                    id,
                    Expired {
                        id,
                        workspace_id,
                        caller,
                        expired_at_ms,
                        charges: charges.collect(),
                        members: record.members,
                    },
                );
            }
            cursor = next;
            if cursor == 0 || found.len() >= max {
                return Ok(found.into_values().take(max).collect());
            }
        }
    }
}

/// A record without those charges that were skipped. One that cannot be read charges nothing: it is said once,
/// and the reservation ends.
fn read_record(workspace_id: WorkspaceId, bytes: &[u8]) -> pack::Record {
    let names = WorkspaceKeys::new(workspace_id);
    let Some(mut record) = pack::record(bytes) else {
        if !bytes.is_empty() {
            tracing::error!(workspace.id = %workspace_id, "a reservation's record cannot be read");
        }
        return pack::Record {
            part: 0,
            skipped: String::new(),
            caller: Caller::default(),
            charges: Vec::new(),
            members: Vec::new(),
        };
    };
    if !record.skipped.is_empty() {
        let skipped: Vec<&str> = record.skipped.lines().collect();
        record.charges.retain(|charge| {
            names
                .bucket(charge.quota_id, charge.version, &charge.partition)
                .is_ok_and(|key| !skipped.contains(&key.as_str()))
        });
    }
    record
}
