//! The event of one governed request (SPEC 4). Made by the filter, one per request, refused ones too.

use crate::id::{ApiId, KeyId, QuotaId, RequestId, UserId, WorkspaceId};
use crate::money::NanoUsd;
use crate::usage::{TokenUsage, UsageSource};

#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one request, as the event of SPEC 4 names them"
)]
pub struct RequestEvent {
    pub event_id: RequestId,
    pub timestamp_ms: i64,
    pub workspace_id: Option<WorkspaceId>,
    pub api_key_id: Option<KeyId>,
    pub api_id: Option<ApiId>,
    /// Upstream path with ids replaced, no query.
    pub endpoint: String,
    pub method: String,
    pub status_code: u16,
    pub latency_ms: u32,
    pub upstream_latency_ms: u32,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub cost: NanoUsd,
    pub model: String,
    pub tokens: TokenUsage,
    pub units: i64,
    pub usage_source: Option<UsageSource>,
    pub price_version: String,
    pub cache_hit: bool,
    pub rate_limited: bool,
    pub budget_exceeded: bool,
    pub shadow: bool,
    pub degraded: bool,
    pub stream: bool,
    pub ttft_ms: u32,
    pub client_ip: Option<String>,
    pub error_type: String,
    /// The rule that refused; where none did, the first shadow rule that would have.
    pub rule_id: Option<QuotaId>,
    pub budget_id: Option<QuotaId>,
    pub key_owner_id: Option<UserId>,
    pub tags: Vec<(String, String)>,
    pub revision: u32,
}
