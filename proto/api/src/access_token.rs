//! Personal access tokens: for programs that act as their creator in one workspace. The token itself is in one answer
//! only: that of its creation.

use crate::name::Role;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessToken {
    pub id: String,
    pub name: String,
    /// User id of its creator; it never may more than they.
    pub user_id: String,
    pub role: Role,
    pub created_at: String,
    pub expires_at: String,
    /// To the minute.
    pub last_used_at: Option<String>,
    pub revoked_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "deploy"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAccessToken {
    pub name: String,
    /// Not above the creator's; absent: the creator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// RFC 3339, at most 366 days ahead; absent: in 90 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// 201 of a creation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccessTokenWithSecret {
    #[serde(flatten)]
    pub record: AccessToken,
    /// `rgpat_…`; never shown again.
    pub token: String,
}
