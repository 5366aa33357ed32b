//! The JSON bodies of the REST API (SPEC 3), shared by control plane and console.
//!
//! Requests refuse unknown fields. Ids are UUID text, times RFC 3339, money decimal cents that are never a float on the
//! way. Whether a value makes sense is the control plane's business: these types only carry it.

pub mod access_token;
pub mod analytics;
pub mod api;
pub mod audit;
pub mod auth;
pub mod budget;
pub mod data_plane;
pub mod decimal;
pub mod gateway;
pub mod invitation;
pub mod key;
pub mod list;
pub mod member;
pub mod name;
pub mod price;
pub mod problem;
pub mod rule;
pub mod workspace;

use serde::{Deserialize, Deserializer};

/// For fields of a PATCH that can be cleared: absent is `None`, `null` is `Some(None)`.
#[expect(clippy::option_option, reason = "absent and null are two things in a PATCH")]
pub(crate) fn clearable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
