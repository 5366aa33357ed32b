//! Times: RFC 3339 in, text in the workspace's zone out. The zone's offset is a parameter; `zone` asks the browser.

const DAY_MS: i64 = 86_400_000;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A civil date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

impl Civil {
    /// Of milliseconds since 1970, the offset of the zone (milliseconds east of UTC) added already.
    pub fn of_local_ms(local_ms: i64) -> Self {
        let days = local_ms.div_euclid(DAY_MS);
        let in_day = local_ms.rem_euclid(DAY_MS) / 1_000;
        // Howard Hinnant's days_to_civil: https://howardhinnant.github.io/date_algorithms.html
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u32,
            day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u32,
            hour: (in_day / 3_600) as u32,
            minute: (in_day / 60 % 60) as u32,
            second: (in_day % 60) as u32,
        }
    }

    /// Milliseconds since 1970 as if this were UTC.
    pub fn as_utc_ms(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * DAY_MS
            + i64::from(self.hour) * 3_600_000
            + i64::from(self.minute) * 60_000
            + i64::from(self.second) * 1_000
    }

    fn month_name(self) -> &'static str {
        MONTHS
            .get(self.month.wrapping_sub(1) as usize)
            .copied()
            .unwrap_or("?")
    }

    /// `22 Nov 2026`.
    pub fn date(self) -> String {
        format!("{} {} {}", self.day, self.month_name(), self.year)
    }

    /// `22 Nov`.
    pub fn day_month(self) -> String {
        format!("{} {}", self.day, self.month_name())
    }

    /// `14:05`.
    pub fn clock(self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// `22 Nov 2026, 14:05`.
    pub fn date_clock(self) -> String {
        format!("{}, {}", self.date(), self.clock())
    }

    /// `22 Nov, 14:05:09`.
    pub fn to_the_second(self) -> String {
        format!("{}, {}:{:02}", self.day_month(), self.clock(), self.second)
    }

    /// `2026-11-22T14:05`: what an input of type datetime-local takes.
    pub fn for_field(self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute
        )
    }
}

/// Milliseconds since 1970 of an RFC 3339 time; fractions of a second are dropped below the millisecond.
pub fn parse(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let punctuation = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let bytes = text.as_bytes();
    if !punctuation.iter().all(|(at, sign)| bytes.get(*at) == Some(sign)) {
        return None;
    }
    let civil = Civil {
        year: number(0..4)?,
        month: u32::try_from(number(5..7)?).ok()?,
        day: u32::try_from(number(8..10)?).ok()?,
        hour: u32::try_from(number(11..13)?).ok()?,
        minute: u32::try_from(number(14..16)?).ok()?,
        second: u32::try_from(number(17..19)?).ok()?,
    };
    let mut rest = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let first = fraction.get(..digits.min(3))?;
        millis = format!("{first:0<3}").parse::<i64>().ok()?;
        rest = fraction.get(digits..)?;
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = rest.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60_000
        }
    };
    Some(civil.as_utc_ms() + millis - offset)
}

/// RFC 3339 in UTC, to the second.
pub fn rfc3339(ms: i64) -> String {
    let civil = Civil::of_local_ms(ms);
    format!("{}:{:02}Z", civil.for_field(), civil.second)
}

/// How long ago: `just now`, `5 min ago`, `3 d ago`.
pub fn ago(then_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - then_ms) / 1_000;
    match seconds {
        ..60 if seconds > -60 => "just now".to_owned(),
        ..0 => format!("in {}", length(-seconds)),
        _ => format!("{} ago", length(seconds)),
    }
}

fn length(seconds: i64) -> String {
    match seconds {
        ..3_600 => format!("{} min", (seconds / 60).max(1)),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        86_400..2_592_000 => format!("{} d", seconds / 86_400),
        2_592_000..31_536_000 => format!("{} months", seconds / 2_592_000),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_is_read_in_all_its_forms() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T10:00:00Z", Some(1_795_341_600_000)),
            ("2026-11-22T10:00:00.25Z", Some(1_795_341_600_250)),
            ("2026-11-22T10:00:00.123456789Z", Some(1_795_341_600_123)),
            ("2026-11-22T12:00:00+02:00", Some(1_795_341_600_000)),
            ("2026-11-22T04:30:00-05:30", Some(1_795_341_600_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("yesterday", None),
            ("2026-11-22", None),
            ("2026-11-22T10:00:00", None),
        ] {
            assert_eq!(parse(text), ms, "{text}");
        }
    }

    #[test]
    fn civil_times_go_both_ways() {
        for ms in [
            0,
            951_782_400_000,
            1_709_164_800_000,
            1_795_341_661_000,
            -86_400_000,
            4_102_444_800_000,
        ] {
            assert_eq!(Civil::of_local_ms(ms).as_utc_ms(), ms);
            assert_eq!(parse(&rfc3339(ms)), Some(ms));
        }
        let civil = Civil::of_local_ms(1_795_341_661_000);
        assert_eq!(civil.date_clock(), "22 Nov 2026, 10:01");
        assert_eq!(civil.for_field(), "2026-11-22T10:01");
    }

    #[test]
    fn ages_are_short() {
        let now = 1_795_341_600_000;
        for (seconds, text) in [
            (5, "just now"),
            (-5, "just now"),
            (61, "1 min ago"),
            (7_300, "2 h ago"),
            (200_000, "2 d ago"),
            (-7_300, "in 2 h"),
        ] {
            assert_eq!(ago(now - seconds * 1_000, now), text);
        }
    }
}
