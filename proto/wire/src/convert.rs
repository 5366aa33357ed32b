//! Conversions between messages and the model. What comes in is checked: a value of the model is always valid.
//!
//! Both directions destructure, so that a new field does not compile until it is handled here.

mod budget;
mod cost;
mod event;
mod names;
mod quota;
mod resource;
mod rule;
#[cfg(test)]
mod tests;

pub use budget::named as subject_named;
pub use names::Unspecified;
use rateguard_model::quota::AMOUNT_MAX;
use std::collections::BTreeMap;

/// A message that is no valid value of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct Invalid {
    /// `Message.field`.
    pub field: &'static str,
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is missing")]
    Missing,
    #[error("is not 16 bytes")]
    Id,
    #[error("is not 32 bytes")]
    Digest,
    #[error("is an unknown value")]
    Enum,
    #[error("is out of range")]
    Range,
    #[error("is malformed")]
    Form,
    #[error("does not go with the algorithm")]
    Algorithm,
}

impl Fault {
    const fn at(self, field: &'static str) -> Invalid {
        Invalid { field, fault: self }
    }
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or(Fault::Missing.at(field))
}

fn id<T: for<'a> TryFrom<&'a [u8]>>(field: &'static str, bytes: &[u8]) -> Result<T, Invalid> {
    T::try_from(bytes).map_err(|_| Fault::Id.at(field))
}

/// Empty: none.
fn optional_id<T: for<'a> TryFrom<&'a [u8]>>(
    field: &'static str,
    bytes: &[u8],
) -> Result<Option<T>, Invalid> {
    if bytes.is_empty() {
        return Ok(None);
    }
    id(field, bytes).map(Some)
}

/// An amount that every store counts exactly.
fn amount(field: &'static str, value: i64) -> Result<i64, Invalid> {
    within(field, value, 0, AMOUNT_MAX)
}

fn within(field: &'static str, value: i64, min: i64, max: i64) -> Result<i64, Invalid> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Fault::Range.at(field))
    }
}

fn check(field: &'static str, holds: bool) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Fault::Form.at(field)) }
}

/// Unix milliseconds, 0: none.
fn optional_time(field: &'static str, at_ms: i64) -> Result<Option<i64>, Invalid> {
    match at_ms {
        ..0 => Err(Fault::Range.at(field)),
        0 => Ok(None),
        at_ms => Ok(Some(at_ms)),
    }
}

/// A time at or before the epoch must not turn into "none".
fn time_or_zero(at_ms: Option<i64>) -> i64 {
    at_ms.map_or(0, |at_ms| at_ms.max(1))
}

fn all<W, M: TryFrom<W, Error = Invalid>>(messages: Vec<W>) -> Result<Vec<M>, Invalid> {
    messages.into_iter().map(M::try_from).collect()
}

fn into_all<M, W: From<M>>(values: Vec<M>) -> Vec<W> {
    values.into_iter().map(W::from).collect()
}

/// Sorted by name, as the model has them.
fn pairs(tags: BTreeMap<String, String>) -> Vec<(String, String)> {
    tags.into_iter().collect()
}
