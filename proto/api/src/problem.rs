//! Problem details (RFC 9457), `application/problem+json`.

use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:rateguard:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// For programs: `malformed`, `invalid`, `not_supported`, `unauthenticated`, …
    pub code: String,
    /// The fields at fault, if it was the body's.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// As in the body: `costModel.models[0].model`.
    pub field: String,
    pub message: String,
}
