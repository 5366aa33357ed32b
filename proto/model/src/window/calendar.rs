//! Calendar windows in a time zone. Local time can jump and repeat; Unix time does neither, so every boundary is
//! looked for there.

use super::{Bounds, CalendarUnit};
use chrono::{DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Years 1 to 9999: beyond, chrono's arithmetic could leave its range. The first window reaches back and the last one
/// forward without end.
const RANGE_MS: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

const HOUR_S: i64 = 3_600;

/// No zone was ever a day away from UTC.
const OFFSET_MAX_S: i64 = 86_400;

pub(super) fn bounds(unit: CalendarUnit, zone: Tz, now_ms: i64) -> Bounds {
    let (first, last) = RANGE_MS;
    let now_s = now_ms.clamp(first, last).div_euclid(1_000);
    let (start_s, end_s) = match unit {
        CalendarUnit::Hour => hour(zone, now_s),
        CalendarUnit::Day | CalendarUnit::Week | CalendarUnit::Month => days(unit, zone, now_s),
    };
    let (start_ms, end_ms) = (start_s.saturating_mul(1_000), end_s.saturating_mul(1_000));
    Bounds {
        start_ms: if start_ms <= first { i64::MIN } else { start_ms },
        end_ms: if end_ms > last { i64::MAX } else { end_ms },
    }
}

/// Seconds that local time is ahead of UTC at an instant.
fn offset_s(zone: Tz, at_s: i64) -> i64 {
    let utc = DateTime::from_timestamp(at_s, 0).unwrap_or_default().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

/// What the wall clock shows at an instant, as if it were UTC.
fn local(zone: Tz, at_s: i64) -> NaiveDateTime {
    DateTime::from_timestamp(at_s + offset_s(zone, at_s), 0)
        .unwrap_or_default()
        .naive_utc()
}

/// An hour starts when the wall clock's minutes return to zero, and where a zone moves by a part of an hour.
fn hour(zone: Tz, now_s: i64) -> (i64, i64) {
    let phase = |at_s: i64| offset_s(zone, at_s).rem_euclid(HOUR_S);
    let current = phase(now_s);
    let whole_start = now_s - (now_s + current).rem_euclid(HOUR_S);
    let whole_end = whole_start + HOUR_S;
    let start = if phase(whole_start) == current {
        whole_start
    } else {
        first_instant(whole_start, now_s, |at_s| phase(at_s) == current)
    };
    let end = if phase(whole_end - 1) == current {
        whole_end
    } else {
        first_instant(now_s, whole_end - 1, |at_s| phase(at_s) != current)
    };
    (start, end)
}

/// Days, weeks and months start with the first instant of their first local day.
fn days(unit: CalendarUnit, zone: Tz, now_s: i64) -> (i64, i64) {
    let first_day = first_day(unit, local(zone, now_s).date());
    // Around a repeated midnight the wall clock can still show the day before.
    let starts = [-1, 0, 1, 2].map(|periods| start_s(zone, add(unit, first_day, periods)));
    let [previous, current, next, after_next] = starts;
    if now_s < current {
        (previous, current)
    } else if now_s < next {
        (current, next)
    } else {
        (next, after_next)
    }
}

fn first_day(unit: CalendarUnit, day: NaiveDate) -> NaiveDate {
    match unit {
        CalendarUnit::Hour | CalendarUnit::Day => day,
        CalendarUnit::Week => {
            let since_monday = Days::new(day.weekday().num_days_from_monday().into());
            day.checked_sub_days(since_monday).unwrap_or(day)
        }
        CalendarUnit::Month => day.with_day(1).unwrap_or(day),
    }
}

/// The first day of the period that lies `periods` after the one starting with `day`.
fn add(unit: CalendarUnit, day: NaiveDate, periods: i32) -> NaiveDate {
    let count = periods.unsigned_abs();
    let days = Days::new(match unit {
        CalendarUnit::Week => 7 * u64::from(count),
        CalendarUnit::Hour | CalendarUnit::Day | CalendarUnit::Month => count.into(),
    });
    match (unit, periods < 0) {
        (CalendarUnit::Month, true) => day.checked_sub_months(Months::new(count)),
        (CalendarUnit::Month, false) => day.checked_add_months(Months::new(count)),
        (_, true) => day.checked_sub_days(days),
        (_, false) => day.checked_add_days(days),
    }
    .unwrap_or(day)
}

/// The first instant at which the wall clock shows `day` or later.
fn start_s(zone: Tz, day: NaiveDate) -> i64 {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    match zone.from_local_datetime(&midnight) {
        MappedLocalTime::Single(at) => at.timestamp(),
        MappedLocalTime::Ambiguous(a, b) => a.timestamp().min(b.timestamp()),
        // The clock jumps over midnight: the day starts with the jump.
        MappedLocalTime::None => {
            let as_utc = midnight.and_utc().timestamp();
            first_instant(as_utc - OFFSET_MAX_S, as_utc + OFFSET_MAX_S, |at_s| {
                local(zone, at_s) >= midnight
            })
        }
    }
}

/// The first second in `low..=high` for which `holds`, which changes once from false to true; `high` if there is none.
fn first_instant(low: i64, high: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}
