//! Requests that wait for their reservations. All of their calls are made from the root context, which outlives streams
//! and is told at once, by a queue of its own, that somebody waits: what comes in one turn of the event loop goes
//! together.

use crate::encode;
use crate::host::{self, Buffer};
use crate::metrics::Own;
use crate::stream::Stream;
use crate::worker::Worker;
use rateguard_filter::config::Config;
use rateguard_filter::effect::ReserveCall;
use rateguard_filter::event::{Now, Reserved};
use rateguard_filter::lease::{self, Ask, JointCounts, Outcome, Verdict};
use rateguard_model::id::RequestId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) struct Desk {
    queues: RefCell<lease::Desk>,
    /// Who waits, by request.
    streams: RefCell<BTreeMap<RequestId, Rc<Stream>>>,
    /// Calls under way, by token: reservation, and how many quotas it has.
    calls: RefCell<BTreeMap<u32, (RequestId, usize)>>,
    /// `None`: the host has no such thing, and the tick looks after those who wait.
    bell: Option<u32>,
    is_rung: Cell<bool>,
}

impl Desk {
    /// In the callback of the root context that is to serve.
    pub(crate) fn open(config: &Config, worker_id: u64) -> Self {
        let queues = lease::Desk::new(config.joint_reservations, config.reserve_timeout_ms);
        Self {
            queues: RefCell::new(queues),
            streams: RefCell::default(),
            calls: RefCell::default(),
            bell: host::register_queue(&format!("rateguard-desk-{worker_id:016x}")),
            is_rung: Cell::new(false),
        }
    }

    pub(crate) fn enter(&self, stream: Rc<Stream>, call: ReserveCall, now: Now) {
        self.streams.borrow_mut().insert(call.id, stream);
        if self.queues.borrow_mut().enter(call, now) {
            self.ring();
        }
    }

    /// Has the root context called back at the end of this turn of the event loop.
    fn ring(&self) {
        if let Some(bell) = self.bell
            && !self.is_rung.get()
        {
            self.is_rung.set(host::enqueue(bell));
        }
    }

    pub(crate) fn leave(&self, id: &RequestId) {
        self.streams.borrow_mut().remove(id);
        self.queues.borrow_mut().leave(id);
    }

    /// The bell rang; `root` is whose callback this is.
    pub(crate) fn rang(&self, worker: &Worker, queue: u32, root: u32, now: Now) {
        if self.bell == Some(queue) {
            host::dequeue(queue);
            self.is_rung.set(false);
            self.serve(worker, root, now);
        }
    }

    pub(crate) fn tick(&self, worker: &Worker, root: u32, now: Now) {
        let late = self.queues.borrow_mut().tick(now);
        let failed = late.into_iter().map(|id| (id, Verdict::Failed)).collect();
        self.tell(worker, failed, root, now);
        self.serve(worker, root, now);
        // A ring that the host lost must not be waited for.
        self.is_rung.set(false);
        let JointCounts {
            drawn,
            granted,
            refused,
        } = self.queues.borrow_mut().take_counts();
        for (own, count) in [
            (Own::JointAdmissions, drawn),
            (Own::JointReservationsGranted, granted),
            (Own::JointReservationsRefused, refused),
        ] {
            worker.metrics.count_own(own, count);
        }
    }

    /// A call came back; `false`: not one of these.
    pub(crate) fn answered(&self, worker: &Worker, token: u32, size: usize, root: u32, now: Now) -> bool {
        let Some((id, quota_count)) = self.calls.borrow_mut().remove(&token) else {
            return false;
        };
        let reserved = reserve_answer(size, quota_count);
        self.settle(worker, id, reserved, root, now);
        // Whoever comes in the same turn goes along.
        if self.queues.borrow().has_asks() {
            self.ring();
        }
        true
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queues.borrow().is_idle()
    }

    /// Makes the calls that are to be made.
    fn serve(&self, worker: &Worker, root: u32, now: Now) {
        loop {
            let asks = {
                let mut random = worker.random.borrow_mut();
                self.queues.borrow_mut().asks(now, || random.request_id(now))
            };
            if asks.is_empty() {
                return;
            }
            for Ask { call, timeout_ms } in asks {
                match worker.call_reserve(&call, timeout_ms) {
                    Some(token) => {
                        let called = (call.id, call.quotas.len());
                        self.calls.borrow_mut().insert(token, called);
                    }
                    // Whoever waited for it is failed, so that this comes to an end.
                    None => self.settle(worker, call.id, None, root, now),
                }
            }
        }
    }

    fn settle(&self, worker: &Worker, id: RequestId, reserved: Option<Reserved>, root: u32, now: Now) {
        let Outcome { effects, verdicts } = {
            let mut leases = worker.leases.borrow_mut();
            self.queues.borrow_mut().answered(id, reserved, now, &mut leases)
        };
        for effect in effects {
            worker.apply(effect, now);
        }
        self.tell(worker, verdicts, root, now);
    }

    fn tell(&self, worker: &Worker, verdicts: Vec<(RequestId, Verdict)>, root: u32, now: Now) {
        if verdicts.is_empty() {
            return;
        }
        for (id, verdict) in verdicts {
            let stream = self.streams.borrow_mut().remove(&id);
            if let Some(stream) = stream
                && host::act_for(stream.id())
            {
                stream.reserved(worker, verdict, now);
            }
        }
        host::act_for(root);
    }
}

/// The limit service's answer at hand. Whatever is not one well-formed answer, Envoy's own 503 and 504 included, is no
/// answer.
pub(crate) fn reserve_answer(size: usize, quota_count: usize) -> Option<Reserved> {
    let body = host::buffer(Buffer::HttpCallResponseBody, size).ok()?;
    encode::reserved(encode::unframed(&body)?, quota_count)
}
