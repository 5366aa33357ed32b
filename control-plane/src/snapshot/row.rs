//! The rows that the feed is made of, as Postgres gives them. JSON columns come as their text, so that decimals stay
//! exact. Every row carries the version at which the feed has to tell it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Workspace {
    pub id: Uuid,
    pub slug: String,
    pub time_zone: String,
    pub unpriced_model_policy: String,
    pub failure_mode: String,
    pub feed_version: i64,
}

#[derive(Clone)]
pub struct Api {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub slug: String,
    pub base_url: String,
    pub hosts: Vec<String>,
    pub auth_type: String,
    pub auth_header_name: Option<String>,
    pub credential: Option<String>,
    pub credential_key_id: Option<String>,
    pub usage_format: String,
    pub cost_model: Option<String>,
    pub price_version: String,
    pub timeout_ms: i32,
    pub forward_cookies: bool,
    pub stream_cost_comment: bool,
    pub is_active: bool,
    pub feed_version: i64,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub is_active: bool,
    pub revoked_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub allowed_api_ids: Vec<Uuid>,
    pub allowed_models: Vec<String>,
    pub tags: String,
    pub owner_id: Option<Uuid>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub feed_version: i64,
    /// SHA-256 of each secret; `secret_not_after` runs beside it.
    pub secret_sha256: Vec<Vec<u8>>,
    pub secret_not_after: Vec<Option<DateTime<Utc>>>,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub version: i32,
    pub name: String,
    pub api_id: Option<Uuid>,
    pub endpoint: Option<String>,
    pub methods: Vec<String>,
    pub scopes: String,
    pub algorithm: String,
    pub unit: String,
    pub limit_amount: i64,
    pub window_ms: Option<i64>,
    pub refill_milli_per_s: Option<i64>,
    pub priority: i32,
    pub enabled: bool,
    pub mode: String,
    pub failure_mode: String,
    pub shared_across_apis: bool,
    pub created_at: DateTime<Utc>,
    pub feed_version: i64,
}

#[derive(Debug, Clone)]
pub struct Budget {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub version: i32,
    pub name: String,
    pub subject_type: String,
    pub subject: String,
    pub limit_nanos: i64,
    pub window_type: String,
    /// The workspace's: a budget changes with it.
    pub time_zone: String,
    pub auto_shutoff: bool,
    pub failure_mode: String,
    /// The later of its own and its workspace's.
    pub feed_version: i64,
}

#[derive(Debug, Clone)]
pub struct DataPlaneToken {
    pub id: Uuid,
    pub workspace_id: Option<Uuid>,
    pub sha256: Vec<u8>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub feed_version: i64,
}

#[derive(Debug, Clone)]
pub struct Removal {
    pub version: i64,
    pub resource_type: String,
    pub resource_id: Uuid,
    pub workspace_id: Option<Uuid>,
}

/// What one consistent reading of the database found.
#[derive(Clone, Default)]
pub struct Rows {
    pub workspaces: Vec<Workspace>,
    pub apis: Vec<Api>,
    pub keys: Vec<Key>,
    pub rules: Vec<Rule>,
    pub budgets: Vec<Budget>,
    pub data_plane_tokens: Vec<DataPlaneToken>,
    pub removals: Vec<Removal>,
}

/// The version row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub epoch: Uuid,
    pub version: i64,
}

/// Rows and the position they were read at.
#[derive(Clone)]
pub struct Reading {
    pub position: Position,
    /// Of everything; otherwise of what changed.
    pub is_full: bool,
    /// Deltas from this version on can be told.
    pub floor: i64,
    pub rows: Rows,
}
