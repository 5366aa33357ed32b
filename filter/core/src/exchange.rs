//! One request and its response: what is known at each step, and what each event makes of it.
//!
//! [`Exchange::step`] is the only door. It consumes the state, so that a finished exchange cannot go on, and takes
//! time, ids and configuration as arguments. Every state owns exactly what is valid then.

mod admission;
mod finish;
mod forward;
mod local;
mod record;
mod refuse;
mod request;
mod response;

use crate::averages::Averages;
use crate::config::Config;
use crate::effect::{Effect, Effects, Flow, Metric, Warning};
use crate::estimate::Estimate;
use crate::event::{Event, Now, QuotaResult};
use crate::headers::HeaderBlock;
use crate::limits::View;
use crate::policy::{Label, Policy};
use crate::request_body::RequestFacts;
use crate::snapshot::Snapshot;
use crate::sse_edit::UsageChunkHider;
use crate::usage::Reader;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::{QuotaId, RequestId};
use rateguard_model::quota::Quota;
use rateguard_model::resource::Key;
use rateguard_model::usage::{TokenUsage, UsageSource};
use std::rc::Rc;

/// What does not change between two requests.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub config: &'a Config,
    pub snapshot: &'a Snapshot,
    pub averages: &'a Averages,
}

/// Where an exchange is.
#[derive(Debug, Default)]
pub enum Exchange {
    /// Nothing has come yet.
    #[default]
    Opened,
    /// Identified; the body is awaited because the price needs it.
    ReadingRequest(Box<ReadingRequest>),
    /// The limit service is being asked.
    Reserving(Box<Reserving>),
    /// Admitted and on its way upstream.
    Forwarding(Box<Forwarding>),
    /// The upstream, or Envoy for it, is answering.
    ReadingResponse(Box<ReadingResponse>),
    /// Answered; what is left is to settle and to record.
    Done(Box<Done>),
    /// We answered.
    Rejected(Box<Rejected>),
    /// The operator exempted it.
    Bypassed,
    /// Settled and recorded.
    Over,
}

/// Who calls what: fixed once the key and the API are known.
#[derive(Debug)]
pub struct Call {
    pub id: RequestId,
    pub started: Now,
    pub key: Rc<Key>,
    pub policy: Rc<Policy>,
    pub method: String,
    /// As it goes upstream.
    pub path: String,
    /// Length of `path` without its query.
    pub path_length: usize,
    pub request_bytes: u64,
    /// The client said `TE: trailers`.
    pub wants_trailers: bool,
    /// Valid pairs of `X-RateGuard-Tags`.
    pub tags: Vec<(String, String)>,
    /// What the body said, where it was read.
    pub facts: Option<RequestFacts>,
}

