//! The event of an exchange (SPEC 4).

use super::finish::STATUS_CLIENT_CLOSED;
use super::{Call, Done, ErrorType, Rejected};
use crate::event::Now;
use crate::tags;
use rateguard_model::endpoint;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::RequestId;
use rateguard_model::money::NanoUsd;
use rateguard_model::resource::Key;
use rateguard_model::usage::TokenUsage;

fn base(id: RequestId, started: Now, key: Option<&Key>, now: Now) -> RequestEvent {
    RequestEvent {
        event_id: id,
        timestamp_ms: started.unix_ms(),
        workspace_id: key.map(|key| key.workspace_id),
        api_key_id: key.map(|key| key.id),
        api_id: None,
        endpoint: String::new(),
        method: String::new(),
        status_code: 0,
        latency_ms: now.ms_since(started),
        upstream_latency_ms: 0,
        request_bytes: 0,
        response_bytes: 0,
        cost: NanoUsd::ZERO,
        model: String::new(),
        tokens: TokenUsage::default(),
        units: 0,
        usage_source: None,
        price_version: String::new(),
        cache_hit: false,
        rate_limited: false,
        budget_exceeded: false,
        shadow: false,
        degraded: false,
        stream: false,
        ttft_ms: 0,
        client_ip: None,
        error_type: String::new(),
        rule_id: None,
        budget_id: None,
        key_owner_id: key.and_then(|key| key.owner_id),
        tags: key.map(|key| key.tags.clone()).unwrap_or_default(),
        revision: 0,
    }
}

fn of_call(call: &Call, now: Now) -> RequestEvent {
    let facts = call.facts.as_ref();
    let mut event = base(call.id, call.started, Some(&call.key), now);
    event.api_id = Some(call.policy.api.id);
    event.endpoint = endpoint::template(call.endpoint());
    event.method.clone_from(&call.method);
    event.request_bytes = call.request_bytes;
    event.model = facts.and_then(|facts| facts.model.clone()).unwrap_or_default();
    event.stream = facts.is_some_and(|facts| facts.stream);
    event.price_version.clone_from(&call.policy.api.price_version);
    if !call.tags.is_empty() {
        event.tags = tags::merge(&call.key.tags, &call.tags);
    }
    event
}

pub(super) fn unanswered(call: &Call, now: Now) -> RequestEvent {
    let mut event = of_call(call, now);
    event.status_code = STATUS_CLIENT_CLOSED;
    "client_closed".clone_into(&mut event.error_type);
    event
}

pub(super) fn refused(state: Rejected, now: Now) -> RequestEvent {
    let mut event = if let Some(call) = &state.call {
        of_call(call, now)
    } else {
        let mut event = base(state.id, state.started, state.key.as_deref(), now);
        event.method = state.method;
        event
    };
    event.status_code = state.code.status();
    state.code.as_str().clone_into(&mut event.error_type);
    event.rate_limited = state.code == ErrorCode::RateLimited;
    event.budget_exceeded = state.budget_id.is_some();
    event.rule_id = state.rule_id;
    event.budget_id = state.budget_id;
    event.shadow = state.shadow;
    event.degraded = state.degraded;
    event
}

pub(super) fn answered(done: &Done, now: Now) -> RequestEvent {
    let mut event = of_call(&done.call, now);
    event.status_code = done.status;
    event.upstream_latency_ms = done.upstream_latency_ms;
    event.response_bytes = done.response_bytes;
    event.cost = done.consumption.cost;
    event.tokens = done.consumption.usage;
    event.usage_source = done.consumption.source;
    if event.model.is_empty() {
        event.model = done.consumption.model.clone().unwrap_or_default();
    }
    event.rule_id = done.admission.view().shadow_refusal();
    event.shadow = event.rule_id.is_some();
    event.degraded = done.admission.degraded;
    event.stream = done.is_stream;
    event.ttft_ms = done.ttft_ms;
    event.error_type = match done.error_type {
        ErrorType::Upstream if done.status >= 400 => format!("upstream_status_{}", done.status),
        ErrorType::Upstream => String::new(),
        ErrorType::Code(code) => code.as_str().to_owned(),
        ErrorType::ClientClosed => "client_closed".to_owned(),
    };
    event
}
