//! Decimal numbers that stay exact: read from the text of a JSON number (or string), written as a JSON number.

use rateguard_model::money::NanoUsd;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Money: a decimal number of cents with at most 7 places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub NanoUsd);

/// A rule's amount, a decimal number with at most 7 places counted in ten-millionths: whole units, or cents where
/// the unit is money, and then the count is nano-USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub i64);

/// A decimal number with at most 3 places, counted in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milli(pub i64);

/// A percentage with 2 places, counted in hundredths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Centi(pub i64);

/// Why text is not such a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidDecimal {
    NotANumber,
    /// More places than allowed.
    TooPrecise,
    OutOfRange,
}

impl InvalidDecimal {
    fn text(self, places: u32) -> String {
        match self {
            Self::NotANumber => "not a decimal number".to_owned(),
            Self::TooPrecise => format!("more than {places} decimal places"),
            Self::OutOfRange => "out of range".to_owned(),
        }
    }
}

/// Reads `-12.5`, `0.0015` or `1.5e2` (JSON's spelling of numbers) as an integer of `10^-places`.
pub fn parse_fixed(text: &str, places: u32) -> Result<i64, InvalidDecimal> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(InvalidDecimal::NotANumber),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits().all(|b| b.is_ascii_digit()) {
        return Err(InvalidDecimal::NotANumber);
    }
    if digits().all(|b| b == b'0') {
        return Ok(0);
    }
    let digits: Vec<u8> = digits().map(|b| b - b'0').collect();
    let zeros = digits.iter().rev().take_while(|&&d| d == 0).count();
    let significant = digits.len() - zeros;
    // value = digits × 10^(exponent − fraction.len() + places), trailing zeros taken out first.
    let fraction_len = i64::try_from(fraction.len()).map_err(|_| InvalidDecimal::OutOfRange)?;
    let zeros = i64::try_from(zeros).map_err(|_| InvalidDecimal::OutOfRange)?;
    let shift = exponent - fraction_len + i64::from(places) + zeros;
    if shift < 0 {
        return Err(InvalidDecimal::TooPrecise);
    }
    let scale = u32::try_from(shift)
        .ok()
        .and_then(|s| 10_i64.checked_pow(s))
        .ok_or(InvalidDecimal::OutOfRange)?;
    let sum = digits
        .iter()
        .take(significant)
        .try_fold(0_i64, |sum, &d| sum.checked_mul(10)?.checked_add(i64::from(d)))
        .and_then(|sum| sum.checked_mul(scale))
        .ok_or(InvalidDecimal::OutOfRange)?;
    Ok(if negative { -sum } else { sum })
}

/// Exponents beyond this say "out of range" or "too precise" as any such number does.
const EXPONENT_MAX: i64 = 10_000;

fn parse_exponent(text: &str) -> Result<i64, InvalidDecimal> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidDecimal::NotANumber);
    }
    let size = digits
        .iter()
        .fold(0_i64, |n, d| (n * 10 + i64::from(d - b'0')).min(EXPONENT_MAX));
    Ok(if negative { -size } else { size })
}

/// Shows an integer of `10^-places` as the shortest exact decimal.
pub fn show_fixed(value: i64, places: u32) -> String {
    let scale = 10_u64.pow(places);
    let size = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (size / scale, size % scale);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:0width$}", width = places as usize);
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D, places: u32) -> Result<i64, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let text = raw.get();
    let text = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    parse_fixed(text, places).map_err(|error| D::Error::custom(error.text(places)))
}

fn write<S: Serializer>(serializer: S, value: i64, places: u32) -> Result<S::Ok, S::Error> {
    let raw = RawValue::from_string(show_fixed(value, places)).map_err(S::Error::custom)?;
    raw.serialize(serializer)
}

const CENTS_PLACES: u32 = 7;

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, CENTS_PLACES).map(|nanos| Self(NanoUsd(nanos)))
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, self.0.0, CENTS_PLACES)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, CENTS_PLACES).map(Self)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, self.0, CENTS_PLACES)
    }
}

impl<'de> Deserialize<'de> for Milli {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, 3).map(Self)
    }
}

impl Serialize for Milli {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, self.0, 3)
    }
}

impl<'de> Deserialize<'de> for Centi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, 2).map(Self)
    }
}

impl Serialize for Centi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(serializer, self.0, 2)
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use super::{Amount, Centi, Cents, Milli};
    use utoipa::openapi::schema::{Schema, Type};
    use utoipa::openapi::{ObjectBuilder, RefOr};

    macro_rules! numbers {
        ($($type:ident: $description:literal, $example:literal;)*) => {$(
            impl utoipa::PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::Number)
                        .description(Some($description))
                        .examples([$example])
                        .into()
                }
            }

            impl utoipa::ToSchema for $type {}
        )*};
    }

    numbers! {
        Cents: "Cents, exact to 7 places; a string is read too.", 12.5;
        Amount: "An amount in the rule's unit, cents where that is COST; exact to 7 places.", 60;
        Milli: "Exact to 3 places.", 1.5;
        Centi: "Per cent, exact to 2 places.", 62.5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_read_exactly_from_numbers_and_strings() {
        for (json, nanos) in [
            ("0", 0),
            ("12", 120_000_000),
            ("0.0015", 15_000),
            ("0.0000001", 1),
            ("-3.5", -35_000_000),
            ("1.5e2", 1_500_000_000),
            ("1E-7", 1),
            ("1.50000000000", 15_000_000),
            ("\"0.1\"", 1_000_000),
            ("900719925.4740991", 9_007_199_254_740_991),
        ] {
            assert_eq!(serde_json::from_str::<Cents>(json).unwrap().0.0, nanos, "{json}");
        }
    }

    #[test]
    fn bad_cents_say_what_is_wrong() {
        for (json, message) in [
            ("0.00000001", "more than 7 decimal places"),
            ("1e-30", "more than 7 decimal places"),
            ("1e-99999999999999999999", "more than 7 decimal places"),
            ("1e30", "out of range"),
            ("1e99999999999999999999", "out of range"),
            ("922337203685.4775808", "out of range"),
            ("null", "not a decimal number"),
            ("true", "not a decimal number"),
            ("[]", "not a decimal number"),
            ("\"\"", "not a decimal number"),
            ("\"1.\"", "not a decimal number"),
            ("\"NaN\"", "not a decimal number"),
            ("\"+1\"", "not a decimal number"),
            ("\"1e\"", "not a decimal number"),
        ] {
            let error = serde_json::from_str::<Cents>(json).unwrap_err().to_string();
            assert!(error.starts_with(message), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for nanos in [0, 1, -1, 10_000_000, 15_000, 123_456_789, i64::MAX, i64::MIN + 1] {
            let json = serde_json::to_string(&Cents(NanoUsd(nanos))).unwrap();
            assert_eq!(serde_json::from_str::<Cents>(&json).unwrap().0.0, nanos, "{json}");
        }
        assert_eq!(serde_json::to_string(&Cents(NanoUsd(15_000))).unwrap(), "0.0015");
        assert_eq!(serde_json::to_string(&Milli(1_500)).unwrap(), "1.5");
        assert_eq!(serde_json::to_string(&Centi(8_000)).unwrap(), "80");
    }
}
