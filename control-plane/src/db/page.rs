//! Keyset pages: a list goes on after the last row that was seen, whatever was added or removed meanwhile.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Rows on it, at least 1.
    pub limit: u32,
    pub after: Option<Position>,
}

/// Where a row stands in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub at: DateTime<Utc>,
    pub id: Uuid,
}

impl Page {
    /// How many rows to read: one more than shown tells whether there is a next page.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub fn after_at(&self) -> Option<DateTime<Utc>> {
        self.after.map(|position| position.at)
    }

    pub fn after_id(&self) -> Option<Uuid> {
        self.after.map(|position| position.id)
    }
}
