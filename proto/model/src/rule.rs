//! Rate-limit rules (SPEC 1.3).

use crate::endpoint::EndpointPattern;
use crate::id::{ApiId, QuotaId, WorkspaceId};
use crate::quota::{FailureMode, Meter, Mode, Unit};

/// Whom a bucket belongs to. Several combine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Global,
    PerWorkspace,
    PerKey,
    /// 0 trusted hops: the peer's address; n: the n-th from the right of `x-forwarded-for`. IPv6 by /64.
    PerIp {
        trusted_hops: u32,
    },
    PerHeader {
        name: String,
    },
    PerModel,
    PerTag {
        name: String,
    },
}

/// A rule in force. Disabled rules never leave the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: QuotaId,
    pub workspace_id: WorkspaceId,
    pub version: u32,
    pub name: String,
    /// `None`: every API of the workspace.
    pub api_id: Option<ApiId>,
    /// `None`: every path.
    pub endpoint: Option<EndpointPattern>,
    /// Upper case; empty: every method.
    pub methods: Vec<String>,
    pub scopes: Vec<Scope>,
    pub unit: Unit,
    pub limit: i64,
    pub meter: Meter,
    /// Larger first, then the older rule.
    pub priority: i32,
    pub created_at_ms: i64,
    pub mode: Mode,
    pub failure_mode: FailureMode,
    /// One bucket over the APIs it matches, instead of one per API.
    pub shared_across_apis: bool,
}
