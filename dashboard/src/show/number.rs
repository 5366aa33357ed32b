//! Numbers.

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `950`, `12.3k`, `4.56M`: for axes and cards.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, suffix) = match size {
        s if s >= 1e9 => (value / 1e9, "B"),
        s if s >= 1e6 => (value / 1e6, "M"),
        s if s >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        s if s >= 100.0 || (s.fract() == 0.0 && suffix.is_empty()) => format!("{scaled:.0}"),
        s if s >= 10.0 => format!("{scaled:.1}"),
        s if s >= 1.0 => format!("{scaled:.2}"),
        s if s >= 0.01 => format!("{scaled:.4}"),
        _ => format!("{scaled:.7}"),
    };
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{suffix}")
}

/// A share of one: `4.2 %`; a little is never shown as nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 {
        return "< 0.1 %".to_owned();
    }
    let text = format!("{percent:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// `12 % more than before`, `8 % less …`, `2.4 times more …`, `as before`; nothing where there was nothing before.
pub fn change(now: f64, before: f64) -> Option<String> {
    if before <= 0.0 {
        return None;
    }
    let more = now / before - 1.0;
    let (much, word) = match more {
        r if r.abs() < 0.000_5 => return Some("as before".to_owned()),
        r if r >= 2.0 => (short((r * 10.0).round() / 10.0), " times more than before"),
        r if r > 0.0 => (percent(r), " more than before"),
        r => (percent(-r), " less than before"),
    };
    Some(much + word)
}

/// `340 ms`, `2.41 s`.
pub fn millis(ms: f64) -> String {
    match ms {
        m if m >= 60_000.0 => format!("{:.1} min", m / 60_000.0),
        m if m >= 1_000.0 => format!("{:.2} s", m / 1_000.0),
        m if m.fract() == 0.0 || !(0.05..10.0).contains(&m) => format!("{m:.0} ms"),
        m => format!("{m:.1} ms"),
    }
}

/// A length of time in its largest whole unit: `90 s`, `5 min`, `1 h`, `30 d`.
pub fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    UNITS
        .iter()
        .find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit))
        .map_or_else(
            || format!("{ms} ms"),
            |(unit, name)| format!("{} {name}", ms / unit),
        )
}

/// `1 key`, `2 keys`.
pub fn count(number: usize, noun: &str) -> String {
    let text = grouped(number as u64);
    if number == 1 {
        format!("{text} {noun}")
    } else {
        format!("{text} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        for (value, text) in [
            (0.0, "0"),
            (950.0, "950"),
            (0.25, "0.25"),
            (0.005, "0.005"),
            (0.000_25, "0.00025"),
            (1_500.0, "1500"),
            (12_340.0, "12.3k"),
            (100_000.0, "100k"),
            (4_560_000.0, "4.56M"),
            (-2e9, "-2B"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn little_is_not_nothing() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "< 0.1 %");
        assert_eq!(percent(0.042), "4.2 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn changes_are_said_in_words() {
        assert_eq!(change(1.0, 0.0), None);
        assert_eq!(change(112.0, 100.0).as_deref(), Some("12 % more than before"));
        assert_eq!(change(92.0, 100.0).as_deref(), Some("8 % less than before"));
        assert_eq!(change(0.0, 5.0).as_deref(), Some("100 % less than before"));
        assert_eq!(change(34.0, 10.0).as_deref(), Some("2.4 times more than before"));
        assert_eq!(change(10.0, 10.0).as_deref(), Some("as before"));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(millis(3.44), "3.4 ms");
        assert_eq!(millis(340.2), "340 ms");
        assert_eq!(millis(2_412.0), "2.41 s");
        assert_eq!(span(60_000), "1 min");
        assert_eq!(span(90_000), "90 s");
        assert_eq!(span(30 * 86_400_000), "30 d");
        assert_eq!(span(250), "250 ms");
        assert_eq!(count(1, "key"), "1 key");
        assert_eq!(count(2, "key"), "2 keys");
    }
}
