//! From the first header to a whole request: who calls, which API, and the body where it decides anything.

use super::admission::decide;
use super::forward::{self, Target};
use super::refuse::{self, Refuse, lossy};
use super::{Call, Exchange, ReadingRequest, World};
use crate::config::{self, Mode};
use crate::effect::{Effect, Effects, Flow, Metric};
use crate::event::Now;
use crate::headers::HeaderBlock;
use crate::identify::{self, NotIdentified, Unusable};
use crate::path;
use crate::policy::{self, Policy};
use crate::reply::Refusal;
use crate::request_body::{self, RequestFacts};
use crate::tags;
use rateguard_model::cost::CostModel;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::RequestId;
use rateguard_model::resource::Key;
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
        for (name, value) in headers {
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
        return refuse::ready(id, world, now);
    }
    if world.config.bypasses(seen.authority, bare_path) {
        let effects = vec![
            Effect::EditRequestHeaders(forward::without_internal(&headers)),
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
                Err(code) => refuse::unknown_call(id, now, method, Refuse::of_call(call, Refusal::new(code))),
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
        Err(refused) => refuse::unknown_call(id, now, method, *refused),
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
        return refuse::call(state.call, Refusal::new(ErrorCode::RequestTooLarge));
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
                return refuse::call(call, refusal);
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
