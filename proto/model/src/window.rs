//! Windows: one definition for every store. Bounds are computed here, never in Lua or SQL.
//!
//! Windows of one kind follow each other without gap or overlap, whatever the time zone does.

mod calendar;

use crate::name::names;
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

/// An hour lasts as long as the clock runs through it once: one that a zone repeats counts as two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    Hour,
    Day,
    /// ISO: from Monday.
    Week,
    Month,
}

names!(CalendarUnit {
    Hour: "HOUR",
    Day: "DAY",
    Week: "WEEK",
    Month: "MONTH",
});

/// A half-open range of Unix milliseconds. A total window ends at `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Bounds {
    pub const fn contains(&self, now_ms: i64) -> bool {
        self.start_ms <= now_ms && now_ms < self.end_ms
    }

    /// The empty window at an instant.
    const fn empty(at_ms: i64) -> Self {
        Self {
            start_ms: at_ms,
            end_ms: at_ms,
        }
    }
}

impl Window {
    /// The window that `now_ms` falls in. Where a local midnight does not exist or comes twice, the first instant of
    /// that local day counts. A total window starts at 0.
    pub fn bounds(&self, now_ms: i64) -> Bounds {
        match *self {
            Self::Rolling { ms } => rolling(ms, now_ms),
            Self::Calendar { unit, time_zone } => calendar::bounds(unit, time_zone, now_ms),
            Self::Total => Bounds {
                start_ms: 0,
                end_ms: i64::MAX,
            },
        }
    }

    /// The windows before, at and after `now_ms`: a script picks by its own clock. Those beside a total window are
    /// empty.
    pub fn around(&self, now_ms: i64) -> [Bounds; 3] {
        let at = self.bounds(now_ms);
        if matches!(self, Self::Total) {
            return [Bounds::empty(at.start_ms), at, Bounds::empty(at.end_ms)];
        }
        let before = match at.start_ms {
            i64::MIN => Bounds::empty(i64::MIN),
            start => self.bounds(start - 1),
        };
        let after = match at.end_ms {
            i64::MAX => Bounds::empty(i64::MAX),
            end => self.bounds(end),
        };
        [before, at, after]
    }
}

/// A multiple of `ms` after the epoch; a length of 0 counts as 1.
fn rolling(ms: u64, now_ms: i64) -> Bounds {
    let length = i64::try_from(ms).unwrap_or(i64::MAX).max(1);
    let start_ms = now_ms.saturating_sub(now_ms.rem_euclid(length));
    Bounds {
        start_ms,
        end_ms: start_ms.saturating_add(length),
    }
}

#[cfg(test)]
mod tests;
