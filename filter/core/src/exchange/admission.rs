//! From a whole request to its admission: model, price, quotas, and the limit service's answer or silence.

use super::{Admission, Call, Exchange, Forwarding, Reserving, World, finish, forward, refuse};
use crate::config::Mode;
use crate::effect::{Effect, Effects, Flow, Metric, ReserveCall, Warning};
use crate::estimate::Estimate;
use crate::event::{Now, Reserved};
use crate::fallback::{self, Fallback, Shares};
use crate::headers::HeaderBlock;
use crate::limits::{self, View};
use crate::policy::{Matched, Subject};
use crate::reply::Refusal;
use crate::request_body::{self, Dialect};
use crate::trace::TraceContext;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::glob;
use rateguard_model::quota::{FailureMode, Mode as QuotaMode, Quota};
use rateguard_model::usage::UsageFormat;
use std::net::IpAddr;
use std::rc::Rc;

/// Model, price and quotas; asks the limit service if any quota matches.
pub(super) fn decide(
    call: Box<Call>,
    headers: HeaderBlock,
    peer: Option<IpAddr>,
    body: Option<&[u8]>,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    if !model_allowed(&call) {
        return refuse::call(call, Refusal::new(ErrorCode::ModelNotAllowed));
    }
    let policy = Rc::clone(&call.policy);
    let body_bytes = body.map_or(0, |body| body.len() as u64);
    let Ok(estimate) = Estimate::of(
        &policy.api,
        call.facts.as_ref(),
        body_bytes,
        learned_output(&call, world),
        policy.workspace.unpriced_model_policy,
    ) else {
        return refuse::call(call, Refusal::new(ErrorCode::ModelNotPriced));
    };
    let subject = Subject {
        key_id: call.key.id,
        method: call.method.as_bytes(),
        path: call.endpoint().as_bytes(),
        peer,
        forwarded_for: headers.get(b"x-forwarded-for"),
    };
    let Matched { quotas, labels } = policy.matching(&subject, &estimate);
    let quotas: Rc<[Quota]> = quotas.into();
    let changed_body = body.and_then(|body| with_usage(&call, body));
    let injected = changed_body.is_some();
    let mut list: Vec<Effect> = changed_body.map(Effect::SetRequestBody).into_iter().collect();
    list.push(Effect::KeyUsed(call.key.id));
    if quotas.is_empty() {
        let admission = Admission {
            quotas,
            labels,
            results: Vec::new(),
            estimate,
            degraded: false,
            reserved_at_ms: now.unix_ms(),
            own_latency_ms: 0,
        };
        return admit(call, &headers, admission, injected, list, world, now);
    }
    list.push(Effect::Reserve(Box::new(ReserveCall {
        members: Vec::new(),
        id: call.id,
        workspace_id: policy.workspace.id,
        key_id: call.key.id,
        api_id: policy.api.id,
        quotas: Rc::clone(&quotas),
        trace: TraceContext::of(&headers),
    })));
    let state = Reserving {
        call,
        headers,
        quotas,
        labels,
        estimate,
        asked: now,
        injected,
    };
    (
        Exchange::Reserving(Box::new(state)),
        Effects {
            flow: Flow::Pause,
            list,
        },
    )
}

/// What this model usually answers to this key.
fn learned_output(call: &Call, world: World<'_>) -> Option<u64> {
    let model = call.facts.as_ref()?.model.as_deref()?;
    world.averages.output_tokens(&call.key.id, model)
}

/// A key with a list of models may only name one of them.
fn model_allowed(call: &Call) -> bool {
    let allowed = &call.key.allowed_models;
    match &call.facts {
        Some(facts) if !allowed.is_empty() => {
            let model = facts.model.as_deref().unwrap_or_default();
            allowed.iter().any(|pattern| glob::matches(pattern, model))
        }
        Some(_) | None => true,
    }
}

/// The body that makes an OpenAI stream end with its usage, unless the client asked for that itself.
fn with_usage(call: &Call, body: &[u8]) -> Option<Vec<u8>> {
    let facts = call.facts.as_ref()?;
    let speaks_openai = matches!(
        call.policy.api.usage_format,
        UsageFormat::Auto | UsageFormat::OpenAi
    );
    let wanted = facts.stream
        && facts.include_usage != Some(true)
        && speaks_openai
        && Dialect::of(call.endpoint().as_bytes(), facts) == Dialect::OpenAiChatCompletions;
    if wanted {
        request_body::inject_include_usage(body, facts)
    } else {
        None
    }
}

