//! Answers that wait for their end, and until when they may. No callback of a stream comes while its upstream is
//! silent: the root context's tick looks after them.

use rateguard_filter::event::Now;
use rateguard_filter::exchange::Exchange;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// By time, then stream.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: BTreeMap<(Now, u32), Rc<RefCell<Exchange>>>,
}

impl Held {
    pub(crate) fn insert(&mut self, until: Now, stream: u32, exchange: Rc<RefCell<Exchange>>) {
        self.waiting.insert((until, stream), exchange);
    }

    pub(crate) fn remove(&mut self, until: Now, stream: u32) {
        self.waiting.remove(&(until, stream));
    }

    /// Those whose time is over, with the stream of each.
    pub(crate) fn take_due(&mut self, now: Now) -> Vec<(u32, Rc<RefCell<Exchange>>)> {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, stream), exchange) = entry.remove_entry();
            due.push((stream, exchange));
        }
        due
    }
}
