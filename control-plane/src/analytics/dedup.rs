//! The ids of the events that a partition stored lately, so that what comes twice is stored once.
//!
//! Time here is the bus', not ours: a partition that is hours behind still sees its own last hour.

use super::late::{Charge, Saying};
use super::source::Share;
use super::{ApiEvent, Endpoint};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    blocks: BTreeMap<i64, Block>,
}

#[derive(Debug, Default)]
struct Block {
    keys: HashSet<EventKey>,
    /// By event. Few: reservations that nobody settled in time.
    charges: HashMap<u128, Charge>,
    /// Charges that were taken back before they came; not stored, so not known to whoever takes over.
    voids: HashSet<u128>,
}

/// Nothing of a row but its id is read.
const IDS: &str =
    "SELECT event_id, revision, toUnixTimestamp64Milli(received_at) AS received_at FROM api_events";

const CHARGES: &str = "SELECT event_id, toUnixTimestamp64Milli(received_at) AS received_at,
     toUnixTimestamp64Milli(timestamp) AS timestamp, cost_nanos, api_id, api_key_id FROM api_events";

/// What was stored lately of all workspaces that share a partition.
const BY_LAST_BYTE: &str = "WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
       AND reinterpretAsUInt8(unhex(right(toString(workspace_id), 2))) % {modulus:UInt32} = {remainder:UInt32}";

/// The same where Kafka's own partitioner (`murmur2_random`) chose.
const BY_MURMUR: &str = "WHERE received_at >= fromUnixTimestamp64Milli({since:Int64})
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
        let (of_partition, modulus, remainder) = match share {
            Share::All => (BY_LAST_BYTE, 1, 0),
            Share::Residue { modulus, remainder } => (BY_LAST_BYTE, modulus.into(), remainder.into()),
            Share::Murmur {
                partitions,
                partition,
            } => (BY_MURMUR, partitions, partition),
        };
        let query = |columns: &str, only: &str| {
            let since = first_received_at_ms.saturating_sub(MEMORY_MS).max(0);
            let query = endpoint
                .client()
                .query(&format!("{columns} {of_partition} {only}"));
            query
                .param("since", since)
                .param("modulus", modulus)
                .param("remainder", remainder)
        };
        // Without forgetting: the first message may be older than what was stored last.
        let mut recent = Self::default();
        let mut rows = query(IDS, "").fetch::<Stored>()?;
        while let Some(row) = rows.next().await? {
            let block = recent.block(row.received_at);
            block.keys.insert((row.event_id.as_u128(), row.revision));
        }
        let mut charges =
            query(CHARGES, "AND usage_source = 'reserved' AND revision = 0").fetch::<Charge>()?;
        while let Some(charge) = charges.next().await? {
            let block = recent.block(charge.received_at);
            block.charges.insert(charge.event_id.as_u128(), charge);
        }
        Ok(recent)
    }

    fn block(&mut self, received_at_ms: i64) -> &mut Block {
        self.blocks
            .entry(received_at_ms.div_euclid(BLOCK_MS))
            .or_default()
    }

    pub fn contains(&self, key: &EventKey) -> bool {
        self.blocks.values().any(|block| block.keys.contains(key))
    }

    /// What a reservation of this id was charged.
    pub fn charge(&self, event_id: u128) -> Option<&Charge> {
        self.blocks
            .values()
            .find_map(|block| block.charges.get(&event_id))
    }

    /// Whether a charge was taken back before it came.
    pub fn is_void(&self, event_id: u128) -> bool {
        self.blocks.values().any(|block| block.voids.contains(&event_id))
    }

    /// Remembers that a charge is taken back, if it should come.
    pub fn note_void(&mut self, event_id: u128, received_at_ms: i64) {
        self.block(received_at_ms).voids.insert(event_id);
    }

    /// Remembers a stored row, and forgets what is an hour older than it.
    pub fn insert(&mut self, row: &ApiEvent) {
        let block = row.received_at.div_euclid(BLOCK_MS);
        let kept = self.blocks.entry(block).or_default();
        kept.keys.insert(key_of(row));
        if Saying::of(row) == Saying::Charged {
            kept.charges.insert(row.event_id.as_u128(), Charge::of(row));
        }
        let oldest = block - MEMORY_MS / BLOCK_MS;
        while let Some(first) = self.blocks.first_entry()
            && *first.key() < oldest
        {
            first.remove();
        }
    }

    pub fn len(&self) -> usize {
        self.blocks.values().map(|block| block.keys.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::row::Receipt;
    use rateguard_wire::v1::RequestEvent;

    fn row(id: u8, received_at_ms: i64) -> ApiEvent {
        let event = RequestEvent {
            event_id: vec![id; 16],
            workspace_id: vec![1; 16],
            ..RequestEvent::default()
        };
        let receipt = Receipt {
            received_at_ms,
            node_id: "n",
        };
        ApiEvent::of(event, receipt).expect("a row")
    }

    #[test]
    fn an_id_is_remembered_for_an_hour_of_the_bus() {
        let key = |id: u8, revision| (u128::from_be_bytes([id; 16]), revision);
        let mut recent = Recent::default();
        recent.insert(&row(1, 0));
        recent.insert(&row(2, MEMORY_MS - 1));
        assert!(recent.contains(&key(1, 0)) && recent.contains(&key(2, 0)));
        assert!(
            !recent.contains(&key(1, 1)),
            "a late settlement is a row of its own"
        );
        recent.insert(&row(3, MEMORY_MS + BLOCK_MS));
        assert!(!recent.contains(&key(1, 0)) && recent.contains(&key(2, 0)));
        assert_eq!(recent.len(), 2);
    }
}
