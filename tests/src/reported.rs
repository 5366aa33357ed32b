//! Usage events as a data plane reports them, for benchmarks.

use rateguard_model::id::RequestId;
use rateguard_wire::v1::{RequestEvent, TokenUsage, UsageSource};
use std::collections::BTreeMap;

/// Events of a report.
pub const EVENTS_PER_REPORT: u64 = 100;

/// The n-th report: events as chat completions leave them, of so many workspaces in turn, each with an id of its own.
#[must_use]
pub fn chat_completions(n: u64, at_ms: u64, model: &str, workspaces: u64) -> Vec<RequestEvent> {
    let event = |i: u64| {
        let mut random = [0; 10];
        if let Some(tail) = random.get_mut(2..) {
            tail.copy_from_slice(&(n * EVENTS_PER_REPORT + i).to_be_bytes());
        }
        let tokens = TokenUsage {
            fresh_input: 400 + i as i64,
            output_text: 100 + i as i64,
            ..TokenUsage::default()
        };
        RequestEvent {
            event_id: RequestId::v7(at_ms, random).as_bytes().to_vec(),
            timestamp_ms: at_ms as i64,
            workspace_id: vec![(i % workspaces) as u8 + 1; 16],
            api_key_id: vec![1; 16],
            api_id: vec![2; 16],
            endpoint: "/v1/chat/completions".into(),
            method: "POST".into(),
            status_code: 200,
            latency_ms: 900,
            upstream_latency_ms: 895,
            request_bytes: 1_800,
            response_bytes: 900,
            cost_nanos: (i * 1_250) as i64,
            model: model.to_owned(),
            tokens: Some(tokens),
            usage_source: UsageSource::Reported.into(),
            price_version: "2026-10-01".into(),
            tags: BTreeMap::from([("team".into(), "search".into())]),
            ..RequestEvent::default()
        }
    };
    (0..EVENTS_PER_REPORT).map(event).collect()
}
