//! From the response's headers to its end.

use super::finish::{self, Ending};
use super::{Admission, Answer, Call, Done, Exchange, Forwarding, ReadingResponse, World, local};
use crate::edits::HeaderEdits;
use crate::effect::{Effect, Effects, Flow};
use crate::event::Now;
use crate::headers::HeaderBlock;
use crate::limits;
use crate::local_reply::{self, LocalReply};
use crate::reply::REQUEST_ID;
use crate::sse_edit::UsageChunkHider;
use crate::text::HeaderText;
use crate::usage::Reader;
use rateguard_model::money::NanoUsd;
use rateguard_model::usage::UsageFormat;

/// What the response's headers say.
#[derive(Default)]
pub(super) struct Seen<'a> {
    pub(super) status: u16,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    content_length: Option<u64>,
}

impl<'a> Seen<'a> {
    pub(super) fn read(headers: &'a HeaderBlock) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
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
        return local::answer(*state, &headers, end_of_stream, code, reached_upstream, now);
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
    let held = world.config.hold_responses
        && has_body
        && !is_stream
        && seen.is_json()
        && finish::needs_usage(&admission)
        && seen
            .content_length
            .is_none_or(|length| length <= world.config.response_hold_max_bytes);
    let hider = (injected && has_body && is_stream && seen.is_plain()).then(Box::<UsageChunkHider>::default);
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
        let until = state.forwarded.plus_ms(state.call.policy.api.timeout_ms);
        let state = ReadingResponse {
            answer: Answer::Held(headers),
            ..state
        };
        return (
            Exchange::ReadingResponse(Box::new(state)),
            Effects {
                flow: Flow::Pause,
                list: vec![Effect::Hold { until }],
            },
        );
    }
    if !has_body {
        let done = finish::done(Box::new(state), Ending::Complete);
        let more = answer_headers(&done, true, now);
        let headers = with_headers(&headers, &more, false);
        return (
            Exchange::Done(Box::new(done)),
            continue_with(Effect::EditResponseHeaders(headers)),
        );
    }
    let edited = passing_headers(&state, &headers, hides);
    (
        Exchange::ReadingResponse(Box::new(state)),
        continue_with(Effect::EditResponseHeaders(edited)),
    )
}

pub(super) fn continue_with(effect: Effect) -> Effects {
    Effects {
        flow: Flow::Continue,
        list: vec![effect],
    }
}

/// Headers of an answer that passes before its usage is known.
fn passing_headers(state: &ReadingResponse, headers: &HeaderBlock, hides: bool) -> HeaderEdits {
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

pub(super) fn common_headers(
    more: &mut HeaderText,
    call: &Call,
    admission: &Admission,
    cost: NanoUsd,
    now: Now,
) {
    more.push(REQUEST_ID, call.id);
    limits::rule_headers(more, admission.view(), now);
    limits::budget_headers(more, admission.view(), cost);
    more.push("x-rateguard-latency-ms", admission.own_latency_ms);
    if admission.degraded {
        more.push_str("x-rateguard-degraded", "true");
    }
}

/// Our headers instead of any of the same name.
fn with_headers(headers: &HeaderBlock, more: &HeaderText, body_changes: bool) -> HeaderEdits {
    let mut edits = HeaderEdits::with_capacity(16);
    set_all(&mut edits, headers, more);
    if body_changes && headers.get(b"content-length").is_some() {
        edits.remove(b"content-length");
    }
    edits
}

pub(super) fn set_all(edits: &mut HeaderEdits, headers: &HeaderBlock, more: &HeaderText) {
    // An upstream rarely says any of them.
    let any_there = headers.iter().any(|(name, _)| more.has(name));
    for (name, value) in more.iter() {
        let is_there = any_there && headers.get(name.as_bytes()).is_some();
        edits.set(is_there, name.as_bytes(), value.as_bytes());
    }
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
        Answer::Passing { .. } => passing_body(state, size, body, end_of_stream),
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
        continue_with(Effect::EditResponseHeaders(edited)),
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
            vec![Effect::EditResponseHeaders(with_headers(&headers, &more, false))]
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
