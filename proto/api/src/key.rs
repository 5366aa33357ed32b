//! API keys (SPEC 1.1). The key itself is in one answer only: that of its creation or rotation.

use crate::clearable;
use crate::name::{Environment, KeyStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub id: String,
    pub name: String,
    pub environment: Environment,
    /// First 12 characters.
    pub prefix: String,
    pub status: KeyStatus,
    pub is_active: bool,
    pub revoked_at: Option<String>,
    pub expires_at: Option<String>,
    /// Empty: every API of the workspace.
    pub allowed_api_ids: Vec<String>,
    /// Globs; empty: every model.
    pub allowed_models: Vec<String>,
    pub tags: BTreeMap<String, String>,
    pub owner_id: Option<String>,
    pub last_used_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// 201 of a creation, 200 of a rotation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeyWithSecret {
    #[serde(flatten)]
    pub record: Key,
    /// The whole key; never shown again.
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "checkout", "environment": "live", "allowedModels": ["gpt-4o*"], "tags": {"team": "shop"}})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKey {
    pub name: String,
    /// Default `live`.
    #[serde(default)]
    pub environment: Option<Environment>,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(default)]
    pub allowed_api_ids: Vec<String>,
    #[serde(default)]
    pub allowed_models: Vec<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Absent fields stay as they are; `expiresAt: null` removes the expiry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "checkout, suspended", "isActive": false})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// False suspends; true undoes that. Revoking is final and has a route of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub expires_at: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_api_ids: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_models: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"overlapSeconds": 3600})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old secret stays valid: 0 s (the default) to 30 days.
    #[serde(default)]
    pub overlap_seconds: u32,
}
