use super::*;
use chrono::{DateTime, Datelike, TimeZone};
use proptest::prelude::*;

fn ms(rfc3339: &str) -> i64 {
    DateTime::parse_from_rfc3339(rfc3339).unwrap().timestamp_millis()
}

/// Times carry the offset that is in force there.
fn check(unit: CalendarUnit, zone: &str, now: &str, start: &str, end: &str) {
    let window = Window::Calendar {
        unit,
        time_zone: zone.parse().unwrap(),
    };
    let bounds = window.bounds(ms(now));
    let expected = Bounds {
        start_ms: ms(start),
        end_ms: ms(end),
    };
    assert_eq!(bounds, expected, "{unit:?} at {now} in {zone}");
}

#[test]
fn months_follow_the_zone() {
    use CalendarUnit::Month;
    // Summer time starts within the month.
    check(
        Month,
        "Europe/Berlin",
        "2026-03-31T23:59:59+02:00",
        "2026-03-01T00:00:00+01:00",
        "2026-04-01T00:00:00+02:00",
    );
    check(
        Month,
        "America/New_York",
        "2026-12-31T23:59:59-05:00",
        "2026-12-01T00:00:00-05:00",
        "2027-01-01T00:00:00-05:00",
    );
    check(
        Month,
        "Pacific/Kiritimati",
        "2026-02-28T23:00:00+14:00",
        "2026-02-01T00:00:00+14:00",
        "2026-03-01T00:00:00+14:00",
    );
    check(
        Month,
        "UTC",
        "2028-02-29T12:00:00Z",
        "2028-02-01T00:00:00Z",
        "2028-03-01T00:00:00Z",
    );
}

#[test]
fn days_have_23_or_25_hours_when_clocks_change() {
    use CalendarUnit::Day;
    check(
        Day,
        "Europe/Berlin",
        "2026-03-29T12:00:00+02:00",
        "2026-03-29T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
    );
    check(
        Day,
        "Europe/Berlin",
        "2026-10-25T12:00:00+01:00",
        "2026-10-25T00:00:00+02:00",
        "2026-10-26T00:00:00+01:00",
    );
}

#[test]
fn a_missing_midnight_starts_with_the_jump() {
    use CalendarUnit::Day;
    // 00:00 jumped to 01:00.
    check(
        Day,
        "America/Sao_Paulo",
        "2018-11-04T01:00:00-02:00",
        "2018-11-04T01:00:00-02:00",
        "2018-11-05T00:00:00-02:00",
    );
    check(
        Day,
        "America/Sao_Paulo",
        "2018-11-03T23:59:59-03:00",
        "2018-11-03T00:00:00-03:00",
        "2018-11-04T01:00:00-02:00",
    );
    // 30 December 2011 does not exist in Samoa.
    check(
        Day,
        "Pacific/Apia",
        "2011-12-29T12:00:00-10:00",
        "2011-12-29T00:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
    );
    check(
        Day,
        "Pacific/Apia",
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T00:00:00+14:00",
        "2012-01-01T00:00:00+14:00",
    );
}

#[test]
fn a_repeated_midnight_starts_with_the_first() {
    use CalendarUnit::Day;
    // 01:00 went back to 00:00.
    check(
        Day,
        "America/Havana",
        "2026-11-01T00:30:00-05:00",
        "2026-11-01T00:00:00-04:00",
        "2026-11-02T00:00:00-05:00",
    );
    // 00:01 went back to 23:01 of the day before, whose last 59 minutes came again after a minute of the new day.
    check(
        Day,
        "America/St_Johns",
        "2010-11-06T23:30:00-03:30",
        "2010-11-07T00:00:00-02:30",
        "2010-11-08T00:00:00-03:30",
    );
}

#[test]
fn weeks_start_on_monday() {
    use CalendarUnit::Week;
    check(
        Week,
        "Europe/Berlin",
        "2027-01-01T00:00:00+01:00",
        "2026-12-28T00:00:00+01:00",
        "2027-01-04T00:00:00+01:00",
    );
    check(
        Week,
        "UTC",
        "2026-08-24T00:00:00Z",
        "2026-08-24T00:00:00Z",
        "2026-08-31T00:00:00Z",
    );
}

