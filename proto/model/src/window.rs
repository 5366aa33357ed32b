//! Windows: one definition for every store. Bounds are computed here, never in Lua or SQL.

use chrono_tz::Tz;

/// What a quota's amount is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A fixed length; as a FIXED_WINDOW aligned to the Unix epoch, as a SLIDING_WINDOW ending at the request.
    Rolling {
        ms: u64,
    },
    Calendar {
        unit: CalendarUnit,
        time_zone: Tz,
    },
    /// Never ends.
    Total,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    Hour,
    Day,
    /// ISO: from Monday.
    Week,
    Month,
}

/// A half-open range of Unix milliseconds. A total window ends at `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Window {
    /// The window that `now_ms` falls in. Where a local midnight does not exist or comes twice, the first instant of
    /// that local day counts.
    pub fn bounds(&self, _now_ms: i64) -> Bounds {
        todo!()
    }

    /// The windows before, at and after `now_ms`: a script picks by its own clock.
    pub fn around(&self, _now_ms: i64) -> [Bounds; 3] {
        todo!()
    }
}
