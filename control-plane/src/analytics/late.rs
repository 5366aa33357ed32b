//! What comes after a reservation was charged: the request's own event, or word that the charge is nobody's.
//!
//! A reservation that nobody settled in time is an event with `usage_source = reserved` (SPEC 1.4). What is said of it
//! later becomes a row with the same id, `revision = 1` and signed differences (SPEC 5): sums are then those of what
//! really happened. Where the request's own event came first, the charge is the duplicate.

use super::ApiEvent;
use clickhouse::Row;
use rateguard_wire::v1::UsageSource;
use serde::Deserialize;
use uuid::Uuid;

/// Revision of the row that replaces a charge.
pub const LATE: u8 = 1;

/// A row with `usage_source = reserved`.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct Charge {
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// Unix milliseconds.
    pub received_at: i64,
    /// Unix milliseconds.
    pub timestamp: i64,
    pub cost_nanos: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    pub api_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub api_key_id: Uuid,
}

/// What a row says about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// It is one.
    Charged,
    /// It is taken back: the requests that it was for have events of their own.
    Void,
    /// Nothing of its own: it replaces one if there is one.
    Happened,
}

impl Saying {
    pub fn of(row: &ApiEvent) -> Self {
        let is_reserved = i32::from(row.usage_source) == i32::from(UsageSource::Reserved);
        match (is_reserved, row.revision) {
            (true, 0) => Self::Charged,
            (true, _) => Self::Void,
            (false, _) => Self::Happened,
        }
    }
}

impl Charge {
    pub fn of(row: &ApiEvent) -> Self {
        Self {
            event_id: row.event_id,
            received_at: row.received_at,
            timestamp: row.timestamp,
            cost_nanos: row.cost_nanos,
            api_id: row.api_id,
            api_key_id: row.api_key_id,
        }
    }

    /// Makes `row` what is to be added to this charge for the sum of both to be what happened. One that is taken back
    /// is taken from where it was counted.
    pub fn revise(&self, row: &mut ApiEvent) {
        if Saying::of(row) == Saying::Void {
            row.timestamp = self.timestamp;
            row.api_id = self.api_id;
            row.api_key_id = self.api_key_id;
        }
        row.revision = LATE;
        row.cost_nanos = row.cost_nanos.saturating_sub(self.cost_nanos);
    }
}
