//! Tokens of data planes (SPEC 3.3). The token itself is in one answer only: that of its creation.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneToken {
    pub id: String,
    pub name: String,
    pub created_at: String,
    pub revoked_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "gateway, Frankfurt"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateDataPlaneToken {
    pub name: String,
}

/// 201 of a creation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneTokenWithSecret {
    #[serde(flatten)]
    pub record: DataPlaneToken,
    /// `rgdp_…`; never shown again.
    pub token: String,
}
