//! Answers that Envoy gives itself, put into our words.

use super::finish::Ending;
use super::response::{Seen, common_headers, continue_with, set_all};
use super::{
    Answer, Done, ErrorType, Exchange, Forwarding, ReadingResponse, Rejected, World, admission, finish,
};
use crate::edits::HeaderEdits;
use crate::effect::{Effect, Effects, Flow, Metric, Reply};
use crate::event::Now;
use crate::headers::HeaderBlock;
use crate::local_reply::{self, LocalReply};
use crate::reply::{REQUEST_ID, Refusal};
use crate::text::HeaderText;
use rateguard_model::error_code::ErrorCode;
use std::rc::Rc;

/// Envoy answered instead of the upstream.
pub(super) fn answer(
    state: Forwarding,
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
    } = state;
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
    let more = refusal_headers(&refusal, &done, now);
    let body = refusal.body(&done.call.id);
    let (mut effects, replacement) = replace(headers, end_of_stream, done.call.is_head(), code, &more, body);
    effects.list.push(Effect::Count(Metric::LocalReply));
    done.replacement = replacement;
    (Exchange::Done(Box::new(done)), effects)
}

/// What the error says, and what every answer to an admitted request does.
fn refusal_headers(refusal: &Refusal, done: &Done, now: Now) -> HeaderText {
    let mut more = refusal.headers(&done.call.id);
    let cost = done.consumption.cost;
    let mut common = HeaderText::with_capacity(10);
    common_headers(&mut common, &done.call, &done.admission, cost, now);
    common.push("x-rateguard-cost-cents", cost.cents());
    for (name, value) in common.iter().filter(|(name, _)| *name != REQUEST_ID) {
        more.push_str(name, value);
    }
    more
}

/// The API's time is over and its answer, held for its headers, is not whole: the client has seen nothing of it. The
/// upstream has worked on it and will bill it.
pub(super) fn hold_expired(state: Box<ReadingResponse>, now: Now) -> (Exchange, Effects) {
    if !matches!(state.answer, Answer::Held(_)) {
        return (Exchange::ReadingResponse(state), Effects::default());
    }
    let code = ErrorCode::UpstreamTimeout;
    let mut done = finish::done(state, Ending::Broken);
    done.status = code.status();
    done.error_type = ErrorType::Code(code);
    let refusal = Refusal::new(code);
    let reply = Reply {
        status: code.status(),
        headers: refusal_headers(&refusal, &done, now)
            .iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect(),
        body: refusal.body(&done.call.id),
    };
    let effects = Effects {
        flow: Flow::Pause,
        list: vec![Effect::Count(Metric::LocalReply), Effect::Reply(Box::new(reply))],
    };
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
            list.push(admission::release_of(&reserving));
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
        let reply = Reply {
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
    let mut edits = HeaderEdits::with_capacity(16);
    edits.set(true, b":status", status.as_bytes());
    edits.set(
        headers.get(b"content-length").is_some(),
        b"content-length",
        length.as_bytes(),
    );
    set_all(&mut edits, headers, more);
    let effects = continue_with(Effect::EditResponseHeaders(edits));
    (effects, Some(body.into_bytes()))
}
