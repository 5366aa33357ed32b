//! One HTTP stream: callbacks become events, effects become host calls.

use crate::encode;
use crate::host::{self, Buffer, Headers};
use crate::worker::Worker;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use rateguard_filter::effect::{Effect, Effects, Flow, ReserveCall};
use rateguard_filter::event::{Event, Now, Reserved};
use rateguard_filter::exchange::{Exchange, World};
use std::cell::RefCell;
use std::rc::Rc;

/// Envoy's router puts this on every response of an upstream, and no upstream can: it is overwritten.
const FROM_UPSTREAM: &[u8] = b"x-envoy-upstream-service-time";

pub(crate) struct Stream {
    id: u32,
    worker: Rc<Worker>,
    /// Shared while its answer is held: the root context may have to end it.
    exchange: Rc<RefCell<Exchange>>,
    held_until: Option<Now>,
    /// The call that asks for the reservation.
    reserve: Option<(u32, Box<ReserveCall>)>,
}

/// What an event makes of an exchange.
fn step(worker: &Worker, exchange: &RefCell<Exchange>, event: Event<'_>, now: Now) -> Effects {
    let (snapshot, averages) = (worker.snapshot.borrow(), worker.averages.borrow());
    let world = World {
        config: &worker.config,
        snapshot: &snapshot,
        averages: &averages,
    };
    let mut leases = worker.leases.borrow_mut();
    let (next, effects) = exchange.take().step_with_leases(event, world, now, &mut leases);
    exchange.replace(next);
    effects
}

/// Ends a held answer from outside its stream's callbacks; the host acts for that stream meanwhile.
pub(crate) fn hold_expired(worker: &Worker, exchange: &RefCell<Exchange>, now: Now) {
    for effect in step(worker, exchange, Event::HoldExpired, now).list {
        match effect {
            Effect::Reply(reply) => host::reply(reply.status, &reply.headers, &reply.body),
            other => worker.apply(other, now),
        }
    }
}

impl Stream {
    pub(crate) fn new(id: u32, worker: Rc<Worker>) -> Self {
        Self {
            id,
            worker,
            exchange: Rc::default(),
            held_until: None,
            reserve: None,
        }
    }

    fn step(&mut self, event: Event<'_>, now: Now) -> Action {
        let effects = step(&self.worker, &self.exchange, event, now);
        self.run(effects, now)
    }

    fn run(&mut self, effects: Effects, now: Now) -> Action {
        for effect in effects.list {
            self.apply(effect, now);
        }
        match effects.flow {
            Flow::Continue => Action::Continue,
            Flow::Pause => Action::Pause,
        }
    }

    fn apply(&mut self, effect: Effect, now: Now) {
        let worker = &self.worker;
        let refused = match effect {
            Effect::Reserve(call) => {
                self.reserve(call, now);
                Ok(())
            }
            // The call itself ends with the stream's context, or at its deadline.
            Effect::CancelReserve => {
                self.reserve = None;
                Ok(())
            }
            Effect::EditRequestHeaders(edits) => host::edit_headers(Headers::Request, &edits),
            Effect::ChooseRoute => host::clear_route_cache(),
            Effect::SetRequestBody(body) => host::replace_buffer(Buffer::RequestBody, &body),
            Effect::ResumeRequest => host::resume_request(),
            Effect::EditResponseHeaders(edits) => host::edit_headers(Headers::Response, &edits),
            Effect::SetResponseBody(body) => host::replace_buffer(Buffer::ResponseBody, &body),
            Effect::AppendResponseBody(body) => host::append_buffer(Buffer::ResponseBody, &body),
            Effect::AddResponseTrailer(name, value) => {
                host::add_header(Headers::ResponseTrailers, name, &value)
            }
            Effect::Hold { until } => {
                self.held_until = Some(until);
                let exchange = Rc::clone(&self.exchange);
                worker.held.borrow_mut().insert(until, self.id, exchange);
                Ok(())
            }
            Effect::Reply(reply) => {
                host::reply(reply.status, &reply.headers, &reply.body);
                Ok(())
            }
            other => {
                worker.apply(other, now);
                Ok(())
            }
        };
        if let Err(error) = refused {
            // Envoy's half of the stream is gone, or was never as expected: what comes next decides.
            log::warn!("a stream's effect was not applied: {error}");
        }
    }

