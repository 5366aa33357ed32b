//! Ranges of time, the buckets that a chart has of them, and the rollups that hold them.
//!
//! A range is read from as few rows as its ends and buckets allow: whole days from the table of days, what is left at
//! its ends from hours and minutes. Tables forget: before the last 31 days (of one key's percentiles 29) there are hours
//! only, before the last 399 whole days of UTC, and ranges are rounded outwards to what there is.

use chrono::{DateTime, Days, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use rateguard_api::name::Granularity;
use rateguard_model::window::{CalendarUnit, Window};

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 86_400;

/// Of one chart.
pub const POINTS_MAX: i64 = 1_500;
/// Of one range.
pub const DAYS_MAX: i64 = 1_500;

/// A day less than the tables of hours keep (`migrations/clickhouse`).
const HOURS_KEPT_DAYS: i64 = 399;

/// What the tables to be read have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The finest, in seconds.
    pub grain: i64,
    /// Minutes: a day less than they are kept. Where `grain` is an hour, nobody asks.
    pub minutes_days: i64,
}

impl Kept {
    pub const ROLLUPS: Self = Self {
        grain: MINUTE,
        minutes_days: 31,
    };
    /// Percentiles of one key, whose minutes are the raw rows.
    pub const OF_KEYS: Self = Self {
        grain: MINUTE,
        minutes_days: 29,
    };
    pub const TAGS: Self = Self {
        grain: HOUR,
        ..Self::ROLLUPS
    };
}

/// ClickHouse's DateTime ends in 2106.
const TIME_MAX: i64 = u32::MAX as i64;

/// From `start` on, before `end`; Unix seconds from 0 to 2106.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

impl Span {
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// In seconds.
    pub fn length(self) -> i64 {
        self.end - self.start
    }
}

/// What is wrong with a range, and how it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RangeError {
    /// The parameter at fault.
    pub field: &'static str,
    pub message: String,
}

fn refuse(field: &'static str, message: impl Into<String>) -> RangeError {
    RangeError {
        field,
        message: message.into(),
    }
}

/// What was asked for: the last 24 hours where nothing is said.
pub fn requested(
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), RangeError> {
    let end = end.unwrap_or(now);
    let start = start.unwrap_or(end - chrono::Duration::hours(24));
    for (field, at) in [("start", start), ("end", end)] {
        if !(0..=TIME_MAX - DAY).contains(&at.timestamp()) {
            return Err(refuse(field, "must be between 1970 and 2105"));
        }
    }
    if start >= end {
        return Err(refuse("start", "must be before `end`"));
    }
    if end.timestamp() - start.timestamp() > DAYS_MAX * DAY {
        return Err(refuse(
            "start",
            format!("the range is longer than {DAYS_MAX} days; ask for a shorter one"),
        ));
    }
    Ok((start, end))
}

/// The granularity that suits a range.
pub fn suitable(start: DateTime<Utc>, end: DateTime<Utc>) -> Granularity {
    match end.timestamp() - start.timestamp() {
        ..=10_800 => Granularity::Minute,
        10_801..=604_800 => Granularity::Hour,
        _ => Granularity::Day,
    }
}

/// A range, cut for the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub span: Span,
    /// In which days and hours begin.
    pub time_zone: Tz,
    /// When each bucket begins, ascending, never none. The first may begin before the range.
    pub buckets: Vec<u32>,
    /// What is read from the tables of minutes, hours and days; each part may be empty.
    pub minutes: [Span; 2],
    pub hours: [Span; 2],
    pub days: [Span; 2],
}

