//! Money: from integer nano-USD to text and back, without a float on the way.

use super::number::grouped;
use rateguard_api::decimal::{Cents, parse_fixed, show_fixed};

const NANOS_PER_USD: u64 = 1_000_000_000;
/// Digits kept of an amount below a dollar, counted from the first that is not zero.
const SMALL_DIGITS: u32 = 3;

/// A dollar and more with cents; less with three digits that say something; never 0 for something.
pub fn dollars(amount: Cents) -> String {
    let nanos = amount.0.0;
    let sign = if nanos < 0 { "−" } else { "" };
    let size = nanos.unsigned_abs();
    if size == 0 {
        return "$0.00".to_owned();
    }
    // Below a dollar: round to the place of the third digit, at most the cent's.
    let place = if size >= NANOS_PER_USD {
        10_000_000
    } else {
        10_u64
            .pow(size.ilog10().saturating_sub(SMALL_DIGITS - 1))
            .min(10_000_000)
    };
    let rounded = (size / place + u64::from(size % place >= place.div_ceil(2))) * place;
    let (whole, fraction) = (rounded / NANOS_PER_USD, rounded % NANOS_PER_USD);
    let digits = format!("{fraction:09}");
    let kept = digits.trim_end_matches('0').len().max(2);
    let fraction = digits.get(..kept).unwrap_or("00");
    format!("{sign}${}.{fraction}", grouped(whole))
}

/// To the last nano-dollar: for tooltips and tables of record.
pub fn exact_dollars(amount: Cents) -> String {
    let text = show_fixed(amount.0.0, 9);
    match text.strip_prefix('-') {
        Some(size) => format!("−${size}"),
        None => format!("${text}"),
    }
}

/// What a person types as dollars (`$1,250.50`) as the decimal cents that the API takes.
pub fn cents_of_dollars(text: &str) -> Option<String> {
    let plain: String = text
        .trim()
        .trim_start_matches('$')
        .chars()
        .filter(|c| *c != ',' && *c != ' ')
        .collect();
    if plain.contains(['e', 'E']) {
        return None;
    }
    let plain = match plain.strip_prefix('.') {
        Some(fraction) => format!("0.{fraction}"),
        None => plain,
    };
    let nanos = parse_fixed(&plain, 9).ok()?;
    Some(show_fixed(nanos, 7))
}

/// For a field that takes dollars.
pub fn dollars_for_field(amount: Cents) -> String {
    show_fixed(amount.0.0, 9)
}

/// Cents per 1 000 tokens as dollars per million, as providers publish prices: times 10, exact.
pub fn per_million(price: Cents) -> Option<String> {
    let nanos_per_million = price.0.0.checked_mul(1_000)?;
    Some(show_fixed(nanos_per_million, 9))
}

/// [`per_million`] for reading: with two decimals where it has fewer, `$2.50`.
pub fn price_per_million(price: Cents) -> Option<String> {
    let text = per_million(price)?;
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let rest = match decimals {
        0 => ".00",
        1 => "0",
        _ => "",
    };
    Some(["$", &text, rest].concat())
}

/// Dollars per million tokens as cents per 1 000, for the API.
pub fn per_thousand(dollars_per_million: &str) -> Option<String> {
    let nanos = parse_fixed(dollars_per_million.trim().trim_start_matches('$'), 9).ok()?;
    (nanos >= 0 && nanos % 1_000 == 0).then(|| show_fixed(nanos / 1_000, 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_model::money::NanoUsd;

    fn nanos(amount: i64) -> Cents {
        Cents(NanoUsd(amount))
    }

    #[test]
    fn prices_have_two_decimals_at_least_and_all_that_they_need() {
        for (cents_per_thousand, text) in [
            ("0.25", "$2.50"),
            ("0.8", "$8.00"),
            ("0.0000001", "$0.000001"),
            ("0.1875", "$1.875"),
        ] {
            let price = Cents(NanoUsd(parse_fixed(cents_per_thousand, 7).unwrap()));
            assert_eq!(price_per_million(price).as_deref(), Some(text));
        }
    }

    #[test]
    fn amounts_have_sensible_digits() {
        for (amount, text) in [
            (0, "$0.00"),
            (1, "$0.000000001"),
            (15_000, "$0.000015"),
            (1_234_567, "$0.00123"),
            (12_345_678, "$0.0123"),
            (500_000_000, "$0.50"),
            (999_999_999, "$1.00"),
            (1_000_000_000, "$1.00"),
            (12_345_678_901, "$12.35"),
            (1_234_567_890_000_000, "$1,234,567.89"),
            (-2_500_000_000, "−$2.50"),
            (i64::MAX, "$9,223,372,036.85"),
        ] {
            assert_eq!(dollars(nanos(amount)), text, "{amount}");
        }
        assert_eq!(exact_dollars(nanos(12_345_678_901)), "$12.345678901");
        assert_eq!(exact_dollars(nanos(-1)), "−$0.000000001");
    }

    #[test]
    fn typed_dollars_become_exact_cents() {
        for (text, cents) in [
            ("5", Some("500")),
            ("$1,250.50", Some("125050")),
            (" .10 ", Some("10")),
            ("0.000000001", Some("0.0000001")),
            ("0.0000000001", None),
            ("1e3", None),
            ("", None),
            ("ten", None),
            ("-3", Some("-300")),
        ] {
            assert_eq!(cents_of_dollars(text).as_deref(), cents, "{text}");
        }
        assert_eq!(dollars_for_field(nanos(1_250_500_000_000)), "1250.5");
    }

    #[test]
    fn prices_per_million_are_exact_both_ways() {
        // 0.15 USD per million = 0.015 cents per thousand = 150 000 nano-USD.
        assert_eq!(per_million(nanos(150_000)).as_deref(), Some("0.15"));
        assert_eq!(per_thousand("0.15").as_deref(), Some("0.015"));
        assert_eq!(per_thousand("$2.50").as_deref(), Some("0.25"));
        assert_eq!(per_thousand("-1"), None);
        assert_eq!(
            per_thousand("0.0000001"),
            None,
            "less than a nano-dollar per thousand"
        );
    }
}