impl Call {
    /// Without the query.
    pub fn endpoint(&self) -> &str {
        self.path.get(..self.path_length).unwrap_or(&self.path)
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

#[derive(Debug)]
pub struct ReadingRequest {
    call: Box<Call>,
    headers: HeaderBlock,
    peer: Option<std::net::IpAddr>,
}

#[derive(Debug)]
pub struct Reserving {
    call: Box<Call>,
    headers: HeaderBlock,
    quotas: Rc<[Quota]>,
    labels: Vec<Rc<Label>>,
    estimate: Estimate,
    /// When our own work began: the request was complete as far as we needed it.
    asked: Now,
    /// The body was changed so that the stream ends with its usage.
    injected: bool,
}

/// What was reserved, and how the real usage will be priced.
#[derive(Debug)]
pub struct Admission {
    quotas: Rc<[Quota]>,
    labels: Vec<Rc<Label>>,
    /// Empty when the ledger could not be asked.
    results: Vec<QuotaResult>,
    estimate: Estimate,
    degraded: bool,
    reserved_at_ms: i64,
    /// Our own share of the latency until the request went on.
    own_latency_ms: u32,
}

impl Admission {
    fn view(&self) -> View<'_> {
        View {
            quotas: &self.quotas,
            labels: &self.labels,
            results: &self.results,
        }
    }
}

#[derive(Debug)]
pub struct Forwarding {
    call: Box<Call>,
    admission: Admission,
    forwarded: Now,
    injected: bool,
}

#[derive(Debug)]
pub struct ReadingResponse {
    call: Box<Call>,
    admission: Admission,
    status: u16,
    forwarded: Now,
    responded: Now,
    /// Zero until the first byte of the body.
    first_byte: Now,
    response_bytes: u64,
    reader: Option<Reader>,
    answer: Answer,
}

/// How a response's body passes.
#[derive(Debug)]
enum Answer {
    /// Kept back whole, so that its headers can tell the cost.
    Held(HeaderBlock),
    /// Passes at once.
    Passing {
        is_stream: bool,
        hider: Option<Box<UsageChunkHider>>,
    },
}

#[derive(Debug)]
pub struct Done {
    call: Box<Call>,
    admission: Admission,
    status: u16,
    upstream_latency_ms: u32,
    ttft_ms: u32,
    response_bytes: u64,
    is_stream: bool,
    consumption: Consumption,
    /// Code of a local reply, or why the exchange broke off.
    error_type: ErrorType,
    /// Body that takes the place of Envoy's own, until it was handed over.
    replacement: Option<Vec<u8>>,
}

/// What the exchange used in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumption {
    pub usage: TokenUsage,
    pub cost: rateguard_model::money::NanoUsd,
    pub source: Option<UsageSource>,
    pub model: Option<String>,
    /// Nothing reached the upstream: everything goes back, the request itself too.
    pub released: bool,
}

/// `error_type` of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// By the upstream's status.
    Upstream,
    Code(ErrorCode),
    ClientClosed,
}

/// A request that we answered.
#[derive(Debug)]
pub struct Rejected {
    id: RequestId,
    started: Now,
    /// Unknown until a key named a workspace.
    key: Option<Rc<Key>>,
    /// Known once the API was found.
    call: Option<Box<Call>>,
    method: String,
    code: ErrorCode,
    rule_id: Option<QuotaId>,
    budget_id: Option<QuotaId>,
    shadow: bool,
    degraded: bool,
    /// Body that takes the place of Envoy's own, until it was handed over.
    replacement: Option<Vec<u8>>,
}

impl Exchange {
    /// What an event makes of an exchange.
    pub fn step(self, event: Event<'_>, world: World<'_>, now: Now) -> (Self, Effects) {
        match (self, event) {
            (
                Self::Opened,
                Event::RequestHeaders {
                    headers,
                    end_of_stream,
                    id,
                    peer,
                },
            ) => request::headers(headers, end_of_stream, id, peer, world, now),
            (
                Self::ReadingRequest(state),
                Event::RequestBody {
                    size,
                    body,
                    end_of_stream,
                },
            ) => request::body(state, size, body, end_of_stream, world, now),
            // While the decision is pending nothing may pass: `Continue` here would forward the request.
            (state @ Self::Reserving(_), Event::RequestBody { .. }) => paused(state),
            (Self::Reserving(state), Event::ReserveAnswered(reserved)) => {
                admission::answered(state, reserved, world, now)
            }
            (Self::Reserving(state), Event::ReservedJointly(reserved)) => {
                admission::answered_jointly(state, reserved, world, now)
            }
            (Self::Reserving(state), Event::ReserveFailed { shares }) => {
                admission::failed(state, shares, world, now)
            }
            (Self::Forwarding(mut state), Event::RequestBody { size, .. }) => {
                state.call.request_bytes = state.call.request_bytes.saturating_add(size as u64);
                (Self::Forwarding(state), Effects::default())
            }
            (
                Self::Forwarding(state),
                Event::ResponseHeaders {
                    headers,
                    end_of_stream,
                    details,
                },
            ) => response::headers(state, headers, end_of_stream, details, world, now),
            (
                state,
                Event::ResponseHeaders {
                    headers,
                    end_of_stream,
                    details: Some(details),
                },
            ) => local::early(state, &headers, end_of_stream, details, world),
            (
                Self::ReadingResponse(state),
                Event::ResponseBody {
                    size,
                    body,
                    end_of_stream,
                },
            ) => response::body(state, size, body, end_of_stream, now),
            (Self::ReadingResponse(state), Event::HoldExpired) => local::hold_expired(state, now),
            (Self::ReadingResponse(state), Event::ResponseTrailers { body }) => {
                response::trailers(state, body, now)
            }
            (Self::Done(mut state), Event::ResponseBody { .. }) => {
                let effects = replace_body(&mut state.replacement);
                (Self::Done(state), effects)
            }
            (Self::Rejected(mut state), Event::ResponseBody { .. }) => {
                let effects = replace_body(&mut state.replacement);
                (Self::Rejected(state), effects)
            }
            (state, Event::Ended { details }) => finish::ended(state, details, now),
            (state, event) => state.unmoved(&event),
        }
    }

