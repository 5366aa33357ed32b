//! What an exchange used, its settlement, and its event.

use super::{Admission, Answer, Call, Consumption, Done, ErrorType, Exchange, ReadingResponse, Rejected};
use crate::effect::{Effect, Effects, Metric, SettledAmount, Settlement};
use crate::estimate::{Estimate, Pricing};
use crate::event::{Now, QuotaResult};
use crate::tags;
use rateguard_model::endpoint;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota, Unit};
use rateguard_model::resource::Key;
use rateguard_model::usage::{TokenUsage, UsageSource};

/// Status of an exchange whose client went away before there was one.
const STATUS_CLIENT_CLOSED: u16 = 499;

/// Code details of exchanges that the client ended begin so.
const DOWNSTREAM: &[u8] = b"downstream";

/// How a response came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Complete,
    /// Client or upstream broke it off.
    Broken,
}

/// Whether money or a quota depends on what the response says.
pub(super) fn needs_usage(admission: &Admission) -> bool {
    admission.estimate.pricing.needs_usage()
        || admission
            .quotas
            .iter()
            .any(|quota| matches!(quota.unit, Unit::Tokens | Unit::InputTokens | Unit::OutputTokens))
}

/// What an answered request costs whatever it says.
pub(super) fn flat_cost(estimate: &Estimate) -> NanoUsd {
    match &estimate.pricing {
        Pricing::Flat(cost) => *cost,
        Pricing::Free | Pricing::Unpriced | Pricing::Tokens(_) => NanoUsd::ZERO,
    }
}

/// Ends the reading of a response.
pub(super) fn done(state: Box<ReadingResponse>, ending: Ending) -> Done {
    let ReadingResponse {
        call,
        admission,
        status,
        forwarded,
        responded,
        first_byte,
        response_bytes,
        reader,
        answer,
    } = *state;
    let reading = reader
        .map(|reader| reader.finish(ending == Ending::Complete))
        .unwrap_or_default();
    let consumption = consume(&call, &admission, status, ending, reading);
    let is_stream = matches!(answer, Answer::Passing { is_stream: true, .. });
    let ttft_ms = if is_stream && first_byte > Now::default() {
        first_byte.ms_since(forwarded)
    } else {
        0
    };
    Done {
        upstream_latency_ms: responded.ms_since(forwarded),
        ttft_ms,
        response_bytes,
        is_stream,
        status,
        consumption,
        error_type: ErrorType::Upstream,
        replacement: None,
        call,
        admission,
    }
}

fn consume(
    call: &Call,
    admission: &Admission,
    status: u16,
    ending: Ending,
    reading: crate::usage::Reading,
) -> Consumption {
    let estimate = &admission.estimate;
    let source = reading.source.or(reading.tokens.map(|_| UsageSource::Reported));
    let model = reading.model;
    if let Some(usage) = reading.tokens {
        let cost = estimate.pricing.cost(&usage);
        return Consumption {
            usage,
            cost,
            source,
            model,
            released: false,
        };
    }
    // Asked for no tokens, or refused by the provider: there is nothing to estimate.
    let nothing_used = call.facts.is_none() || (status >= 400 && ending == Ending::Complete);
    if !needs_usage(admission) || nothing_used {
        let cost = estimate.pricing.cost(&TokenUsage::default());
        let source = Some(UsageSource::Reported);
        return Consumption {
            usage: TokenUsage::default(),
            cost,
            source,
            model,
            released: false,
        };
    }
    Consumption {
        usage: estimate.usage,
        cost: estimate.cost,
        source: Some(UsageSource::Estimated),
        model,
        released: false,
    }
}

/// No answer of the upstream's came: no tokens, no cost.
pub(super) fn nothing(released: bool) -> Consumption {
    Consumption {
        usage: TokenUsage::default(),
        cost: NanoUsd::ZERO,
        source: None,
        model: None,
        released,
    }
}