    fn reserve(&mut self, call: Box<ReserveCall>, now: Now) {
        match self.worker.call_reserve(&call) {
            Some(token) => self.reserve = Some((token, call)),
            None => self.reserve_failed(&call, now),
        }
    }

    fn reserve_failed(&mut self, call: &ReserveCall, now: Now) {
        self.worker.leases.borrow_mut().answered(call, None, now);
        let effects = {
            let shares = self.worker.shares.borrow();
            let event = Event::ReserveFailed { shares: &shares };
            step(&self.worker, &self.exchange, event, now)
        };
        self.run(effects, now);
    }

    /// Of the request's end, be it in its body or its trailers.
    fn request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let body = self
            .exchange
            .borrow()
            .wants_request_body(end_of_stream)
            .then(|| host::buffer(Buffer::RequestBody, size).unwrap_or_default());
        self.step(
            Event::RequestBody {
                size,
                body: body.as_deref(),
                end_of_stream,
            },
            now,
        )
    }
}

/// The limit service's answer at hand. Whatever is not one well-formed answer, Envoy's own 503 and 504 included, is no
/// answer.
pub(crate) fn reserve_answer(size: usize, quota_count: usize) -> Option<Reserved> {
    let body = host::buffer(Buffer::HttpCallResponseBody, size).ok()?;
    encode::reserved(encode::unframed(&body)?, quota_count)
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, _headers: usize, size: usize, _trailers: usize) {
        let Some((_, call)) = self.reserve.take_if(|(expected, _)| *expected == token) else {
            return;
        };
        let now = host::now();
        match reserve_answer(size, call.quotas.len()) {
            Some(reserved) => {
                self.worker
                    .leases
                    .borrow_mut()
                    .answered(&call, Some(&reserved), now);
                self.step(Event::ReserveAnswered(reserved), now);
            }
            None => self.reserve_failed(&call, now),
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let headers = host::headers(Headers::Request).unwrap_or_default();
        #[cfg(feature = "fault-injection")]
        assert!(
            headers.get(b"x-rateguard-test-panic").is_none(),
            "asked to panic by x-rateguard-test-panic"
        );
        let Some(id) = self.worker.random.borrow_mut().request_id(now) else {
            host::reply(500, &[], "");
            return Action::Pause;
        };
        let peer = self
            .worker
            .needs_peer()
            .then(|| host::property("source\0address"))
            .flatten();
        let event = Event::RequestHeaders {
            headers,
            end_of_stream,
            id,
            peer: peer.as_deref(),
        };
        self.step(event, now)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.request_body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.request_body(self.worker.config.listener_buffer_bytes as usize, true)
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let headers = host::headers(Headers::Response).unwrap_or_default();
        let details = headers
            .get(FROM_UPSTREAM)
            .is_none()
            .then(|| host::property("response\0code_details"))
            .flatten();
        self.step(
            Event::ResponseHeaders {
                headers,
                end_of_stream,
                details: details.as_deref(),
            },
            now,
        )
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let now = host::now();
        let body = self
            .exchange
            .borrow()
            .wants_response_body(size, end_of_stream, &self.worker.config)
            .then(|| host::buffer(Buffer::ResponseBody, size).unwrap_or_default());
        self.step(
            Event::ResponseBody {
                size,
                body: body.as_deref(),
                end_of_stream,
            },
            now,
        )
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        let now = host::now();
        let body = self
            .exchange
            .borrow()
            .wants_response_body(0, true, &self.worker.config)
            .then(|| host::buffer(Buffer::ResponseBody, usize::MAX).unwrap_or_default());
        self.step(
            Event::ResponseTrailers {
                body: body.as_deref(),
            },
            now,
        )
    }

    fn on_log(&mut self) {
        if let Some(until) = self.held_until.take() {
            self.worker.held.borrow_mut().remove(until, self.id);
        }
        let details = self
            .exchange
            .borrow()
            .is_unfinished()
            .then(|| host::property("response\0code_details"))
            .flatten();
        self.step(
            Event::Ended {
                details: details.as_deref(),
            },
            host::now(),
        );
    }
}