impl Plan {
    /// `granularity` none: one bucket.
    pub fn new(
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        granularity: Option<Granularity>,
        kept: Kept,
        time_zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Self, RangeError> {
        let now = now.timestamp();
        let hours_from = floor(now - kept.minutes_days * DAY, HOUR);
        let days_from = floor(now - HOURS_KEPT_DAYS * DAY, DAY);
        let grain_at = |at: i64| match at {
            at if at < days_from => DAY,
            at if at < hours_from => HOUR.max(kept.grain),
            _ => kept.grain,
        };
        let end_second = end.timestamp() + i64::from(end.timestamp_subsec_nanos() > 0);
        let span = Span {
            start: floor(start.timestamp(), grain_at(start.timestamp())),
            end: ceil(end_second, grain_at(end_second)).min(TIME_MAX),
        };
        if span.is_empty() {
            return Err(refuse("compare", "there is nothing before 1970"));
        }
        match granularity {
            Some(Granularity::Minute) if span.start < hours_from => {
                return Err(refuse(
                    "granularity",
                    format!(
                        "minutes are kept for {} days; ask for `hour` or a later `start`",
                        kept.minutes_days
                    ),
                ));
            }
            Some(Granularity::Hour) if span.start < days_from => {
                return Err(refuse(
                    "granularity",
                    "hours are kept for 399 days; ask for `day` or a later `start`",
                ));
            }
            _ => {}
        }
        // Rows of whole days of UTC cannot be put into another zone's days.
        let time_zone = if span.start < days_from {
            Tz::UTC
        } else {
            time_zone
        };
        let buckets = match granularity {
            Some(granularity) => buckets(span, granularity, time_zone)?,
            None => vec![seconds(span.start)],
        };
        let mut plan = Self {
            span,
            time_zone,
            buckets,
            minutes: [Span::EMPTY; 2],
            hours: [Span::EMPTY; 2],
            days: [Span::EMPTY; 2],
        };
        plan.cut(hours_from);
        Ok(plan)
    }

    /// Whether every bucket but the first begins with one of the coarse ones.
    fn begins_with(&self, coarse: i64) -> bool {
        self.buckets.iter().skip(1).all(|&at| i64::from(at) % coarse == 0)
    }

    /// Gives each table its parts. Before `hours_from` there are no minutes.
    fn cut(&mut self, hours_from: i64) {
        let Span { start, end } = self.span;
        let by_hour = self.begins_with(HOUR);
        let hours = if by_hour {
            Span {
                start: ceil(start, HOUR),
                end: floor(end, HOUR),
            }
        } else {
            Span {
                start,
                end: end.min(hours_from),
            }
        };
        if hours.is_empty() {
            self.minutes = [self.span, Span::EMPTY];
            return;
        }
        self.minutes = [
            Span {
                start,
                end: hours.start,
            },
            Span {
                start: hours.end,
                end,
            },
        ];
        let days = Span {
            start: ceil(hours.start, DAY),
            end: floor(hours.end, DAY),
        };
        if !by_hour || days.is_empty() || !self.begins_with(DAY) {
            self.hours = [hours, Span::EMPTY];
            return;
        }
        self.days = [days, Span::EMPTY];
        self.hours = [
            Span {
                start: hours.start,
                end: days.start,
            },
            Span {
                start: days.end,
                end: hours.end,
            },
        ];
    }

    /// As much time right before: as many days where the range is of whole days, which need not be equally long.
    pub fn before(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let start = instant(self.span.start);
        let days = u64::try_from((self.span.length() + DAY / 2) / DAY).unwrap_or(0);
        let is_midnight = |at: DateTime<Utc>| at.with_timezone(&self.time_zone).time() == NaiveTime::MIN;
        let earlier = if is_midnight(start) && is_midnight(instant(self.span.end)) {
            let local = start.with_timezone(&self.time_zone).naive_local();
            let earlier = local.checked_sub_days(Days::new(days));
            earlier.and_then(|local| self.time_zone.from_local_datetime(&local).earliest())
        } else {
            None
        };
        let earlier = earlier.map_or_else(
            || instant((self.span.start - self.span.length()).max(0)),
            |at| at.with_timezone(&Utc),
        );
        (earlier, start)
    }
}

/// When each bucket of a range begins.
fn buckets(span: Span, granularity: Granularity, time_zone: Tz) -> Result<Vec<u32>, RangeError> {
    let (length, unit, coarser) = match granularity {
        Granularity::Minute => (MINUTE, None, "`hour`"),
        Granularity::Hour => (HOUR, Some(CalendarUnit::Hour), "`day`"),
        Granularity::Day => (DAY, Some(CalendarUnit::Day), "a shorter range"),
    };
    if span.length() / length > POINTS_MAX {
        return Err(refuse(
            "granularity",
            format!("would give more than {POINTS_MAX} points; ask for {coarser}"),
        ));
    }
    let next = |at: i64| match unit {
        None => {
            let start = floor(at, MINUTE);
            (start, start + MINUTE)
        }
        Some(unit) => {
            let bounds = Window::Calendar { unit, time_zone }.bounds(at * 1_000);
            (bounds.start_ms / 1_000, bounds.end_ms / 1_000)
        }
    };
    let mut starts = Vec::new();
    let mut at = span.start;
    while at < span.end {
        let (start, end) = next(at);
        starts.push(seconds(start));
        at = end.max(at + 1);
    }
    Ok(starts)
}

fn floor(at: i64, step: i64) -> i64 {
    at.div_euclid(step) * step
}

fn ceil(at: i64, step: i64) -> i64 {
    floor(at + step - 1, step)
}

/// Within what the tables can hold.
fn seconds(at: i64) -> u32 {
    u32::try_from(at.max(0)).unwrap_or(u32::MAX)
}

/// Of Unix seconds that a [`Span`] holds.
pub fn instant(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at, 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    const NOW: i64 = 1_781_524_800;
    const ZONES: [Tz; 5] = [
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::Asia__Kolkata,
        Tz::America__Sao_Paulo,
        Tz::Australia__Lord_Howe,
    ];

    fn plan(start: i64, end: i64, granularity: Option<Granularity>, zone: Tz) -> Result<Plan, RangeError> {
        Plan::new(
            (instant(start), instant(end)),
            granularity,
            Kept::ROLLUPS,
            zone,
            instant(NOW),
        )
    }

    #[test]
    fn parts_make_up_the_range_and_are_in_tables_that_still_have_them() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..4_000 {
            let length = 1 << rng.random_range(5..27);
            let start = NOW - rng.random_range(0..600 * DAY);
            let end = start + rng.random_range(1..=length);
            let granularity = [None, Some(Granularity::Hour), Some(Granularity::Day)][rng.random_range(0..3)];
            let zone = ZONES[rng.random_range(0..ZONES.len())];
            let Ok(plan) = plan(start, end, granularity, zone) else {
                continue;
            };
            let seen = format!("{start} {end} {granularity:?} {zone} {plan:?}");
            assert!(plan.span.start <= start && end <= plan.span.end, "{seen}");
            let mut parts: Vec<(Span, i64, i64)> = Vec::new();
            for (spans, step, kept_days) in [
                (plan.minutes, MINUTE, 32),
                (plan.hours, HOUR, 400),
                (plan.days, DAY, i64::MAX / DAY),
            ] {
                parts.extend(
                    spans
                        .into_iter()
                        .filter(|s| !s.is_empty())
                        .map(|s| (s, step, kept_days)),
                );
            }
            parts.sort_by_key(|(span, ..)| span.start);
            let mut at = plan.span.start;
            for (span, step, kept_days) in parts {
                assert_eq!(span.start, at, "{seen}");
                assert_eq!((span.start % step, span.end % step), (0, 0), "{seen}");
                assert!((NOW - span.start) / DAY < kept_days, "{seen}");
                at = span.end;
            }
            assert_eq!(at, plan.span.end, "{seen}");
            assert!(
                plan.buckets.is_sorted() && i64::from(plan.buckets[0]) <= plan.span.start,
                "{seen}"
            );
        }
    }