/// The exchange is over: what is open is resolved, what happened is recorded.
pub(super) fn ended(state: Exchange, details: Option<&[u8]>, now: Now) -> (Exchange, Effects) {
    let mut list = Vec::with_capacity(4);
    match state {
        Exchange::Opened | Exchange::Bypassed | Exchange::Over => {}
        Exchange::ReadingRequest(state) => {
            list.push(Effect::Count(Metric::ClientClosed));
            list.push(Effect::Record(Box::new(unanswered(&state.call, now))));
        }
        Exchange::Reserving(state) => {
            list.push(Effect::CancelReserve);
            list.push(super::request::release_of(&state));
            list.push(Effect::Count(Metric::ClientClosed));
            list.push(Effect::Record(Box::new(unanswered(&state.call, now))));
        }
        Exchange::Forwarding(state) => {
            // The upstream has the request and will bill it: charged as estimated.
            let estimate = &state.admission.estimate;
            let consumption = Consumption {
                usage: estimate.usage,
                cost: estimate.cost,
                source: Some(UsageSource::Estimated),
                model: None,
                released: false,
            };
            let done = Done {
                upstream_latency_ms: now.ms_since(state.forwarded),
                ttft_ms: 0,
                response_bytes: 0,
                is_stream: false,
                status: STATUS_CLIENT_CLOSED,
                consumption,
                error_type: ErrorType::ClientClosed,
                replacement: None,
                call: state.call,
                admission: state.admission,
            };
            list.push(Effect::Count(Metric::ClientClosed));
            resolve(&mut list, done, now);
        }
        Exchange::ReadingResponse(state) => {
            let held = matches!(state.answer, Answer::Held(_));
            let by_client = details.is_some_and(|details| details.starts_with(DOWNSTREAM));
            let mut done = done(state, Ending::Broken);
            if by_client {
                done.error_type = ErrorType::ClientClosed;
                list.push(Effect::Count(Metric::ClientClosed));
            } else {
                done.error_type = ErrorType::Code(ErrorCode::UpstreamError);
            }
            if held {
                // The client has seen nothing of the upstream's answer.
                done.status = if by_client {
                    STATUS_CLIENT_CLOSED
                } else {
                    ErrorCode::UpstreamError.status()
                };
            }
            resolve(&mut list, done, now);
        }
        Exchange::Done(done) => resolve(&mut list, *done, now),
        Exchange::Rejected(state) => list.push(Effect::Record(Box::new(refused(*state, now)))),
    }
    (
        Exchange::Over,
        Effects {
            flow: crate::effect::Flow::Continue,
            list,
        },
    )
}

fn resolve(list: &mut Vec<Effect>, done: Done, now: Now) {
    let event = answered(&done, now);
    let Done {
        call,
        admission,
        consumption,
        ..
    } = done;
    if consumption.source == Some(UsageSource::Estimated) {
        list.push(Effect::Count(Metric::Estimated));
    }
    if !admission.quotas.is_empty() {
        let (id, workspace_id) = (call.id, call.policy.workspace.id);
        list.push(Effect::Closed { id });
        let settlement = settlement(
            id,
            workspace_id,
            admission.reserved_at_ms,
            &admission.quotas,
            &admission.results,
            |quota| actual(quota, &consumption),
        );
        let settlement = Box::new(settlement);
        list.push(if consumption.released {
            Effect::Release(settlement)
        } else {
            Effect::Settle(settlement)
        });
    }
    list.push(Effect::Record(Box::new(event)));
}

fn actual(quota: &Quota, consumption: &Consumption) -> i64 {
    if consumption.released {
        return 0;
    }
    match quota.unit {
        Unit::Requests => 1,
        Unit::Tokens => consumption.usage.total_tokens(),
        Unit::InputTokens => consumption.usage.input_tokens(),
        Unit::OutputTokens => consumption.usage.output_tokens(),
        Unit::NanoUsd => consumption.cost.0,
    }
    .clamp(0, AMOUNT_MAX)
}

/// Stands alone: where the ledger was not heard, the window is the one that the reservation's time falls in.
pub(super) fn settlement(
    id: RequestId,
    workspace_id: WorkspaceId,
    reserved_at_ms: i64,
    quotas: &[Quota],
    results: &[QuotaResult],
    actual: impl Fn(&Quota) -> i64,
) -> Settlement {
    let amounts = quotas
        .iter()
        .enumerate()
        .map(|(index, quota)| SettledAmount {
            window_start_ms: results.get(index).map_or_else(
                || match quota.meter {
                    Meter::FixedWindow { window } => window.bounds(reserved_at_ms).start_ms,
                    Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => 0,
                },
                |result| result.window_start_ms,
            ),
            actual: actual(quota),
            quota: quota.clone(),
        })
        .collect();
    Settlement {
        id,
        workspace_id,
        reserved_at_ms,
        amounts,
    }
}

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
    event.method = call.method.clone();
    event.request_bytes = call.request_bytes;
    event.model = facts.and_then(|facts| facts.model.clone()).unwrap_or_default();
    event.stream = facts.is_some_and(|facts| facts.stream);
    event.price_version = call.policy.api.price_version.clone();
    if !call.tags.is_empty() {
        event.tags = tags::merge(&call.key.tags, &call.tags);
    }
    event
}

fn unanswered(call: &Call, now: Now) -> RequestEvent {
    let mut event = of_call(call, now);
    event.status_code = STATUS_CLIENT_CLOSED;
    event.error_type = "client_closed".to_owned();
    event
}

fn refused(state: Rejected, now: Now) -> RequestEvent {
    let mut event = match &state.call {
        Some(call) => of_call(call, now),
        None => {
            let mut event = base(state.id, state.started, state.key.as_deref(), now);
            event.method = state.method;
            event
        }
    };
    event.status_code = state.code.status();
    event.error_type = state.code.as_str().to_owned();
    event.rate_limited = state.code == ErrorCode::RateLimited;
    event.budget_exceeded = state.budget_id.is_some();
    event.rule_id = state.rule_id;
    event.budget_id = state.budget_id;
    event.shadow = state.shadow;
    event.degraded = state.degraded;
    event
}

fn answered(done: &Done, now: Now) -> RequestEvent {
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
    event.shadow = done.admission.view().shadow_refused();
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
