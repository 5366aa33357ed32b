//! From the response's headers to its end.

use super::finish::{self, Ending};
use super::{
    Admission, Answer, Call, Done, ErrorType, Exchange, Forwarding, ReadingResponse, Rejected, World,
};
use crate::effect::{Effect, Effects, Flow, Metric};
use crate::event::Now;
use crate::headers::HeaderBlock;
use crate::limits;
use crate::local_reply::{self, LocalReply};
use crate::reply::{REQUEST_ID, Refusal};
use crate::sse_edit::UsageChunkHider;
use crate::text::HeaderText;
use crate::usage::Reader;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::money::NanoUsd;
use rateguard_model::usage::UsageFormat;
use std::rc::Rc;

/// What the response's headers say.
#[derive(Default)]
struct Seen<'a> {
    status: u16,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    content_length: Option<u64>,
}

impl<'a> Seen<'a> {
    fn read(headers: &'a HeaderBlock) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.iter() {
            match name {
                b":status" => seen.status = text(value).and_then(|text| text.parse().ok()).unwrap_or(0),
                b"content-type" => seen.content_type = seen.content_type.or(Some(value)),
                b"content-encoding" => seen.content_encoding = Some(value),
                b"content-length" => seen.content_length = text(value).and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
        seen
    }

    fn is_stream(&self) -> bool {
        essence(self.content_type).eq_ignore_ascii_case(b"text/event-stream")
    }

    fn is_json(&self) -> bool {
        let essence = essence(self.content_type);
        essence.len() >= 4
            && essence
                .get(essence.len() - 4..)
                .is_some_and(|end| end.eq_ignore_ascii_case(b"json"))
    }

    fn is_plain(&self) -> bool {
        self.content_encoding
            .is_none_or(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    }
}

fn essence(content_type: Option<&[u8]>) -> &[u8] {
    content_type
        .unwrap_or_default()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// Headers of the answer to an admitted request.
pub(super) fn headers(
    state: Box<Forwarding>,
    headers: HeaderBlock,
    end_of_stream: bool,
    details: Option<&[u8]>,
    world: World<'_>,
    now: Now,
) -> (Exchange, Effects) {
    let seen = Seen::read(&headers);
    if let Some(details) = details
        && let LocalReply::Map {
            code,
            reached_upstream,
        } = local_reply::read(seen.status, details, world.config.mode)
    {
        return local(state, &headers, end_of_stream, code, reached_upstream, now);
    }
    if (100..200).contains(&seen.status) {
        return (Exchange::Forwarding(state), Effects::default());
    }
    let Forwarding {
        call,
        admission,
        forwarded,
        injected,
    } = *state;
    let format = call.policy.api.usage_format;
    let has_body = !end_of_stream && !call.is_head() && !matches!(seen.status, 204 | 304);
    let reader = (has_body && format != UsageFormat::None)
        .then(|| Reader::for_response(format, seen.content_type, seen.content_encoding));
    let is_stream = seen.is_stream();
    let held = has_body
        && !is_stream
        && seen.is_json()
        && finish::needs_usage(&admission)
        && seen
            .content_length
            .is_none_or(|length| length <= world.config.response_hold_max_bytes);
    let hider = (injected && has_body && is_stream && seen.is_plain()).then(UsageChunkHider::default);
    let hides = hider.is_some();
    let state = ReadingResponse {
        call,
        admission,
        status: seen.status,
        forwarded,
        responded: now,
        first_byte: Now::default(),
        response_bytes: 0,
        reader,
        answer: Answer::Passing { is_stream, hider },
    };
    if held {
        let state = ReadingResponse {
            answer: Answer::Held(headers),
            ..state
        };
        return (
            Exchange::ReadingResponse(Box::new(state)),
            Effects {
                flow: Flow::Pause,
                list: Vec::new(),
            },
        );
    }
    if !has_body {
        let done = finish::done(Box::new(state), Ending::Complete);
        let more = answer_headers(&done, true, now);
        let headers = with_headers(&headers, &more, false);
        return (
            Exchange::Done(Box::new(done)),
            continue_with(Effect::SetResponseHeaders(headers)),
        );
    }
    let edited = passing_headers(&state, &headers, hides);
    (
        Exchange::ReadingResponse(Box::new(state)),
        continue_with(Effect::SetResponseHeaders(edited)),
    )
}

fn continue_with(effect: Effect) -> Effects {
    Effects {
        flow: Flow::Continue,
        list: vec![effect],
    }
}

/// Headers of an answer that passes before its usage is known.
fn passing_headers(state: &ReadingResponse, headers: &HeaderBlock, hides: bool) -> HeaderBlock {
    let mut more = HeaderText::with_capacity(12);
    let estimate = &state.admission.estimate;
    // A flat price is known already; any other would be a guess.
    let cost = (!finish::needs_usage(&state.admission)).then(|| finish::flat_cost(estimate));
    common_headers(
        &mut more,
        &state.call,
        &state.admission,
        cost.unwrap_or(estimate.cost),
        state.responded,
    );
    more.push(
        "x-rateguard-upstream-latency-ms",
        state.responded.ms_since(state.forwarded),
    );
    if let Some(cost) = cost {
        more.push("x-rateguard-cost-cents", cost.cents());
    }
    let grows = hides || state.call.policy.api.stream_cost_comment;
    with_headers(headers, &more, grows)
}

/// Headers of an answer whose cost is known.
fn answer_headers(done: &Done, knows_tokens: bool, now: Now) -> HeaderText {
    let mut more = HeaderText::with_capacity(14);
    common_headers(&mut more, &done.call, &done.admission, done.consumption.cost, now);
    more.push("x-rateguard-upstream-latency-ms", done.upstream_latency_ms);
    more.push("x-rateguard-cost-cents", done.consumption.cost.cents());
    if knows_tokens {
        more.push("x-rateguard-tokens-input", done.consumption.usage.input_tokens());
        more.push(
            "x-rateguard-tokens-output",
            done.consumption.usage.output_tokens(),
        );
    }
    more
}

fn common_headers(more: &mut HeaderText, call: &Call, admission: &Admission, cost: NanoUsd, now: Now) {
    more.push(REQUEST_ID, call.id);
    limits::rule_headers(more, admission.view(), now);
    limits::budget_headers(more, admission.view(), cost);
    more.push("x-rateguard-latency-ms", admission.own_latency_ms);
    if admission.degraded {
        more.push_str("x-rateguard-degraded", "true");
    }
}

/// The response's headers with ours instead of any of the same name.
fn with_headers(headers: &HeaderBlock, more: &HeaderText, body_changes: bool) -> HeaderBlock {
    let kept = headers
        .iter()
        .filter(|(name, _)| !more.has(name) && !(body_changes && *name == b"content-length"));
    let ours = more
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    HeaderBlock::build(&kept.chain(ours).collect::<Vec<_>>())
}

/// Bytes of the answer's body.
pub(super) fn body(
    mut state: Box<ReadingResponse>,
    size: usize,
    body: Option<&[u8]>,
    end_of_stream: bool,
    now: Now,
) -> (Exchange, Effects) {
    if state.first_byte == Now::default() && size > 0 {
        state.first_byte = now;
    }
    match state.answer {
        Answer::Held(_) => held_body(state, size, body, end_of_stream, now),
        Answer::Passing { .. } => passing_body(state, size, body, end_of_stream, now),
    }
}

fn held_body(
    mut state: Box<ReadingResponse>,
    size: usize,
    body: Option<&[u8]>,
    end_of_stream: bool,
    now: Now,
) -> (Exchange, Effects) {
    state.response_bytes = state.response_bytes.max(size as u64);
    let Some(body) = body.or((end_of_stream && size == 0).then_some(&[])) else {
        return (
            Exchange::ReadingResponse(state),
            Effects {
                flow: Flow::Pause,
                list: Vec::new(),
            },
        );
    };
    if let Some(reader) = &mut state.reader {
        reader.push(body);
    }
    if end_of_stream {
        return release_held(state, now);
    }
    // Over what may be held: it goes on, and its cost follows in the trailer and the event.
    let passing = Answer::Passing {
        is_stream: false,
        hider: None,
    };
    let Answer::Held(headers) = std::mem::replace(&mut state.answer, passing) else {
        return (Exchange::ReadingResponse(state), Effects::default());
    };
    let edited = passing_headers(&state, &headers, false);
    (
        Exchange::ReadingResponse(state),
        continue_with(Effect::SetResponseHeaders(edited)),
    )
}

/// The whole of a held answer is there: its headers can tell the cost.
fn release_held(mut state: Box<ReadingResponse>, now: Now) -> (Exchange, Effects) {
    let passing = Answer::Passing {
        is_stream: false,
        hider: None,
    };
    let answer = std::mem::replace(&mut state.answer, passing);
    let done = finish::done(state, Ending::Complete);
    let list = match answer {
        Answer::Held(headers) => {
            let more = answer_headers(&done, true, now);
            vec![Effect::SetResponseHeaders(with_headers(&headers, &more, false))]
        }
        Answer::Passing { .. } => Vec::new(),
    };
    (
        Exchange::Done(Box::new(done)),
        Effects {
            flow: Flow::Continue,
            list,
        },
    )
}

fn passing_body(
    mut state: Box<ReadingResponse>,
    size: usize,
    body: Option<&[u8]>,
    end_of_stream: bool,
    now: Now,
) -> (Exchange, Effects) {
    state.response_bytes = state.response_bytes.saturating_add(size as u64);
    let mut effects = Effects::default();
    if let Some(body) = body {
        if let Some(reader) = &mut state.reader {
            reader.push(body);
        }
        if let Answer::Passing {
            hider: Some(hider), ..
        } = &mut state.answer
            && let std::borrow::Cow::Owned(shown) = hider.push(body)
        {
            effects.list.push(Effect::SetResponseBody(shown));
        }
    }
    if !end_of_stream {
        return (Exchange::ReadingResponse(state), effects);
    }
    let mut tail = Vec::new();
    if let Answer::Passing { hider, .. } = &mut state.answer
        && let Some(hider) = hider.take()
    {
        tail = hider.finish();
    }
    let done = finish::done(state, Ending::Complete);
    tail.extend(cost_comment(&done));
    if !tail.is_empty() {
        effects.list.push(Effect::AppendResponseBody(tail));
    }
    effects.list.extend(cost_trailers(&done));
    (Exchange::Done(Box::new(done)), effects)
}

/// `: rateguard-cost-cents=…`, where the API asks for it.
fn cost_comment(done: &Done) -> Vec<u8> {
    if !done.is_stream || !done.call.policy.api.stream_cost_comment {
        return Vec::new();
    }
    format!(": rateguard-cost-cents={}\n\n", done.consumption.cost.cents()).into_bytes()
}

fn cost_trailers(done: &Done) -> Vec<Effect> {
    if !done.call.wants_trailers {
        return Vec::new();
    }
    let usage = &done.consumption.usage;
    vec![
        Effect::AddResponseTrailer(
            "x-rateguard-cost-cents",
            done.consumption.cost.cents().to_string(),
        ),
        Effect::AddResponseTrailer("x-rateguard-tokens-input", usage.input_tokens().to_string()),
        Effect::AddResponseTrailer("x-rateguard-tokens-output", usage.output_tokens().to_string()),
    ]
}

/// The upstream's trailers end the body without a last body callback.
pub(super) fn trailers(state: Box<ReadingResponse>, body: Option<&[u8]>, now: Now) -> (Exchange, Effects) {
    if matches!(state.answer, Answer::Held(_)) {
        return held_body(
            state,
            body.map_or(0, <[u8]>::len),
            Some(body.unwrap_or_default()),
            true,
            now,
        );
    }
    // Nothing can be added to a body any more.
    let done = finish::done(state, Ending::Complete);
    let list = cost_trailers(&done);
    (
        Exchange::Done(Box::new(done)),
        Effects {
            flow: Flow::Continue,
            list,
        },
    )
}

/// Envoy answered instead of the upstream.
fn local(
    state: Box<Forwarding>,
    headers: &HeaderBlock,
    end_of_stream: bool,
    code: ErrorCode,
    reached_upstream: bool,
    now: Now,
) -> (Exchange, Effects) {
    let Forwarding {
        call,
        admission,
        forwarded,
        ..
    } = *state;
    let done = Done {
        upstream_latency_ms: now.ms_since(forwarded),
        ttft_ms: 0,
        response_bytes: 0,
        is_stream: false,
        status: code.status(),
        consumption: finish::nothing(!reached_upstream),
        error_type: ErrorType::Code(code),
        replacement: None,
        call,
        admission,
    };
    answer_locally(done, headers, end_of_stream, code, now)
}

fn answer_locally(
    mut done: Done,
    headers: &HeaderBlock,
    end_of_stream: bool,
    code: ErrorCode,
    now: Now,
) -> (Exchange, Effects) {
    let refusal = Refusal::new(code);
    let mut more = refusal.headers(&done.call.id);
    let cost = done.consumption.cost;
    let mut common = HeaderText::with_capacity(10);
    common_headers(&mut common, &done.call, &done.admission, cost, now);
    common.push("x-rateguard-cost-cents", cost.cents());
    for (name, value) in common.iter().filter(|(name, _)| *name != REQUEST_ID) {
        more.push_str(name, value);
    }
    let body = refusal.body(&done.call.id);
    let (mut effects, replacement) = replace(headers, end_of_stream, done.call.is_head(), code, &more, body);
    effects.list.push(Effect::Count(Metric::LocalReply));
    done.replacement = replacement;
    (Exchange::Done(Box::new(done)), effects)
}

/// A local answer before any upstream was tried: over the buffer, too slow, or refused by Envoy itself.
pub(super) fn early(
    state: Exchange,
    headers: &HeaderBlock,
    end_of_stream: bool,
    details: &[u8],
    world: World<'_>,
) -> (Exchange, Effects) {
    let status = Seen::read(headers).status;
    let LocalReply::Map { code, .. } = local_reply::read(status, details, world.config.mode) else {
        return (state, Effects::default());
    };
    let mut list = vec![
        Effect::Count(Metric::LocalReply),
        Effect::Count(Metric::Refused(code)),
    ];
    let call = match state {
        Exchange::ReadingRequest(reading) => reading.call,
        Exchange::Reserving(reserving) => {
            list.push(Effect::CancelReserve);
            list.push(super::request::release_of(&reserving));
            reserving.call
        }
        // Our own reply on its way out, or one that is not ours to touch.
        other => return (other, Effects::default()),
    };
    let refusal = Refusal::new(code);
    let more = refusal.headers(&call.id);
    let body = refusal.body(&call.id);
    let (mut effects, replacement) = replace(headers, end_of_stream, call.is_head(), code, &more, body);
    effects.list.extend(list);
    let rejected = Rejected {
        id: call.id,
        started: call.started,
        key: Some(Rc::clone(&call.key)),
        method: String::new(),
        call: Some(call),
        code,
        rule_id: None,
        budget_id: None,
        shadow: false,
        degraded: false,
        replacement,
    };
    (Exchange::Rejected(Box::new(rejected)), effects)
}

/// Gives an answer of Envoy's our status, headers and body. One without a body cannot be given one: it is answered
/// anew.
fn replace(
    headers: &HeaderBlock,
    end_of_stream: bool,
    is_head: bool,
    code: ErrorCode,
    more: &HeaderText,
    body: String,
) -> (Effects, Option<Vec<u8>>) {
    if end_of_stream && !is_head {
        let reply = crate::effect::Reply {
            status: code.status(),
            headers: more
                .iter()
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
            body,
        };
        return (
            Effects {
                flow: Flow::Pause,
                list: vec![Effect::Reply(Box::new(reply))],
            },
            None,
        );
    }
    let status = code.status().to_string();
    let length = body.len().to_string();
    let kept = headers.iter().filter(|(name, _)| {
        !more.has(name) && !matches!(*name, b":status" | b"content-length" | b"content-encoding")
    });
    let ours = more
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut all: Vec<(&[u8], &[u8])> = vec![(b":status", status.as_bytes())];
    all.extend(kept.chain(ours));
    all.push((b"content-length", length.as_bytes()));
    let effects = continue_with(Effect::SetResponseHeaders(HeaderBlock::build(&all)));
    (effects, Some(body.into_bytes()))
}
