//! What an exchange used, and its settlement.

use super::{
    Admission, Answer, Call, Consumption, Done, ErrorType, Exchange, ReadingResponse, admission, record,
};
use crate::effect::{Effect, Effects, Metric, SettledAmount, Settlement};
use crate::estimate::{Estimate, Pricing};
use crate::event::{Now, QuotaResult};
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota, Unit};
use rateguard_model::usage::{TokenUsage, UsageSource};
use std::rc::Rc;

/// Status of an exchange whose client went away before there was one.
pub(super) const STATUS_CLIENT_CLOSED: u16 = 499;

/// Code details of exchanges that the client ended begin so.
const DOWNSTREAM: &[u8] = b"downstream";

/// Bytes of a stream per token of its text: a delta's frame is longer than its word.
const STREAM_BYTES_PER_TOKEN: u64 = 100;

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
    let consumption = consume(&call, &admission, status, ending, response_bytes, reading);
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

/// Output of a stream that broke off before its last figures: a provider counts up only at the end (Anthropic begins
/// with 1), and a client that always leaves early must not pay next to nothing. Never more than was estimated.
fn streamed_output(estimate: &Estimate, response_bytes: u64) -> i64 {
    let streamed = i64::try_from(response_bytes / STREAM_BYTES_PER_TOKEN).unwrap_or(i64::MAX);
    streamed.min(estimate.usage.output_text)
}

fn consume(
    call: &Call,
    admission: &Admission,
    status: u16,
    ending: Ending,
    response_bytes: u64,
    reading: crate::usage::Reading,
) -> Consumption {
    let estimate = &admission.estimate;
    let source = reading.source.or(reading.tokens.map(|_| UsageSource::Reported));
    let model = reading.model;
    if let Some(mut usage) = reading.tokens {
        if source == Some(UsageSource::Partial) {
            usage.output_text = usage.output_text.max(streamed_output(estimate, response_bytes));
        }
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
            list.push(Effect::Record(Box::new(record::unanswered(&state.call, now))));
        }
        Exchange::Reserving(state) => {
            list.push(Effect::CancelReserve);
            list.push(admission::release_of(&state));
            list.push(Effect::Count(Metric::ClientClosed));
            list.push(Effect::Record(Box::new(record::unanswered(&state.call, now))));
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
        Exchange::Rejected(state) => list.push(Effect::Record(Box::new(record::refused(*state, now)))),
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
    let event = record::answered(&done, now);
    let Done {
        call,
        admission,
        consumption,
        ..
    } = done;
    if consumption.source == Some(UsageSource::Estimated) {
        list.push(Effect::Count(Metric::Estimated));
    }
    list.extend(learned(&call, &consumption));
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

/// What the answer teaches about the next one. One that its own bound may have cut short teaches nothing.
fn learned(call: &Call, consumption: &Consumption) -> Option<Effect> {
    // An error without usage is reported as nothing used.
    if consumption.source != Some(UsageSource::Reported) || consumption.usage == TokenUsage::default() {
        return None;
    }
    let facts = call.facts.as_ref()?;
    let model = facts.model.as_ref()?;
    let total = u64::try_from(consumption.usage.output_tokens()).ok()?;
    let output_tokens = total.div_ceil(facts.choice_count.unwrap_or(1).max(1));
    let cut_short = facts.max_output_tokens.is_some_and(|max| output_tokens >= max);
    (!cut_short).then(|| Effect::Learned {
        key_id: call.key.id,
        model: model.clone(),
        output_tokens,
    })
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
    quotas: &Rc<[Quota]>,
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
            returned: 0,
        })
        .collect();
    Settlement {
        id,
        workspace_id,
        reserved_at_ms,
        quotas: Rc::clone(quotas),
        amounts,
        part: 0,
        is_block: false,
    }
}
