//! The ids of the events that a partition stored lately, so that what comes twice is stored once.
//!
//! Time here is the bus', not ours: a partition that is hours behind still sees its own last hour.

use super::source::Share;
use super::{ApiEvent, Endpoint};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// What makes a row one: the event and its revision.
pub type EventKey = (u128, u8);

/// Nothing older is sent again (SPEC 5: 30 minutes), with room.
pub const MEMORY_MS: i64 = 3_600_000;

/// Ids are forgotten in blocks of this many milliseconds.
const BLOCK_MS: i64 = 600_000;

pub fn key_of(row: &ApiEvent) -> EventKey {
    (row.event_id.as_u128(), row.revision)
}

/// Ids stored at or after an hour before the newest of them.
#[derive(Debug, Default)]
pub struct Recent {
    blocks: BTreeMap<i64, HashSet<EventKey>>,
}

/// What was stored lately of all workspaces that share a partition: nothing of a row but its id is read.
const BY_LAST_BYTE: &str =
    "SELECT event_id, revision, toUnixTimestamp64Milli(received_at) AS received_at FROM api_events
     WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
       AND reinterpretAsUInt8(unhex(right(toString(workspace_id), 2))) % {modulus:UInt32} = {remainder:UInt32}";

/// The same where Kafka's own partitioner (`murmur2_random`) chose.
const BY_MURMUR: &str =
    "SELECT event_id, revision, toUnixTimestamp64Milli(received_at) AS received_at FROM api_events
     WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
       AND kafkaMurmurHash(UUIDStringToNum(toString(workspace_id))) % {modulus:UInt32} = {remainder:UInt32}";

#[derive(Row, Deserialize)]
struct Stored {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    revision: u8,
    received_at: i64,
}

impl Recent {
    /// Reads what was stored since an hour before `first_received_at_ms`, when the first message of the partition that
    /// is not acknowledged came: a consumer may have ended after an insert and before its acknowledgement.
    pub async fn load(
        endpoint: &Endpoint,
        share: Share,
        first_received_at_ms: i64,
    ) -> Result<Self, clickhouse::error::Error> {
        let (statement, modulus, remainder) = match share {
            Share::All => (BY_LAST_BYTE, 1, 0),
            Share::Residue { modulus, remainder } => (BY_LAST_BYTE, modulus.into(), remainder.into()),
            Share::Murmur {
                partitions,
                partition,
            } => (BY_MURMUR, partitions, partition),
        };
        let mut rows = endpoint
            .client()
            .query(statement)
            .param("since", first_received_at_ms.saturating_sub(MEMORY_MS).max(0))
            .param("modulus", modulus)
            .param("remainder", remainder)
            .fetch::<Stored>()?;
        let mut recent = Self::default();
        while let Some(row) = rows.next().await? {
            // Without forgetting: the first message may be older than what was stored last.
            let block = row.received_at.div_euclid(BLOCK_MS);
            recent
                .blocks
                .entry(block)
                .or_default()
                .insert((row.event_id.as_u128(), row.revision));
        }
        Ok(recent)
    }

    pub fn contains(&self, key: &EventKey) -> bool {
        self.blocks.values().any(|block| block.contains(key))
    }

    /// Remembers a stored row's id, and forgets what is an hour older than it.
    pub fn insert(&mut self, key: EventKey, received_at_ms: i64) {
        let block = received_at_ms.div_euclid(BLOCK_MS);
        self.blocks.entry(block).or_default().insert(key);
        let oldest = block - MEMORY_MS / BLOCK_MS;
        while let Some(first) = self.blocks.first_entry()
            && *first.key() < oldest
        {
            first.remove();
        }
    }

    pub fn len(&self) -> usize {
        self.blocks.values().map(HashSet::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_remembered_for_an_hour_of_the_bus() {
        let mut recent = Recent::default();
        recent.insert((1, 0), 0);
        recent.insert((2, 0), MEMORY_MS - 1);
        assert!(recent.contains(&(1, 0)) && recent.contains(&(2, 0)));
        assert!(!recent.contains(&(1, 1)), "a late settlement is a row of its own");
        recent.insert((3, 0), MEMORY_MS + BLOCK_MS);
        assert!(!recent.contains(&(1, 0)) && recent.contains(&(2, 0)));
        assert_eq!(recent.len(), 2);
    }
}
