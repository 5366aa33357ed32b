//! Calls for leases, made from the root context so that no request waits for them, and when batches of events are
//! closed, which carry the reports on leases.

use crate::desk::reserve_answer;
use crate::metrics::Own;
use crate::worker::Worker;
use rateguard_filter::event::{Now, Reserved};
use rateguard_filter::lease::Counts;
use rateguard_model::id::RequestId;

#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Calls under way: token, lease, how many quotas it has.
    calls: Vec<(u32, RequestId, usize)>,
}

impl Blocks {
    /// `draining`: everything is given back, and nothing is asked for any more.
    pub(crate) fn tick(&mut self, worker: &Worker, now: Now, draining: bool) {
        let is_report_due = worker.leases.borrow_mut().tick(now, draining);
        if is_report_due || draining || worker.outboxes.borrow().is_due(now) {
            worker.close_batch(now);
        }
        let asks = {
            let mut random = worker.random.borrow_mut();
            worker.leases.borrow_mut().asks(now, || random.request_id(now))
        };
        for call in asks {
            match worker.call_reserve(&call, worker.config.reserve_timeout_ms) {
                Some(token) => self.calls.push((token, call.id, call.quotas.len())),
                None => Self::granted(worker, call.id, None, now),
            }
        }
        let Counts {
            drawn,
            granted,
            refused,
            given_back,
        } = worker.leases.borrow_mut().take_counts();
        for (own, count) in [
            (Own::LeaseDraws, drawn),
            (Own::LeasesGranted, granted),
            (Own::LeasesRefused, refused),
            (Own::LeaseDrawsGivenBack, given_back),
        ] {
            worker.metrics.count_own(own, count);
        }
    }

    /// A call came back; `false`: not one of these.
    pub(crate) fn answered(&mut self, worker: &Worker, token: u32, size: usize, now: Now) -> bool {
        let Some(index) = self.calls.iter().position(|(known, ..)| *known == token) else {
            return false;
        };
        let (_, id, quota_count) = self.calls.swap_remove(index);
        let reserved = reserve_answer(size, quota_count);
        Self::granted(worker, id, reserved.as_ref(), now);
        true
    }

    fn granted(worker: &Worker, id: RequestId, reserved: Option<&Reserved>, now: Now) {
        let effects = worker.leases.borrow_mut().granted(id, reserved, now);
        for effect in effects {
            worker.apply(effect, now);
        }
    }
}
