//! The resources a data plane runs on: what the configuration feed carries (SPEC 3.3).

use crate::cost::CostModel;
use crate::digest::Digest;
use crate::id::{ApiId, KeyId, UserId, WorkspaceId};
use crate::name::names;
use crate::quota::FailureMode;
use crate::usage::UsageFormat;
use chrono_tz::Tz;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub slug: String,
    pub time_zone: Tz,
    pub unpriced_model_policy: UnpricedModelPolicy,
    pub failure_mode: FailureMode,
}

/// What happens to a request whose model has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnpricedModelPolicy {
    #[default]
    Block,
    /// Let through, recorded as unpriced.
    Allow,
}

names!(UnpricedModelPolicy {
    Block: "block",
    Allow: "allow"
});

#[derive(Clone, PartialEq, Eq)]
pub struct Api {
    pub id: ApiId,
    pub workspace_id: WorkspaceId,
    pub slug: String,
    /// Lower case.
    pub hosts: Vec<String>,
    /// `http` or `https`.
    pub scheme: String,
    /// `host[:port]` as it goes upstream.
    pub authority: String,
    /// Path of the base URL, no trailing slash; empty for none.
    pub base_path: String,
    /// Envoy cluster in gateway mode.
    pub cluster: String,
    pub auth: UpstreamAuth,
    pub usage_format: UsageFormat,
    pub cost_model: Option<CostModel>,
    pub timeout_ms: u32,
    pub forward_cookies: bool,
    pub stream_cost_comment: bool,
    pub is_active: bool,
    pub price_version: String,
}

/// The upstream credential. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum UpstreamAuth {
    None,
    Bearer {
        token: String,
    },
    ApiKeyHeader {
        header_name: String,
        value: String,
    },
    /// `user:password`, not yet base64.
    Basic {
        user_password: String,
    },
}

impl std::fmt::Debug for UpstreamAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer { .. } => "Bearer(…)",
            Self::ApiKeyHeader { .. } => "ApiKeyHeader(…)",
            Self::Basic { .. } => "Basic(…)",
        })
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({} {})", self.id, self.slug)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Suspended,
    Revoked,
}

names!(KeyState {
    Active: "active",
    Suspended: "suspended",
    Revoked: "revoked",
});

/// One secret of a key; two while a rotation's overlap lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    pub digest: Digest,
    pub not_after_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    pub workspace_id: WorkspaceId,
    pub state: KeyState,
    pub secrets: Vec<KeySecret>,
    pub expires_at_ms: Option<i64>,
    /// Empty: every API of the workspace.
    pub allowed_api_ids: Vec<ApiId>,
    /// Globs; empty: every model.
    pub allowed_models: Vec<String>,
    /// Sorted by name.
    pub tags: Vec<(String, String)>,
    pub owner_id: Option<UserId>,
}
