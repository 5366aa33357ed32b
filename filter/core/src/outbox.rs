//! A bounded queue of encoded messages that are sent in batches until they are acknowledged (SPEC 4).
//!
//! The exchange that produced a message is long gone by then, so the queue outlives it. A resend is harmless:
//! reservations and events carry ids. What no longer fits is dropped, the oldest first, and counted.

use std::collections::VecDeque;

/// When a batch goes, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub items_per_batch_max: usize,
    /// How long the first item of a batch may wait for others.
    pub wait_ms: i64,
    /// Of everything that is not acknowledged.
    pub bytes_max: usize,
}

/// First pause after a failure; doubled with each further one.
const RETRY_MIN_MS: i64 = 100;
const RETRY_MAX_MS: i64 = 5_000;

#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    filling: Batch,
    waiting: VecDeque<Batch>,
    in_flight: Option<Batch>,
    bytes: usize,
    not_before_ms: i64,
    failure_count: u32,
    dropped_count: u64,
}

/// Messages one after the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    item_count: usize,
    since_ms: i64,
}

impl Outbox {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            filling: Batch::default(),
            waiting: VecDeque::new(),
            in_flight: None,
            bytes: 0,
            not_before_ms: 0,
            failure_count: 0,
            dropped_count: 0,
        }
    }

    /// Appends one message, written by `write`.
    pub fn push(&mut self, now_ms: i64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.filling.item_count == 0 {
            self.filling.since_ms = now_ms;
        }
        let before = self.filling.bytes.len();
        write(&mut self.filling.bytes);
        self.bytes += self.filling.bytes.len().saturating_sub(before);
        self.filling.item_count += 1;
        if self.filling.item_count >= self.limits.items_per_batch_max {
            self.waiting.push_back(std::mem::take(&mut self.filling));
        }
        while self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
            self.dropped_count += oldest.item_count as u64;
        }
    }

    /// The batch to send now, if one is due and none is under way. It counts as under way from here on.
    pub fn start(&mut self, now_ms: i64, flush: bool) -> Option<&[u8]> {
        if self.in_flight.is_some() || now_ms < self.not_before_ms {
            return None;
        }
        let batch = match self.waiting.pop_front() {
            Some(batch) => batch,
            None if self.filling.item_count > 0
                && (flush || now_ms.saturating_sub(self.filling.since_ms) >= self.limits.wait_ms) =>
            {
                std::mem::take(&mut self.filling)
            }
            None => return None,
        };
        Some(&self.in_flight.insert(batch).bytes)
    }

    /// The batch under way arrived; answers how many messages it had.
    pub fn acknowledge(&mut self) -> usize {
        self.failure_count = 0;
        self.not_before_ms = 0;
        let Some(batch) = self.in_flight.take() else {
            return 0;
        };
        self.bytes = self.bytes.saturating_sub(batch.bytes.len());
        batch.item_count
    }

    /// The batch under way did not arrive: it is sent again after a pause. `jitter` is random.
    pub fn fail(&mut self, now_ms: i64, jitter: u32) {
        if let Some(batch) = self.in_flight.take() {
            self.waiting.push_front(batch);
        }
        let pause = RETRY_MIN_MS
            .saturating_mul(1 << self.failure_count.min(6))
            .min(RETRY_MAX_MS);
        self.failure_count = self.failure_count.saturating_add(1);
        // Between half the pause and all of it.
        self.not_before_ms = now_ms.saturating_add(pause / 2 + i64::from(jitter) % (pause / 2 + 1));
    }

    /// The batch under way can never be accepted: resending it would block all others.
    pub fn discard(&mut self) {
        let count = self.acknowledge();
        self.dropped_count += count as u64;
    }

    /// Messages dropped since the last time this was asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_count)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        items_per_batch_max: 3,
        wait_ms: 100,
        bytes_max: 10,
    };

    fn push(outbox: &mut Outbox, now_ms: i64, byte: u8) {
        outbox.push(now_ms, |bytes| bytes.push(byte));
    }

    #[test]
    fn goes_when_full_or_when_the_first_has_waited() {
        let mut outbox = Outbox::new(LIMITS);
        push(&mut outbox, 0, 1);
        push(&mut outbox, 90, 2);
        assert_eq!(outbox.start(99, false), None);
        assert_eq!(outbox.start(100, false), Some(&[1, 2][..]));
        assert_eq!(outbox.acknowledge(), 2);
        for byte in 3..6 {
            push(&mut outbox, 200, byte);
        }
        assert_eq!(outbox.start(200, false), Some(&[3, 4, 5][..]));
        assert_eq!(outbox.acknowledge(), 3);
        assert!(outbox.is_empty());
    }

    #[test]
    fn ev_01_a_failed_batch_is_resent_first_after_a_growing_pause() {
        let mut outbox = Outbox::new(LIMITS);
        push(&mut outbox, 0, 1);
        assert!(outbox.start(100, false).is_some());
        push(&mut outbox, 100, 2);
        outbox.fail(100, 50);
        assert_eq!(outbox.start(199, true), None);
        assert_eq!(outbox.start(200, false), Some(&[1][..]));
        outbox.fail(200, 0);
        assert_eq!(outbox.start(299, false), None);
        assert_eq!(outbox.start(300, false), Some(&[1][..]));
        outbox.acknowledge();
        assert_eq!(outbox.start(300, false), Some(&[2][..]));
    }

    #[test]
    fn one_batch_is_under_way_at_a_time() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..6 {
            push(&mut outbox, 0, byte);
        }
        assert!(outbox.start(0, false).is_some());
        assert_eq!(outbox.start(0, true), None);
    }

    #[test]
    fn ev_01_what_does_not_fit_is_dropped_oldest_first_and_counted() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..12 {
            push(&mut outbox, 0, byte);
        }
        assert!(outbox.bytes() <= LIMITS.bytes_max);
        assert_eq!(outbox.take_dropped(), 3);
        assert_eq!(outbox.take_dropped(), 0);
        assert_eq!(outbox.start(0, false), Some(&[3, 4, 5][..]));
    }

    #[test]
    fn a_batch_that_can_never_pass_does_not_block() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..6 {
            push(&mut outbox, 0, byte);
        }
        assert!(outbox.start(0, false).is_some());
        outbox.discard();
        assert_eq!(outbox.take_dropped(), 3);
        assert_eq!(outbox.start(0, false), Some(&[3, 4, 5][..]));
    }
}