    #[test]
    fn ca_17_what_is_too_much_is_refused_with_the_way_out() {
        let refused = |start, granularity| plan(start, NOW, Some(granularity), Tz::UTC).unwrap_err();
        let error = refused(NOW - 2 * DAY, Granularity::Minute);
        assert_eq!(error.field, "granularity");
        assert!(
            error.message.contains("1500") && error.message.contains("`hour`"),
            "{error}"
        );
        assert!(
            refused(NOW - 90 * DAY, Granularity::Hour)
                .message
                .contains("`day`")
        );
        let old = plan(
            NOW - 40 * DAY,
            NOW - 40 * DAY + HOUR,
            Some(Granularity::Minute),
            Tz::UTC,
        );
        assert!(old.unwrap_err().message.contains("31 days"));
        let years = requested(Some(instant(NOW - 3_650 * DAY)), None, instant(NOW)).unwrap_err();
        assert_eq!(years.field, "start");
        assert!(requested(Some(instant(NOW)), Some(instant(NOW)), instant(NOW)).is_err());
        assert!(requested(None, Some(instant(-5)), instant(NOW)).is_err());
    }

    #[test]
    fn days_are_the_zone_s_and_the_period_before_has_as_many() {
        // Berlin turned its clocks on 2026-03-29.
        let start = DateTime::parse_from_rfc3339("2026-03-28T23:00:00Z")
            .unwrap()
            .timestamp();
        let end = DateTime::parse_from_rfc3339("2026-03-30T22:00:00Z")
            .unwrap()
            .timestamp();
        let zone = Tz::Europe__Berlin;
        let plan = plan(start, end, Some(Granularity::Day), zone).unwrap();
        assert_eq!(plan.buckets.len(), 2);
        assert_eq!(i64::from(plan.buckets[1]) - i64::from(plan.buckets[0]), 23 * HOUR);
        let (before, until) = plan.before();
        assert_eq!(before.to_rfc3339(), "2026-03-26T23:00:00+00:00");
        assert_eq!(until.timestamp(), start);
    }
}
