//! Money: integer nano-USD. 1 cent = 10 000 000.

use std::fmt;
use std::str::FromStr;

/// Nano-USD per cent.
pub const NANOS_PER_CENT: i64 = 10_000_000;

/// Decimal places of a cent that a nano-USD has.
const CENT_PLACES: i64 = 7;

/// Decimal digits of the largest `i64`.
const DIGITS_MAX: i64 = 19;

/// The largest amount a ledger counts: Redis' Lua numbers are doubles, exact below 2^53 (about 9 million USD).
pub const NANO_USD_MAX: i64 = (1 << 53) - 1;

/// An amount of money in nano-USD. Never a float, never rounded to a cent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub i64);

/// Text that is not a decimal number of cents with at most 7 places, or is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    #[error("not a decimal number")]
    NotANumber,
    #[error("more than 7 decimal places")]
    TooPrecise,
    #[error("out of range")]
    OutOfRange,
}

impl NanoUsd {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a decimal number of cents: `12`, `0.0015`, `-3.5`, also `1.5e2` as JSON numbers are spelled.
    ///
    /// The whole range of `i64` is accepted; what a ledger can count ends at [`NANO_USD_MAX`].
    pub fn from_cents(text: &str) -> Result<Self, InvalidMoney> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, digits(fraction)?),
            None => (mantissa, ""),
        };
        let magnitude = scale(digits(whole)?, fraction, exponent)?;
        let nanos = if negative { -magnitude } else { magnitude };
        i64::try_from(nanos)
            .map(Self)
            .map_err(|_| InvalidMoney::OutOfRange)
    }

    /// Shows cents as the shortest exact decimal: `0.0015`, `12`, `-3.5`.
    pub fn cents(self) -> Cents {
        Cents(self)
    }
}

/// At least one digit and nothing else.
fn digits(text: &str) -> Result<&str, InvalidMoney> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(InvalidMoney::NotANumber)
    }
}

/// An exponent of any length; far beyond what matters it saturates.
fn parse_exponent(text: &str) -> Result<i64, InvalidMoney> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = digits(text)?.bytes().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Ok(if negative { -magnitude } else { magnitude })
}

/// `whole.fraction × 10^exponent` cents in nano-USD.
fn scale(whole: &str, fraction: &str, exponent: i64) -> Result<i128, InvalidMoney> {
    // The number is its significant digits, without zeros at either end, times a power of ten.
    let fraction = fraction.trim_end_matches('0');
    let (whole, dropped) = if fraction.is_empty() {
        let kept = whole.trim_end_matches('0');
        (kept, whole.len() - kept.len())
    } else {
        (whole, 0)
    };
    let power = exponent
        .saturating_add(dropped as i64)
        .saturating_sub(fraction.len() as i64)
        .saturating_add(CENT_PLACES);
    let significant = || {
        whole
            .bytes()
            .chain(fraction.bytes())
            .skip_while(|digit| *digit == b'0')
    };
    let length = significant().count() as i64;
    if length == 0 {
        return Ok(0);
    }
    if power < 0 {
        return Err(InvalidMoney::TooPrecise);
    }
    if length.saturating_add(power) > DIGITS_MAX {
        return Err(InvalidMoney::OutOfRange);
    }
    let value = significant().fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    Ok((0..power).fold(value, |value, _| value * 10))
}

/// Shows an amount in cents, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cents(NanoUsd);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.0;
        let sign = if nanos < 0 { "-" } else { "" };
        let per_cent = NANOS_PER_CENT.unsigned_abs();
        let (whole, fraction) = (nanos.unsigned_abs() / per_cent, nanos.unsigned_abs() % per_cent);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{fraction:07}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl FromStr for Cents {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        NanoUsd::from_cents(text).map(Cents)
    }
}

impl From<Cents> for NanoUsd {
    fn from(cents: Cents) -> Self {
        cents.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_cents() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0e999999999999999999999", 0),
            ("12", 120_000_000),
            ("0.0015", 15_000),
            ("0.0000001", 1),
            ("0.00000010", 1),
            ("-3.5", -35_000_000),
            ("1.5e2", 1_500_000_000),
            ("1.5E+2", 1_500_000_000),
            ("15e-1", 15_000_000),
            ("100e-9", 1),
            ("0.0000000001e3", 1),
            ("007", 70_000_000),
            ("922337203685.4775807", i64::MAX),
            ("-922337203685.4775808", i64::MIN),
        ] {
            assert_eq!(NanoUsd::from_cents(text), Ok(NanoUsd(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        use InvalidMoney::{NotANumber, OutOfRange, TooPrecise};
        for (text, error) in [
            ("", NotANumber),
            ("-", NotANumber),
            ("+1", NotANumber),
            (".5", NotANumber),
            ("5.", NotANumber),
            ("1.2.3", NotANumber),
            ("1e", NotANumber),
            ("1e1e1", NotANumber),
            (" 1", NotANumber),
            ("NaN", NotANumber),
            ("1,5", NotANumber),
            ("٣", NotANumber),
            ("0.00000001", TooPrecise),
            ("1e-8", TooPrecise),
            ("1e-99999999999999999999", TooPrecise),
            ("922337203685.4775808", OutOfRange),
            ("1e99999999999999999999", OutOfRange),
            ("99999999999999999999999999999999999999999999", OutOfRange),
        ] {
            assert_eq!(NanoUsd::from_cents(text), Err(error), "{text}");
        }
    }

    #[test]
    fn shows_the_shortest_exact_decimal() {
        for (nanos, text) in [
            (0, "0"),
            (15_000, "0.0015"),
            (120_000_000, "12"),
            (-35_000_000, "-3.5"),
            (-1, "-0.0000001"),
            (i64::MIN, "-922337203685.4775808"),
        ] {
            assert_eq!(NanoUsd(nanos).cents().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos: i64) {
            let shown = NanoUsd(nanos).cents().to_string();
            prop_assert_eq!(NanoUsd::from_cents(&shown), Ok(NanoUsd(nanos)));
        }

        #[test]
        fn the_exponent_moves_the_point(units in -1_000_000_i64..1_000_000, exponent in -7_i64..=5) {
            let expected = units * 10_i64.pow(u32::try_from(exponent + 7).unwrap());
            prop_assert_eq!(NanoUsd::from_cents(&format!("{units}e{exponent}")), Ok(NanoUsd(expected)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.eE]{0,40}|\\PC{0,40}") {
            let _ = NanoUsd::from_cents(&text);
        }
    }
}
