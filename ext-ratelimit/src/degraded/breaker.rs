//! Whether Redis is asked at all. While it is away no request pays its time-out: one probe at a time finds out when
//! it is back.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// Calls that must run out of time in a row before Redis counts as away. One slow moment is not an outage; an error
/// is one at once, since the client only reports it when the connection is gone or the server refuses to work.
const TIMEOUTS_MAX: u32 = 3;

/// Closed: Redis is asked. Open: it is away.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: AtomicBool,
    timeouts: AtomicU32,
    since_ms: AtomicI64,
    closed_at_ms: AtomicI64,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// When it opened or closed last, Unix milliseconds; 0 if it never did.
    pub(super) fn since_ms(&self) -> i64 {
        self.since_ms.load(Ordering::Acquire)
    }

    /// When Redis last came back; 0 if it never went away.
    pub(super) fn closed_at_ms(&self) -> i64 {
        self.closed_at_ms.load(Ordering::Acquire)
    }

    pub(super) fn succeeded(&self) {
        // A read is cheaper than a write that every thread's cache must see.
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// Answers whether this failure opened the breaker.
    pub(super) fn failed(&self, now_ms: i64) -> bool {
        let opened = !self.open.swap(true, Ordering::AcqRel);
        if opened {
            self.since_ms.store(now_ms, Ordering::Release);
        }
        opened
    }

    /// Answers whether this time-out opened the breaker.
    pub(super) fn timed_out(&self, now_ms: i64) -> bool {
        self.timeouts.fetch_add(1, Ordering::AcqRel) + 1 >= TIMEOUTS_MAX && self.failed(now_ms)
    }

    pub(super) fn close(&self, now_ms: i64) {
        self.timeouts.store(0, Ordering::Release);
        self.since_ms.store(now_ms, Ordering::Release);
        self.closed_at_ms.store(now_ms, Ordering::Release);
        self.open.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_opens_at_once_and_only_the_first_says_so() {
        let breaker = Breaker::default();
        assert!(breaker.failed(5));
        assert!(!breaker.failed(6));
        assert!(breaker.is_open());
        assert_eq!(breaker.since_ms(), 5);
        breaker.close(9);
        assert!(!breaker.is_open());
        assert_eq!(breaker.closed_at_ms(), 9);
    }

    #[test]
    fn time_outs_open_only_in_a_row() {
        let breaker = Breaker::default();
        assert!(!breaker.timed_out(1));
        assert!(!breaker.timed_out(2));
        breaker.succeeded();
        assert!(!breaker.timed_out(3));
        assert!(!breaker.timed_out(4));
        assert!(breaker.timed_out(5));
        assert!(breaker.is_open());
    }
}
