//! From the first header to the admission or the refusal.

use super::forward::{self, Target};
use super::{Admission, Call, Exchange, Forwarding, ReadingRequest, Rejected, Reserving, World};
use crate::config::{self, Mode};
use crate::effect::{Effect, Effects, Flow, Metric, Reply, ReserveCall, Warning};
use crate::estimate::Estimate;
use crate::event::{Now, Reserved};
use crate::fallback::{self, Fallback, Shares};
use crate::headers::HeaderBlock;
use crate::identify::{self, NotIdentified, Unusable};
use crate::limits::{self, View};
use crate::path;
use crate::policy::{self, Matched, Policy, Subject};
use crate::reply::{REQUEST_ID, Refusal};
use crate::request_body::{self, Dialect, RequestFacts};
use crate::tags;
use crate::text::HeaderText;
use rateguard_model::cost::CostModel;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::glob;
use rateguard_model::id::RequestId;
use rateguard_model::quota::{FailureMode, Mode as QuotaMode};
use rateguard_model::resource::Key;
use rateguard_model::usage::UsageFormat;
use std::net::IpAddr;
use std::rc::Rc;

/// The headers that decisions look at, found in one walk.
#[derive(Default)]
struct Seen<'a> {
    method: &'a [u8],
    path: &'a [u8],
    authority: &'a [u8],
    content_length: Option<u64>,
    content_type: &'a [u8],
    forwarded_for: Option<&'a [u8]>,
    tags: Option<&'a [u8]>,
    wants_trailers: bool,
    upgrades: bool,
}

