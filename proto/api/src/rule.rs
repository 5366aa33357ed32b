//! Rate-limit rules (SPEC 1.3).

use crate::clearable;
use crate::decimal::{Amount, Milli};
use crate::name::{Algorithm, FailureMode, Mode, ScopeType, Unit};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub id: String,
    /// Grows with every edit; an edited rule starts with empty buckets.
    pub version: u32,
    pub name: String,
    /// Null: every API.
    pub api_id: Option<String>,
    /// Null: every path.
    pub endpoint: Option<String>,
    /// Empty: every method.
    pub methods: Vec<String>,
    pub scopes: Vec<Scope>,
    pub algorithm: Algorithm,
    pub unit: Unit,
    /// TOKEN_BUCKET. Whole units; for COST cents, as `refillRate` and `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_size: Option<Amount>,
    /// TOKEN_BUCKET: per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refill_rate: Option<Milli>,
    /// SLIDING_WINDOW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Amount>,
    /// SLIDING_WINDOW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    pub priority: i32,
    pub enabled: bool,
    pub mode: Mode,
    pub failure_mode: FailureMode,
    pub shared_across_apis: bool,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    #[serde(rename = "type")]
    pub kind: ScopeType,
    /// PER_HEADER, PER_TAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// PER_IP: the n-th address from the right of `x-forwarded-for`; absent or 0: the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_hops: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
        "name": "60 a minute and key",
        "endpoint": "/v1/chat/*",
        "methods": ["POST"],
        "scopes": [{"type": "PER_KEY"}],
        "algorithm": "SLIDING_WINDOW",
        "limit": 60,
        "windowMs": 60_000
    })))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateRule {
    pub name: String,
    #[serde(default)]
    pub api_id: Option<String>,
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub methods: Vec<String>,
    pub scopes: Vec<Scope>,
    pub algorithm: Algorithm,
    /// Default `REQUESTS`.
    #[serde(default)]
    pub unit: Option<Unit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_size: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_rate: Option<Milli>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub enabled: Option<bool>,
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Absent: the workspace's.
    #[serde(default)]
    pub failure_mode: Option<FailureMode>,
    #[serde(default)]
    pub shared_across_apis: bool,
}

/// Absent fields stay as they are; null clears `apiId` and `endpoint`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"limit": 120, "priority": 10})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub api_id: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub endpoint: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_size: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill_rate: Option<Milli>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<FailureMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_across_apis: Option<bool>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetRule {
    /// Whose buckets: the partition as a refusal reports it; absent: everybody's.
    #[serde(default)]
    pub subject: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuleReset {
    pub buckets_removed: u32,
}

/// A request that was not made: `POST …/rules/test`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"path": "/proxy/openai/chat/completions", "method": "POST"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestRules {
    /// As an application sends it to the gateway, `/proxy/{apiSlug}/…`. Either this or `apiId` with `endpoint`.
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub api_id: Option<String>,
    /// The path that is sent upstream, base path included: what `endpoint` of rules is matched on.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Default `POST`.
    #[serde(default)]
    pub method: Option<String>,
    /// Tells whose buckets PER_KEY rules count in.
    #[serde(default)]
    pub key_id: Option<String>,
    /// The client's address: tells whose buckets PER_IP rules count in.
    #[serde(default)]
    pub ip: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestedRules {
    pub api_id: Option<String>,
    /// The path that rules were matched on; null: no API has that path.
    pub endpoint: Option<String>,
    /// Every rule, the one that would be reported first on top.
    pub rules: Vec<TestedRule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestedRule {
    pub id: String,
    pub name: String,
    pub priority: i32,
    pub mode: Mode,
    /// Whether the request meets the rule.
    pub matches: bool,
    /// Why, in words.
    pub reason: String,
    /// The bucket that it would count in, as refusals and resets name it; null: none, or `keyId` or `ip` is missing.
    pub partition: Option<String>,
}