/// The limit service answered.
pub(super) fn answered(
    state: Box<Reserving>,
    reserved: Reserved,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let view = View {
        quotas: &state.quotas,
        labels: &state.labels,
        results: &reserved.results,
    };
    if !reserved.admitted {
        return match limits::refusal(view, now) {
            Some(refused) => refuse::by_ledger(*state, &reserved, refused, now),
            // Refused, but by nobody: as good as no answer.
            None => failed(state, &Shares::default(), world, now),
        };
    }
    let mut list = Vec::with_capacity(6);
    if reserved.degraded {
        list.push(Effect::Count(Metric::Degraded));
        list.push(Effect::Warn(Warning::LedgerDegraded));
    }
    for (quota, result) in state.quotas.iter().zip(&reserved.results) {
        if quota.failure_mode == FailureMode::BoundedOpen && quota.mode == QuotaMode::Enforce {
            let live_workers = reserved.live_workers;
            list.push(Effect::Seen {
                quota: Box::new(quota.clone()),
                remaining: result.remaining,
                live_workers,
            });
        }
    }
    let Reserving {
        call,
        headers,
        quotas,
        labels,
        estimate,
        asked,
        injected,
    } = *state;
    list.push(Effect::Opened {
        id: call.id,
        workspace_id: call.policy.workspace.id,
    });
    let admission = Admission {
        quotas,
        labels,
        results: reserved.results,
        estimate,
        degraded: reserved.degraded,
        reserved_at_ms: asked.unix_ms(),
        own_latency_ms: now.ms_since(asked),
    };
    let (exchange, mut effects) = admit(call, &headers, admission, injected, list, world, now);
    effects.list.push(Effect::ResumeRequest);
    (exchange, effects)
}

/// A reservation of several requests admitted this one: that reservation is what is open and was seen.
pub(super) fn answered_jointly(
    state: Box<Reserving>,
    reserved: Reserved,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let (exchange, mut effects) = answered(state, reserved, world, now);
    let is_moot = |effect: &Effect| matches!(effect, Effect::Opened { .. } | Effect::Seen { .. });
    effects.list.retain(|effect| !is_moot(effect));
    (exchange, effects)
}

/// It did not answer: the quotas' failure modes decide.
pub(super) fn failed(
    state: Box<Reserving>,
    shares: &Shares,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let mut list = vec![
        Effect::Count(Metric::ReserveFailed),
        Effect::Warn(Warning::LimitServiceAway),
    ];
    match fallback::decide(&state.quotas, shares) {
        Fallback::Admit(drawn) => {
            list.extend(drawn);
            list.push(Effect::Count(Metric::Degraded));
            let Reserving {
                call,
                headers,
                quotas,
                labels,
                estimate,
                asked,
                injected,
            } = *state;
            // The service may have reserved and only its answer got lost: renewed and settled all the same.
            list.push(Effect::Opened {
                id: call.id,
                workspace_id: call.policy.workspace.id,
            });
            let admission = Admission {
                quotas,
                labels,
                results: Vec::new(),
                estimate,
                degraded: true,
                reserved_at_ms: asked.unix_ms(),
                own_latency_ms: now.ms_since(asked),
            };
            let (exchange, mut effects) = admit(call, &headers, admission, injected, list, world, now);
            effects.list.push(Effect::ResumeRequest);
            (exchange, effects)
        }
        Fallback::Closed => {
            list.push(release_of(&state));
            let refused = limits::Refused {
                refusal: Refusal::new(ErrorCode::NotReady),
                rule_id: None,
                budget_id: None,
            };
            refuse::unasked(*state, refused, list)
        }
        Fallback::Exhausted(index) => {
            list.push(release_of(&state));
            let refused = match (state.quotas.get(index), state.labels.get(index)) {
                (Some(quota), Some(label)) => limits::exhausted(quota, label),
                _ => limits::Refused {
                    refusal: Refusal::new(ErrorCode::NotReady),
                    rule_id: None,
                    budget_id: None,
                },
            };
            refuse::unasked(*state, refused, list)
        }
    }
}

fn admit(
    call: Box<Call>,
    headers: &HeaderBlock,
    admission: Admission,
    injected: bool,
    mut list: Vec<Effect>,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    list.push(Effect::EditRequestHeaders(forward::headers(
        &call,
        headers,
        injected,
        world.config.mode,
    )));
    if world.config.mode == Mode::Gateway {
        list.push(Effect::ChooseRoute);
    }
    list.push(Effect::Count(Metric::Admitted));
    let state = Forwarding {
        call,
        admission,
        forwarded: now,
        injected,
    };
    (
        Exchange::Forwarding(Box::new(state)),
        Effects {
            flow: Flow::Continue,
            list,
        },
    )
}

/// Gives back what the service may have reserved without our hearing of it.
pub(super) fn release_of(state: &Reserving) -> Effect {
    Effect::Release(Box::new(finish::settlement(
        state.call.id,
        state.call.policy.workspace.id,
        state.asked.unix_ms(),
        &state.quotas,
        &[],
        |_| 0,
    )))
}
