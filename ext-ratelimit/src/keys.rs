//! The only place that spells a Redis key.
//!
//! Every key of a workspace carries the hash tag `{workspaceId}`, so all keys of one script are in one cluster slot.
//! Ids are UUIDs and partitions of a closed alphabet without braces, so no input can leave its workspace or end up in
//! another bucket (TI-04). `rg1` is the layout's version: another layout takes another prefix, and both can run
//! during a rolling deploy. State that comes and goes (window, level) is never part of a key.

use rateguard_model::id::{QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::is_partition;
use std::fmt::Write as _;

/// Layout version.
pub const PREFIX: &str = "rg1:";

/// Sets of workspaces that may hold open or expired reservations, spread so that no set and no node is hot.
pub const REGISTRY_COUNT: u8 = 16;

/// `resolved` slots are 2^10 ms long: about a second of ids share one hash and one expiry.
const SLOT_BITS: u32 = 10;

/// A partition outside `[0-9A-Za-z._:-]{0,200}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid partition")]
pub struct InvalidPartition;

/// What a bucket's key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName {
    pub workspace_id: WorkspaceId,
    pub quota_id: QuotaId,
    pub version: u32,
    pub partition: String,
}

/// Keys of one workspace.
#[derive(Debug, Clone)]
pub struct WorkspaceKeys {
    base: String,
}

impl WorkspaceKeys {
    pub fn new(workspace_id: WorkspaceId) -> Self {
        Self {
            base: format!("{PREFIX}{{{workspace_id}}}:"),
        }
    }

    /// Hash: reservation id → record of an open reservation. No expiry: what is held is never forgotten.
    pub fn held(&self) -> String {
        format!("{}held", self.base)
    }

    /// Sorted set: open reservation ids by expiry.
    pub fn open(&self) -> String {
        format!("{}open", self.base)
    }

    /// Until when the workspace's buckets were known to be whole. No expiry: that it is missing says something.
    pub fn mark(&self) -> String {
        format!("{}mark", self.base)
    }

    /// Hash: reservation id → expired reservation that awaits publishing.
    pub fn expired(&self) -> String {
        format!("{}expired", self.base)
    }

    /// Hash: reservation id → record of a resolved reservation; one per second of ids, by the time inside the UUIDv7.
    /// Also answers the end of that second (Unix ms).
    pub fn resolved(&self, id: RequestId) -> (String, i64) {
        // The first 48 bits of a UUIDv7 are Unix milliseconds (RFC 9562, 5.7).
        let at_ms = (u128::from_be_bytes(*id.as_bytes()) >> 80) as u64;
        let slot = at_ms >> SLOT_BITS;
        (
            format!("{}r:{slot:x}", self.base),
            ((slot + 1) << SLOT_BITS) as i64,
        )
    }

    /// State of one (quota, version, partition).
    pub fn bucket(
        &self,
        quota_id: QuotaId,
        version: u32,
        partition: &str,
    ) -> Result<String, InvalidPartition> {
        self.of_bucket('b', quota_id, version, partition)
    }

    /// Log of one sliding window.
    pub fn log(&self, quota_id: QuotaId, version: u32, partition: &str) -> Result<String, InvalidPartition> {
        self.of_bucket('l', quota_id, version, partition)
    }

    fn of_bucket(
        &self,
        kind: char,
        quota_id: QuotaId,
        version: u32,
        partition: &str,
    ) -> Result<String, InvalidPartition> {
        if !is_partition(partition) {
            return Err(InvalidPartition);
        }
        let mut key = String::with_capacity(self.base.len() + 52 + partition.len());
        key.push_str(&self.base);
        // Writing to a String cannot fail.
        let _ = write!(key, "{kind}:{quota_id}:{version}:{partition}");
        Ok(key)
    }

    /// Patterns for SCAN: the quota's buckets and its logs, of all versions and partitions.
    pub fn patterns(&self, quota_id: QuotaId) -> [String; 2] {
        [
            format!("{}b:{quota_id}:*", self.base),
            format!("{}l:{quota_id}:*", self.base),
        ]
    }
}

/// Reads a bucket's or a log's key back. `None` for every other key.
pub fn parse_bucket(key: &str) -> Option<BucketName> {
    let rest = key.strip_prefix(PREFIX)?.strip_prefix('{')?;
    let (workspace_id, rest) = rest.split_once("}:")?;
    let rest = rest.strip_prefix("b:").or_else(|| rest.strip_prefix("l:"))?;
    let (quota_id, rest) = rest.split_once(':')?;
    let (version, partition) = rest.split_once(':')?;
    Some(BucketName {
        workspace_id: workspace_id.parse().ok()?,
        quota_id: quota_id.parse().ok()?,
        version: version.parse().ok()?,
        partition: is_partition(partition).then(|| partition.to_owned())?,
    })
}

/// The set that a workspace is registered in.
pub fn registry(workspace_id: WorkspaceId) -> String {
    // The last byte of a UUID is random in every version in use.
    let [.., last] = *workspace_id.as_bytes();
    format!("{PREFIX}{{open}}:{}", last % REGISTRY_COUNT)
}

/// All sets of [`registry`].
pub fn registries() -> impl Iterator<Item = String> {
    (0..REGISTRY_COUNT).map(|n| format!("{PREFIX}{{open}}:{n}"))
}

/// Streams that usage events are spread over: the consumer is another program, so `wire` spells them.
pub use rateguard_wire::bus::{STREAM_COUNT as EVENT_STREAM_COUNT, stream as event_stream};

/// Sorted set: live workers of all instances, by when they reserved last (Unix ms).
pub fn workers() -> String {
    format!("{PREFIX}{{workers}}")
}

#[cfg(test)]
mod tests;