#[test]
fn hours_follow_the_wall_clock() {
    use CalendarUnit::Hour;
    check(
        Hour,
        "Asia/Kolkata",
        "2026-08-24T10:29:59+05:30",
        "2026-08-24T10:00:00+05:30",
        "2026-08-24T11:00:00+05:30",
    );
    // The hour that comes twice is two windows.
    check(
        Hour,
        "Europe/Berlin",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    );
    // Lord Howe moves by half an hour: 02:00 becomes 01:30, and half of that hour is left.
    check(
        Hour,
        "Australia/Lord_Howe",
        "2026-04-05T01:45:00+10:30",
        "2026-04-05T01:30:00+10:30",
        "2026-04-05T02:00:00+10:30",
    );
    check(
        Hour,
        "Australia/Lord_Howe",
        "2026-04-05T01:45:00+11:00",
        "2026-04-05T01:00:00+11:00",
        "2026-04-05T01:30:00+10:30",
    );
    check(
        Hour,
        "Australia/Lord_Howe",
        "2026-10-04T02:45:00+11:00",
        "2026-10-04T02:30:00+11:00",
        "2026-10-04T03:00:00+11:00",
    );
}

#[test]
fn rolling_windows_are_aligned_to_the_epoch() {
    let window = Window::Rolling { ms: 60_000 };
    assert_eq!(
        window.bounds(119_999),
        Bounds {
            start_ms: 60_000,
            end_ms: 120_000
        }
    );
    assert_eq!(
        window.bounds(120_000),
        Bounds {
            start_ms: 120_000,
            end_ms: 180_000
        }
    );
    assert_eq!(
        window.bounds(-1),
        Bounds {
            start_ms: -60_000,
            end_ms: 0
        }
    );
}

#[test]
fn a_total_window_has_empty_neighbours() {
    let [before, at, after] = Window::Total.around(1);
    assert_eq!(
        at,
        Bounds {
            start_ms: 0,
            end_ms: i64::MAX
        }
    );
    assert_eq!(before, Bounds::empty(0));
    assert_eq!(after, Bounds::empty(i64::MAX));
}

#[test]
fn no_instant_and_no_length_panics() {
    for now in [i64::MIN, -1, 0, i64::MAX - 1, i64::MAX] {
        for length in [0, 1, 3, u64::MAX] {
            Window::Rolling { ms: length }.around(now);
        }
        for unit in CalendarUnit::ALL {
            for time_zone in [Tz::UTC, Tz::Pacific__Apia, Tz::Asia__Manila] {
                let window = Window::Calendar {
                    unit: *unit,
                    time_zone,
                };
                let bounds = window.bounds(now);
                assert!(bounds.start_ms <= now && (now < bounds.end_ms || now == i64::MAX));
                window.around(now);
            }
        }
    }
}

/// Zones with odd histories more often than chance would have it.
fn zones() -> impl Strategy<Value = Tz> {
    prop_oneof![
        proptest::sample::select(vec![
            Tz::Pacific__Apia,
            Tz::Pacific__Kwajalein,
            Tz::Australia__Lord_Howe,
            Tz::America__Havana,
            Tz::America__St_Johns,
            Tz::America__Sao_Paulo,
            Tz::America__Asuncion,
            Tz::America__Scoresbysund,
            Tz::Africa__Casablanca,
            Tz::Antarctica__Troll,
            Tz::Asia__Gaza,
            Tz::Asia__Manila,
            Tz::Europe__Dublin,
        ]),
        proptest::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
    ]
}

fn windows() -> impl Strategy<Value = Window> {
    let calendar = (zones(), proptest::sample::select(CalendarUnit::ALL));
    prop_oneof![
        1 => (1_u64..100_000_000).prop_map(|ms| Window::Rolling { ms }),
        6 => calendar.prop_map(|(time_zone, unit)| Window::Calendar { unit, time_zone }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn windows_cover_time_without_gap(window in windows(), now in 0_i64..4_102_444_800_000) {
        let [before, at, after] = window.around(now);
        prop_assert!(at.contains(now));
        prop_assert_eq!(before.end_ms, at.start_ms);
        prop_assert_eq!(after.start_ms, at.end_ms);
        prop_assert!(before.start_ms < before.end_ms && after.start_ms < after.end_ms);
        for inside in [at.start_ms, at.end_ms - 1] {
            prop_assert_eq!(window.bounds(inside), at);
        }
    }

    #[test]
    fn a_calendar_window_starts_on_its_local_day(time_zone in zones(), now in 0_i64..4_102_444_800_000) {
        let start = |unit| {
            let bounds = Window::Calendar { unit, time_zone }.bounds(now);
            time_zone.timestamp_millis_opt(bounds.start_ms).unwrap()
        };
        // The first instant of a day is at most a jump away from midnight; a skipped day moves it to the next.
        prop_assert!(start(CalendarUnit::Month).day() <= 2);
        prop_assert!(start(CalendarUnit::Week).weekday().num_days_from_monday() <= 1);
    }
}
