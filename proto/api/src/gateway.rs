//! Where applications call.

use serde::{Deserialize, Serialize};

/// `GET /api/gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gateway {
    /// Stands in front of `/proxy/{slug}/…`; without a slash at its end.
    pub url: String,
}
