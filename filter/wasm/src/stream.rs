//! One HTTP stream's exchange, and what its effects make the host do. The root context acts for a stream too: it makes
//! the calls that streams wait for, and ends answers that are held too long.

use crate::host::{self, Buffer, Headers};
use crate::worker::Worker;
use proxy_wasm::types::Action;
use rateguard_filter::effect::{Effect, Effects, Flow};
use rateguard_filter::event::{Event, Now};
use rateguard_filter::exchange::{Exchange, World};
use rateguard_filter::lease::Verdict;
use rateguard_model::id::RequestId;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(crate) struct Stream {
    id: u32,
    exchange: RefCell<Exchange>,
    held_until: Cell<Option<Now>>,
    /// Waits at the desk as this request.
    reserving: Cell<Option<RequestId>>,
}

impl Stream {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            exchange: RefCell::default(),
            held_until: Cell::default(),
            reserving: Cell::default(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn exchange(&self) -> std::cell::Ref<'_, Exchange> {
        self.exchange.borrow()
    }

    /// What an event makes of the exchange, done. The host must be acting for this stream.
    pub(crate) fn step(self: &Rc<Self>, worker: &Worker, event: Event<'_>, now: Now) -> Action {
        let effects = self.stepped(worker, event, now);
        self.run(worker, effects, now)
    }

    fn run(self: &Rc<Self>, worker: &Worker, effects: Effects, now: Now) -> Action {
        for effect in effects.list {
            self.apply(worker, effect, now);
        }
        match effects.flow {
            Flow::Continue => Action::Continue,
            Flow::Pause => Action::Pause,
        }
    }

    /// The reservation that it waits for was decided.
    pub(crate) fn reserved(self: &Rc<Self>, worker: &Worker, verdict: Verdict, now: Now) {
        self.reserving.set(None);
        let effects = match verdict {
            Verdict::Own(reserved) => self.stepped(worker, Event::ReserveAnswered(reserved), now),
            Verdict::Joint(reserved) => self.stepped(worker, Event::ReservedJointly(reserved), now),
            Verdict::Failed => {
                let shares = worker.shares.borrow();
                self.stepped(worker, Event::ReserveFailed { shares: &shares }, now)
            }
        };
        self.run(worker, effects, now);
    }

    /// No answer is held any more.
    pub(crate) fn let_go(&self, worker: &Worker) {
        if let Some(until) = self.held_until.take() {
            worker.held.borrow_mut().remove(until, self.id);
        }
    }

    fn stepped(&self, worker: &Worker, event: Event<'_>, now: Now) -> Effects {
        let (snapshot, averages) = (worker.snapshot.borrow(), worker.averages.borrow());
        let world = World {
            config: &worker.config,
            snapshot: &snapshot,
            averages: &averages,
        };
        let mut leases = worker.leases.borrow_mut();
        let (next, effects) = self
            .exchange
            .take()
            .step_with_leases(event, world, now, &mut leases);
        self.exchange.replace(next);
        effects
    }

    fn apply(self: &Rc<Self>, worker: &Worker, effect: Effect, now: Now) {
        let refused = match effect {
            Effect::Reserve(call) => {
                self.reserving.set(Some(call.id));
                worker.desk.enter(Rc::clone(self), *call, now);
                Ok(())
            }
            Effect::CancelReserve => {
                if let Some(id) = self.reserving.take() {
                    worker.desk.leave(&id);
                }
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
                self.held_until.set(Some(until));
                worker.held.borrow_mut().insert(until, Rc::clone(self));
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
}