    /// Whether the body that is buffered is to be handed over with the next [`Event::RequestBody`].
    pub fn wants_request_body(&self, end_of_stream: bool) -> bool {
        end_of_stream && matches!(self, Self::ReadingRequest(_))
    }

    /// Whether the body at hand is to be handed over with [`Event::ResponseBody`]: all that is buffered if the answer
    /// is held, else the chunk.
    pub fn wants_response_body(&self, size: usize, end_of_stream: bool, config: &Config) -> bool {
        match self {
            Self::ReadingResponse(state) => match &state.answer {
                Answer::Held(_) => end_of_stream || size as u64 > config.response_hold_max_bytes,
                Answer::Passing { .. } => size > 0 && state.reader.is_some(),
            },
            Self::Opened
            | Self::ReadingRequest(_)
            | Self::Reserving(_)
            | Self::Forwarding(_)
            | Self::Done(_)
            | Self::Rejected(_)
            | Self::Bypassed
            | Self::Over => false,
        }
    }

    /// Whether it is still to be told why it ended, if it ends here.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Forwarding(_) | Self::ReadingResponse(_))
    }

    /// Whether request bytes may still not pass.
    fn holds_request(&self) -> bool {
        matches!(
            self,
            Self::Opened | Self::ReadingRequest(_) | Self::Reserving(_) | Self::Rejected(_)
        )
    }

    /// Events that change nothing here. Late answers and our own replies on their way out are normal.
    fn unmoved(self, event: &Event<'_>) -> (Self, Effects) {
        let mut effects = Effects::default();
        let expected = match event {
            Event::RequestBody { .. } => {
                if self.holds_request() {
                    effects.flow = Flow::Pause;
                }
                true
            }
            Event::ResponseHeaders { .. }
            | Event::ResponseBody { .. }
            | Event::ResponseTrailers { .. }
            | Event::HoldExpired
            | Event::Ended { .. } => true,
            Event::ReserveAnswered(_) | Event::ReservedJointly(_) | Event::ReserveFailed { .. } => {
                !matches!(self, Self::Opened)
            }
            Event::RequestHeaders { .. } => {
                effects.flow = Flow::Pause;
                false
            }
        };
        if !expected {
            effects.list.push(Effect::Count(Metric::OutOfOrder));
            effects.list.push(Effect::Warn(Warning::OutOfOrder));
        }
        (self, effects)
    }
}

fn paused(state: Exchange) -> (Exchange, Effects) {
    (
        state,
        Effects {
            flow: Flow::Pause,
            list: Vec::new(),
        },
    )
}

fn replace_body(replacement: &mut Option<Vec<u8>>) -> Effects {
    let list = replacement
        .take()
        .map(Effect::SetResponseBody)
        .into_iter()
        .collect();
    Effects {
        flow: Flow::Continue,
        list,
    }
}
