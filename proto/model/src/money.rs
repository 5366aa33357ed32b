//! Money: integer nano-USD. 1 cent = 10 000 000.

use std::fmt;
use std::str::FromStr;

/// Nano-USD per cent.
pub const NANOS_PER_CENT: i64 = 10_000_000;

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

    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a decimal number of cents: `12`, `0.0015`, `-3.5`, also `1.5e2` as JSON numbers are spelled.
    pub fn from_cents(_text: &str) -> Result<Self, InvalidMoney> {
        todo!()
    }

    /// Shows cents as the shortest exact decimal: `0.0015`, `12`, `-3.5`.
    pub fn cents(self) -> Cents {
        Cents(self)
    }
}

/// Shows an amount in cents, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cents(NanoUsd);

impl fmt::Display for Cents {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
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
