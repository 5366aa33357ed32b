//! Answers that wait for their end, and until when they may. No callback of a stream comes while its upstream is
//! silent: the root context's tick looks after them.

use crate::stream::Stream;
use rateguard_filter::event::Now;
use std::collections::BTreeMap;
use std::rc::Rc;

/// By time, then stream.
#[derive(Default)]
pub(crate) struct Held {
    waiting: BTreeMap<(Now, u32), Rc<Stream>>,
}

impl Held {
    pub(crate) fn insert(&mut self, until: Now, stream: Rc<Stream>) {
        self.waiting.insert((until, stream.id()), stream);
    }

    pub(crate) fn remove(&mut self, until: Now, stream: u32) {
        self.waiting.remove(&(until, stream));
    }

    /// Those whose time is over.
    pub(crate) fn take_due(&mut self, now: Now) -> Vec<Rc<Stream>> {
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
        due
    }
}
