//! What analytics answer (SPEC 5): `/api/workspaces/{id}/analytics/…`, and `/api/analytics/…` for the token's workspace.
//!
//! Shares are numbers from 0 to 1, latencies milliseconds, times RFC 3339 in UTC. Late settlements add to costs and
//! tokens and are no requests of their own.

use crate::decimal::Cents;
use crate::name::{CostGrouping, Granularity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was counted, which is what was asked for rounded outwards: to whole minutes, to whole hours before the last
/// 31 days and for tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// Inclusive.
    pub start: String,
    /// Exclusive.
    pub end: String,
    /// The workspace's, in which days and hours begin: `Europe/Berlin`.
    pub time_zone: String,
}

/// Token counts. The first three add up to what was sent, the last two to what came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Sent and not read from a cache.
    pub input: i64,
    pub cached: i64,
    pub cache_write: i64,
    pub output: i64,
    pub reasoning: i64,
    /// Of speech, in and out.
    pub audio: i64,
}

/// `GET …/analytics/requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    pub range: Range,
    pub granularity: Granularity,
    /// One for every bucket of the range, empty ones too, the oldest first.
    pub data: Vec<RequestPoint>,
    /// With `compare=previous`: as much time, right before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRequests>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreviousRequests {
    pub range: Range,
    pub data: Vec<RequestPoint>,
}

/// One bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RequestPoint {
    /// When the bucket begins.
    pub timestamp: String,
    pub requests: u64,
    /// Refused by us, or answered with 400 and above.
    pub errors: u64,
    /// Of them, answered with 4xx.
    pub client_errors: u64,
    /// Of them, answered with 5xx.
    pub server_errors: u64,
    pub rate_limited: u64,
    pub budget_exceeded: u64,
    pub cache_hits: u64,
    pub cost_cents: Cents,
    pub tokens: Tokens,
    /// Null: no request got an answer.
    pub avg_latency_ms: Option<f64>,
}

/// `GET …/analytics/summary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub range: Range,
    pub requests: RequestFigures,
    pub cost: CostFigures,
    pub latency: LatencyFigures,
    pub cache: CacheFigures,
    pub rate_limit: RateLimitFigures,
    /// With `compare=previous`: as much time, right before; it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub previous: Option<Box<Self>>,
}

/// The figures of one range.
pub type Figures = Summary;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RequestFigures {
    pub total_requests: u64,
    pub total_errors: u64,
    pub error_rate: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostFigures {
    pub total_cost_cents: Cents,
    pub tokens: Tokens,
}

/// Of requests that got an answer; null where there is none. Percentiles are at most 1 % off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LatencyFigures {
    pub avg_ms: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CacheFigures {
    pub hits: u64,
    pub hit_rate: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RateLimitFigures {
    pub limited: u64,
    pub share: f64,
}

/// `GET …/analytics/top-endpoints`, the busiest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TopEndpoints {
    pub range: Range,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The path with its ids taken out: `/v1/files/{id}`.
    pub endpoint: String,
    pub method: String,
    pub request_count: u64,
    /// Null: no request got an answer.
    pub avg_latency_ms: Option<f64>,
    pub error_rate: f64,
    pub total_cost_cents: Cents,
}

/// `GET …/analytics/costs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostBreakdown {
    pub range: Range,
    pub by: CostGrouping,
    /// Of everything in the range, groups that are not listed included.
    pub total_cost_cents: Cents,
    pub total_requests: u64,
    /// The dearest first. Requests with several tags are in several groups.
    pub groups: Vec<CostGroup>,
    /// With `compare=previous`: as much time, right before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousCosts>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreviousCosts {
    pub range: Range,
    pub total_cost_cents: Cents,
    pub total_requests: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostGroup {
    /// Of an API, key or member; the model; `name=value` of a tag; the endpoint's path. Null: requests without any.
    pub id: Option<String>,
    /// As it is called now, or was when it was deleted; null where nothing is known of it.
    pub name: Option<String>,
    /// By endpoint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    pub request_count: u64,
    pub cost_cents: Cents,
    /// Of the total cost; null where that is not above 0.
    pub share: Option<f64>,
    pub tokens: Tokens,
    /// With `compare=previous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_cost_cents: Option<Cents>,
}

/// `GET …/analytics/latency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub range: Range,
    pub granularity: Granularity,
    pub overall: Percentiles,
    /// One for every bucket of the range, empty ones too, the oldest first.
    pub data: Vec<LatencyPoint>,
    /// APIs with requests in the range, by name.
    pub apis: Vec<ApiLatency>,
    /// With `compare=previous`: as much time, right before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousLatency>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreviousLatency {
    pub range: Range,
    pub overall: Percentiles,
    pub data: Vec<LatencyPoint>,
}

/// At most 1 % off; null where no request got an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Of the provider alone.
    pub upstream_p50: Option<f64>,
    pub upstream_p95: Option<f64>,
    pub upstream_p99: Option<f64>,
    /// Until the first token of a stream.
    pub ttft_p50: Option<f64>,
    pub ttft_p95: Option<f64>,
    pub ttft_p99: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LatencyPoint {
    /// When the bucket begins.
    pub timestamp: String,
    #[serde(flatten)]
    pub percentiles: Percentiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiLatency {
    /// Null: requests that reached no API.
    pub api_id: Option<String>,
    pub name: Option<String>,
    #[serde(flatten)]
    pub percentiles: Percentiles,
}

/// One request, or (`revision` 1) what its late settlement changed: then cost and tokens are differences. In
/// `…/analytics/events` and on `…/analytics/tail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one request, as the event of SPEC 4 names them"
)]
pub struct Event {
    /// The request's id, which the provider got as `x-request-id`.
    pub id: String,
    pub revision: u8,
    /// When the request came in.
    pub timestamp: String,
    pub received_at: String,
    pub api_id: Option<String>,
    pub api_name: Option<String>,
    pub key_id: Option<String>,
    pub key_name: Option<String>,
    pub key_owner_id: Option<String>,
    pub endpoint: String,
    pub method: String,
    pub model: Option<String>,
    /// Null: no answer was given.
    pub status_code: Option<u16>,
    /// Why it was refused or failed: `rate_limited`, `budget_exceeded`, …
    pub error_type: Option<String>,
    pub latency_ms: u32,
    pub upstream_latency_ms: u32,
    /// Until the first token; null where nothing was streamed.
    pub ttft_ms: Option<u32>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub cost_cents: Cents,
    pub tokens: Tokens,
    pub units: i64,
    /// `none`, `reported`, `partial`, `estimated` or `reserved`.
    pub usage_source: String,
    pub price_version: Option<String>,
    pub cache_hit: bool,
    pub rate_limited: bool,
    pub budget_exceeded: bool,
    pub shadow: bool,
    pub degraded: bool,
    pub stream: bool,
    pub client_ip: Option<String>,
    /// The rule that refused; where none did, the first shadow rule that would have
    pub rule_id: Option<String>,
    pub budget_id: Option<String>,
    pub tags: BTreeMap<String, String>,
}