impl<'a> Seen<'a> {
    fn read(headers: &'a HeaderBlock) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.iter() {
            match name {
                b":method" => seen.method = value,
                b":path" => seen.path = value,
                b":authority" => seen.authority = value,
                b":protocol" | b"upgrade" => seen.upgrades = true,
                b"content-length" => seen.content_length = number(value),
                b"content-type" => seen.content_type = value,
                b"x-forwarded-for" => seen.forwarded_for = Some(value),
                b"x-rateguard-tags" => seen.tags = Some(value),
                b"te" => seen.wants_trailers = has_trailers(value),
                _ => {}
            }
        }
        seen.upgrades |= seen.method == b"CONNECT";
        seen
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

fn has_trailers(te: &[u8]) -> bool {
    te.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// A refusal while it is being decided, with what is known by then.
pub(super) struct Refuse {
    pub(super) refusal: Refusal,
    pub(super) key: Option<Rc<Key>>,
    pub(super) call: Option<Box<Call>>,
}

impl Refuse {
    fn unknown(refusal: Refusal) -> Self {
        Self {
            refusal,
            key: None,
            call: None,
        }
    }

    fn of_key(key: &Rc<Key>, code: ErrorCode) -> Self {
        Self {
            refusal: Refusal::new(code),
            key: Some(Rc::clone(key)),
            call: None,
        }
    }

    fn of_call(call: Box<Call>, refusal: Refusal) -> Self {
        Self {
            refusal,
            key: Some(Rc::clone(&call.key)),
            call: Some(call),
        }
    }
}

pub(super) fn headers(
    headers: HeaderBlock,
    end_of_stream: bool,
    id: RequestId,
    peer: Option<&[u8]>,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let seen = Seen::read(&headers);
    let (bare_path, _) = path::split_query(seen.path);
    if world.config.mode == Mode::Gateway && bare_path == b"/ready" {
        return ready(id, world, now);
    }
    if world.config.bypasses(seen.authority, bare_path) {
        let effects = vec![
            Effect::SetRequestHeaders(forward::without_internal(&headers)),
            Effect::Count(Metric::Bypassed),
        ];
        return (
            Exchange::Bypassed,
            Effects {
                flow: Flow::Continue,
                list: effects,
            },
        );
    }
    let method = lossy(seen.method);
    match identify_call(&headers, &seen, id, world, now) {
        Ok(call) => {
            let peer = peer_address(peer, seen.forwarded_for, world.config.mode);
            let needs_body = !end_of_stream && needs_body(&call);
            match check_length(&seen, needs_body, world) {
                Err(code) => refuse(id, now, method, Refuse::of_call(call, Refusal::new(code))),
                Ok(()) if needs_body => {
                    let state = ReadingRequest { call, headers, peer };
                    (
                        Exchange::ReadingRequest(Box::new(state)),
                        Effects {
                            flow: Flow::Pause,
                            list: Vec::new(),
                        },
                    )
                }
                Ok(()) => decide(call, headers, peer, None, world, now),
            }
        }
        Err(refused) => refuse(id, now, method, *refused),
    }
}

/// Key, API and path; everything that can be refused without body or ledger.
fn identify_call(
    headers: &HeaderBlock,
    seen: &Seen<'_>,
    id: RequestId,
    world: World<'_>,
    now: Now,
) -> Result<Box<Call>, Box<Refuse>> {
    let unknown = |code| Box::new(Refuse::unknown(Refusal::new(code)));
    let too_old = world
        .config
        .snapshot_max_age_ms
        .is_some_and(|max| world.snapshot.age_ms(now.unix_ms()) > max);
    if !world.snapshot.is_held() || too_old {
        return Err(unknown(ErrorCode::NotReady));
    }
    if seen.upgrades {
        return Err(unknown(ErrorCode::Forbidden));
    }
    let (bare_path, query) = path::split_query(seen.path);
    path::check(bare_path).map_err(|error| {
        Box::new(Refuse::unknown(Refusal::with_message(
            ErrorCode::ValidationError,
            error.to_string(),
        )))
    })?;
    let found = identify::candidate(headers, query)
        .and_then(|candidate| identify::find(candidate, world.snapshot))
        .map_err(|reason| match reason {
            NotIdentified::Ambiguous => Box::new(Refuse::unknown(Refusal::with_message(
                ErrorCode::ValidationError,
                reason.to_string(),
            ))),
            NotIdentified::Missing | NotIdentified::Malformed | NotIdentified::Unknown => {
                unknown(ErrorCode::InvalidApiKey)
            }
        })?;
    let of_key = |code| Box::new(Refuse::of_key(&found.key, code));
    found.check(now.unix_ms()).map_err(|unusable| {
        of_key(match unusable {
            Unusable::Suspended | Unusable::Revoked => ErrorCode::InvalidApiKey,
            Unusable::Expired => ErrorCode::ExpiredApiKey,
        })
    })?;
    let target = find_api(seen, &found.key, world).ok_or_else(|| of_key(ErrorCode::ApiNotFound))?;
    let (path, path_length) = forward::upstream_path(&target, query);
    let call = Box::new(Call {
        id,
        started: now,
        policy: Rc::clone(target.policy),
        method: lossy(seen.method),
        path,
        path_length,
        request_bytes: seen.content_length.unwrap_or(0),
        wants_trailers: seen.wants_trailers,
        tags: seen.tags.map(tags::parse).unwrap_or_default(),
        facts: None,
        key: found.key,
    });
    let allowed = &call.key.allowed_api_ids;
    if !allowed.is_empty() && !allowed.contains(&call.policy.api.id) {
        return Err(Box::new(Refuse::of_call(
            call,
            Refusal::new(ErrorCode::Forbidden),
        )));
    }
    if !call.policy.api.is_active {
        return Err(Box::new(Refuse::of_call(
            call,
            Refusal::new(ErrorCode::ApiInactive),
        )));
    }
    Ok(call)
}

fn find_api<'a>(seen: &Seen<'a>, key: &Key, world: World<'a>) -> Option<Target<'a>> {
    let (bare_path, _) = path::split_query(seen.path);
    let by_slug = (world.config.mode == Mode::Gateway)
        .then(|| path::split_proxy(bare_path))
        .flatten();
    if let Some((slug, rest)) = by_slug {
        let policy = world.snapshot.policy_by_slug(&key.workspace_id, slug)?;
        return Some(Target {
            policy,
            rest,
            below_base: true,
        });
    }
    let host = std::str::from_utf8(seen.authority).ok()?.to_ascii_lowercase();
    let bare_host = std::str::from_utf8(config::without_port(host.as_bytes())).ok()?;
    let policy = world
        .snapshot
        .policy_by_host(&key.workspace_id, &host)
        .or_else(|| world.snapshot.policy_by_host(&key.workspace_id, bare_host))?;
    Some(Target {
        policy,
        rest: bare_path,
        below_base: false,
    })
}

/// A peer that was not asked for is the last entry that Envoy itself put into `x-forwarded-for`.
fn peer_address(peer: Option<&[u8]>, forwarded_for: Option<&[u8]>, mode: Mode) -> Option<IpAddr> {
    match (peer, mode) {
        (Some(peer), _) => policy::address(peer),
        (None, Mode::Gateway) => policy::address(forwarded_for?.rsplit(|byte| *byte == b',').next()?),
        (None, Mode::DropIn) => None,
    }
}

/// Whether model and size of the body decide anything.
fn needs_body(call: &Call) -> bool {
    let Policy {
        api, counts_tokens, ..
    } = &*call.policy;
    *counts_tokens
        || matches!(api.cost_model, Some(CostModel::PerToken(_)))
        || !call.key.allowed_models.is_empty()
}

fn check_length(seen: &Seen<'_>, needs_body: bool, world: World<'_>) -> Result<(), ErrorCode> {
    let max = if needs_body {
        world.config.request_body_max_bytes
    } else {
        world.config.listener_buffer_bytes
    };
    if seen.content_length.is_some_and(|length| length > max) {
        Err(ErrorCode::RequestTooLarge)
    } else {
        Ok(())
    }
}

pub(super) fn body(
    mut state: Box<ReadingRequest>,
    size: usize,
    body: Option<&[u8]>,
    end_of_stream: bool,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let size = body.map_or(size, <[u8]>::len) as u64;
    state.call.request_bytes = state.call.request_bytes.max(size);
    if size > world.config.request_body_max_bytes {
        return refuse_call(state.call, Refusal::new(ErrorCode::RequestTooLarge));
    }
    if !end_of_stream {
        return (
            Exchange::ReadingRequest(state),
            Effects {
                flow: Flow::Pause,
                list: Vec::new(),
            },
        );
    }
    let ReadingRequest {
        mut call,
        headers,
        peer,
    } = *state;
    let body = body.unwrap_or_default();
    if body.is_empty() {
        return decide(call, headers, peer, None, world, now);
    }
    // A body of another type is not ours to read; what it asks for stays unknown.
    let facts = if is_json(headers.get(b"content-type")) {
        match request_body::read(body) {
            Ok(facts) => facts,
            Err(error) => {
                let refusal = Refusal::with_message(ErrorCode::ValidationError, error.to_string());
                return refuse_call(call, refusal);
            }
        }
    } else {
        RequestFacts::default()
    };
    call.facts = Some(facts);
    decide(call, headers, peer, Some(body), world, now)
}

/// JSON, or nothing said: a client that leaves the type out still means JSON.
fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let essence = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let json = b"json";
    essence.is_empty()
        || essence
            .len()
            .checked_sub(json.len())
            .and_then(|at| essence.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(json))
}

/// Model, price and quotas; asks the limit service if any quota matches.
fn decide(
    call: Box<Call>,
    headers: HeaderBlock,
    peer: Option<IpAddr>,
    body: Option<&[u8]>,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    if !model_allowed(&call) {
        return refuse_call(call, Refusal::new(ErrorCode::ModelNotAllowed));
    }
    let policy = Rc::clone(&call.policy);
    let body_bytes = body.map_or(0, |body| body.len() as u64);
    let Ok(estimate) = Estimate::of(
        &policy.api,
        call.facts.as_ref(),
        body_bytes,
        policy.workspace.unpriced_model_policy,
    ) else {
        return refuse_call(call, Refusal::new(ErrorCode::ModelNotPriced));
    };
    let subject = Subject {
        key_id: call.key.id,
        method: call.method.as_bytes(),
        path: call.endpoint().as_bytes(),
        peer,
        forwarded_for: headers.get(b"x-forwarded-for"),
    };
    let Matched { quotas, labels } = policy.matching(&subject, &estimate);
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
        id: call.id,
        workspace_id: policy.workspace.id,
        key_id: call.key.id,
        api_id: policy.api.id,
        quotas: quotas.clone(),
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
            Some(refused) => refuse_reserved(state, &reserved, refused, now),
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
            refuse_unasked(state, refused, list)
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
            refuse_unasked(state, refused, list)
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
    list.push(Effect::SetRequestHeaders(forward::headers(
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
    Effect::Release(Box::new(super::finish::settlement(
        state.call.id,
        state.call.policy.workspace.id,
        state.asked.unix_ms(),
        &state.quotas,
        &[],
        |_| 0,
    )))
}

fn refuse_reserved(
    state: Box<Reserving>,
    reserved: &Reserved,
    refused: limits::Refused,
    now: Now,
) -> (Exchange, Effects) {
    let view = View {
        quotas: &state.quotas,
        labels: &state.labels,
        results: &reserved.results,
    };
    let mut more = HeaderText::with_capacity(10);
    limits::rule_headers(&mut more, view, now);
    limits::budget_headers(&mut more, view, rateguard_model::money::NanoUsd::ZERO);
    more.push("x-rateguard-latency-ms", now.ms_since(state.asked));
    if reserved.degraded {
        more.push_str("x-rateguard-degraded", "true");
    }
    let shadow = view.shadow_refused();
    rejected(state.call, refused, &more, shadow, reserved.degraded, Vec::new())
}

fn refuse_unasked(state: Box<Reserving>, refused: limits::Refused, list: Vec<Effect>) -> (Exchange, Effects) {
    let mut more = HeaderText::with_capacity(1);
    more.push_str("x-rateguard-degraded", "true");
    rejected(state.call, refused, &more, false, true, list)
}

fn rejected(
    call: Box<Call>,
    refused: limits::Refused,
    more: &HeaderText,
    shadow: bool,
    degraded: bool,
    mut list: Vec<Effect>,
) -> (Exchange, Effects) {
    let limits::Refused {
        refusal,
        rule_id,
        budget_id,
    } = refused;
    list.push(Effect::Reply(Box::new(refusal.reply(&call.id, more))));
    list.push(Effect::Count(Metric::Refused(refusal.code)));
    let state = Rejected {
        id: call.id,
        started: call.started,
        key: Some(Rc::clone(&call.key)),
        method: String::new(),
        call: Some(call),
        code: refusal.code,
        rule_id,
        budget_id,
        shadow,
        degraded,
        replacement: None,
    };
    (
        Exchange::Rejected(Box::new(state)),
        Effects {
            flow: Flow::Pause,
            list,
        },
    )
}

fn refuse_call(call: Box<Call>, refusal: Refusal) -> (Exchange, Effects) {
    let refused = limits::Refused {
        refusal,
        rule_id: None,
        budget_id: None,
    };
    rejected(call, refused, &HeaderText::default(), false, false, Vec::new())
}

fn refuse(id: RequestId, now: Now, method: String, refused: Refuse) -> (Exchange, Effects) {
    let Refuse { refusal, key, call } = refused;
    let list = vec![
        Effect::Reply(Box::new(refusal.reply(&id, &HeaderText::default()))),
        Effect::Count(Metric::Refused(refusal.code)),
    ];
    let state = Rejected {
        id,
        started: now,
        key,
        call,
        method,
        code: refusal.code,
        rule_id: None,
        budget_id: None,
        shadow: false,
        degraded: false,
        replacement: None,
    };
    (
        Exchange::Rejected(Box::new(state)),
        Effects {
            flow: Flow::Pause,
            list,
        },
    )
}

/// `GET /ready` of the gateway.
fn ready(id: RequestId, world: World<'_>, now: Now) -> (Exchange, Effects) {
    let too_old = world
        .config
        .snapshot_max_age_ms
        .is_some_and(|max| world.snapshot.age_ms(now.unix_ms()) > max);
    let reply = if world.snapshot.is_held() && !too_old {
        Reply {
            status: 200,
            headers: vec![
                (REQUEST_ID, id.to_string()),
                ("content-type", "application/json".to_owned()),
            ],
            body: format!(
                "{{\"status\":\"ready\",\"timestamp\":\"{}\"}}",
                limits::timestamp(now.unix_ms())
            ),
        }
    } else {
        Refusal::new(ErrorCode::NotReady).reply(&id, &HeaderText::default())
    };
    (
        Exchange::Over,
        Effects {
            flow: Flow::Pause,
            list: vec![Effect::Reply(Box::new(reply))],
        },
    )
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
