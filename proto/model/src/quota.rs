//! A quota: an amount of a unit per window, for one partition. Rules and budgets become quotas when a request
//! matches them.

use crate::id::QuotaId;
use crate::name::names;
use crate::window::Window;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaKind {
    Rule,
    Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    TokenBucket,
    SlidingWindow,
    SlidingWindowCounter,
    FixedWindow,
    Concurrency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
    /// `COST` in the REST API.
    NanoUsd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    #[default]
    Enforce,
    /// Evaluated and recorded, never refuses.
    Shadow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureMode {
    FailOpen,
    FailClosed,
    /// Each worker may still admit its share of what was left when the ledger was last seen.
    BoundedOpen,
}

names!(QuotaKind {
    Rule: "RULE",
    Budget: "BUDGET"
});

names!(Algorithm {
    TokenBucket: "TOKEN_BUCKET",
    SlidingWindow: "SLIDING_WINDOW",
    SlidingWindowCounter: "SLIDING_WINDOW_COUNTER",
    FixedWindow: "FIXED_WINDOW",
    Concurrency: "CONCURRENCY",
});

names!(Unit {
    Requests: "REQUESTS",
    Tokens: "TOKENS",
    InputTokens: "INPUT_TOKENS",
    OutputTokens: "OUTPUT_TOKENS",
    NanoUsd: "COST",
});

names!(Mode {
    Enforce: "enforce",
    Shadow: "shadow"
});

names!(FailureMode {
    FailOpen: "FAIL_OPEN",
    FailClosed: "FAIL_CLOSED",
    BoundedOpen: "BOUNDED_OPEN",
});

/// How the algorithm counts: its shape and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// `limit` is the bucket's size.
    TokenBucket {
        refill_milli_per_s: u64,
    },
    SlidingWindow {
        window_ms: u64,
    },
    FixedWindow {
        window: Window,
    },
}

impl Meter {
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::TokenBucket { .. } => Algorithm::TokenBucket,
            Self::SlidingWindow { .. } => Algorithm::SlidingWindow,
            Self::FixedWindow { .. } => Algorithm::FixedWindow,
        }
    }
}

/// A quota by value, as one request meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub id: QuotaId,
    /// Part of the bucket's key: an edited rule starts a new bucket.
    pub version: u32,
    pub kind: QuotaKind,
    pub unit: Unit,
    /// 0..2^53.
    pub limit: i64,
    pub meter: Meter,
    pub mode: Mode,
    pub failure_mode: FailureMode,
    /// Whose bucket; `[0-9A-Za-z._:-]`, at most 200 bytes.
    pub partition: String,
    /// What the request wants to hold. 0..2^53.
    pub amount: i64,
}

/// Longest partition in bytes.
pub const PARTITION_LEN_MAX: usize = 200;

/// Largest amount or limit: exact in a double.
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// Most quotas of one reservation.
pub const QUOTAS_MAX: usize = 64;

/// Whether `partition` can be part of a Redis key.
pub fn is_partition(partition: &str) -> bool {
    partition.len() <= PARTITION_LEN_MAX
        && partition
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_can_be_part_of_a_redis_key() {
        assert!(is_partition(""));
        assert!(is_partition("k:0af-9.Z_"));
        assert!(is_partition(&"x".repeat(PARTITION_LEN_MAX)));
        assert!(!is_partition(&"x".repeat(PARTITION_LEN_MAX + 1)));
        for illegal in ["{a}", "a b", "a\n", "é", "a/b", "*"] {
            assert!(!is_partition(illegal), "{illegal:?}");
        }
    }
}
