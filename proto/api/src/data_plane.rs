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
    /// The operator's: it serves every workspace, and no workspace can revoke it.
    pub all_workspaces: bool,
    /// The data planes that poll with it, as they said last. Not heard for 7 days: no longer listed.
    pub nodes: Vec<DataPlaneNode>,
}

/// A filter or a limit service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneNode {
    pub node_id: String,
    /// `filter` or `limits`.
    pub role: String,
    pub software_version: String,
    /// Of the configuration, as acknowledged; empty before its first answer.
    pub version: String,
    pub last_seen_at: String,
    /// Configurations that it refused, ever.
    pub rejection_count: u64,
    /// Why it refused the last one; only shown for a workspace's own tokens.
    pub rejection_reason: Option<String>,
    pub rejected_at: Option<String>,
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
