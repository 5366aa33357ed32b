//! The range of time that is looked at, as the URL spells it.

use crate::show::time::rfc3339;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    Hour,
    /// Since midnight in the workspace's zone.
    Today,
    #[default]
    Day,
    Week,
    Month,
}

/// Width of one point of a chart, as the API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    Minute,
    Hour,
    Day,
}

impl Granularity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub fn ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

impl Range {
    pub const ALL: [Self; 5] = [Self::Hour, Self::Today, Self::Day, Self::Week, Self::Month];

    /// In the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Today => "today",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Hour => "1 hour",
            Self::Today => "Today",
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.name() == name)
    }

    /// Of a URL's query, else the default.
    pub fn of_query(query: &str) -> Self {
        query
            .trim_start_matches('?')
            .split('&')
            .find_map(|pair| pair.strip_prefix("range="))
            .and_then(Self::of_name)
            .unwrap_or_default()
    }

    pub fn granularity(self) -> Granularity {
        match self {
            Self::Hour => Granularity::Minute,
            Self::Today | Self::Day | Self::Week => Granularity::Hour,
            Self::Month => Granularity::Day,
        }
    }

    /// Start and end in milliseconds since 1970; `midnight_ms` is when the day began.
    pub fn bounds(self, now_ms: i64, midnight_ms: i64) -> (i64, i64) {
        let start = match self {
            Self::Hour => now_ms - 3_600_000,
            Self::Today => midnight_ms.min(now_ms),
            Self::Day => now_ms - 86_400_000,
            Self::Week => now_ms - 7 * 86_400_000,
            Self::Month => now_ms - 30 * 86_400_000,
        };
        (start, now_ms)
    }

    /// [`Self::bounds`] as the API takes them.
    pub fn query(self, now_ms: i64, midnight_ms: i64) -> (String, String) {
        let (start, end) = self.bounds(now_ms, midnight_ms);
        (rfc3339(start), rfc3339(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_the_range() {
        assert_eq!(Range::of_query("?range=7d"), Range::Week);
        assert_eq!(Range::of_query("?a=b&range=today"), Range::Today);
        assert_eq!(Range::of_query("?range=forever"), Range::Day);
        assert_eq!(Range::of_query(""), Range::Day);
        for range in Range::ALL {
            assert_eq!(Range::of_name(range.name()), Some(range));
        }
    }

    #[test]
    fn today_begins_at_midnight() {
        assert_eq!(Range::Today.bounds(5_000, 2_000), (2_000, 5_000));
        assert_eq!(
            Range::Hour.query(1_795_341_600_000, 0),
            (
                "2026-11-22T09:00:00Z".to_owned(),
                "2026-11-22T10:00:00Z".to_owned()
            )
        );
    }
}
