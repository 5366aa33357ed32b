//! A bounded queue of encoded messages that are sent in batches until they are acknowledged (SPEC 4).
//!
//! A batch has two halves, events and settlements, that are taken down together: who receives it knows both of a
//! request, or neither. The exchange that produced them is long gone by then, so the queue outlives it. A resend is
//! harmless: reservations and events carry ids. What no longer fits is dropped, the oldest first, and counted.

use std::collections::VecDeque;

/// When a batch goes, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub events_per_batch_max: usize,
    /// How long the first message of a batch may wait for others.
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
    since_ms: i64,
    waiting: VecDeque<Batch>,
    in_flight: Option<Batch>,
    bytes: usize,
    not_before_ms: i64,
    failure_count: u32,
    dropped: Counts,
}

/// What is sent in one message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub events: Half,
    /// Settlements and releases.
    pub settlements: Half,
}

/// Messages one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Half {
    pub bytes: Vec<u8>,
    pub count: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub settlements: u64,
}

impl Half {
    /// Appends one message, written by `write`; answers how many bytes it has.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.count += 1;
        self.bytes.len().saturating_sub(before)
    }
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.events.count == 0 && self.settlements.count == 0
    }

    pub fn counts(&self) -> Counts {
        Counts {
            events: self.events.count as u64,
            settlements: self.settlements.count as u64,
        }
    }

    fn len(&self) -> usize {
        self.events
            .bytes
            .len()
            .saturating_add(self.settlements.bytes.len())
    }
}

impl Outbox {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            filling: Batch::default(),
            since_ms: 0,
            waiting: VecDeque::new(),
            in_flight: None,
            bytes: 0,
            not_before_ms: 0,
            failure_count: 0,
            dropped: Counts::default(),
        }
    }

    pub fn push_event(&mut self, now_ms: i64, write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(now_ms);
        self.bytes += self.filling.events.push(write);
    }

    /// What resolves a reservation.
    pub fn push_settlement(&mut self, now_ms: i64, write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(now_ms);
        self.bytes += self.filling.settlements.push(write);
    }

    fn begin(&mut self, now_ms: i64) {
        if self.filling.is_empty() {
            self.since_ms = now_ms;
        }
    }

    /// Whether the batch that is filling has as many events as it may.
    pub fn is_full(&self) -> bool {
        self.filling.events.count >= self.limits.events_per_batch_max
    }

    /// Whether the batch that is filling has waited long enough.
    pub fn is_due(&self, now_ms: i64) -> bool {
        !self.filling.is_empty() && now_ms.saturating_sub(self.since_ms) >= self.limits.wait_ms
    }

    /// Closes the batch that is filling.
    pub fn close(&mut self) {
        if !self.filling.is_empty() {
            self.waiting.push_back(std::mem::take(&mut self.filling));
        }
        self.bound();
    }

    /// Takes what another queue could not get rid of. If nothing failed here so far, it rests first; `jitter` is random.
    pub fn put(&mut self, batch: Batch, now_ms: i64, jitter: u32) {
        if batch.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(batch.len());
        self.waiting.push_back(batch);
        self.bound();
        if self.failure_count == 0 && self.in_flight.is_none() {
            self.fail(now_ms, jitter);
        }
    }

    fn bound(&mut self) {
        while self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.len());
            self.drop_counted(&oldest);
        }
    }

    fn drop_counted(&mut self, batch: &Batch) {
        let Counts { events, settlements } = batch.counts();
        self.dropped.events += events;
        self.dropped.settlements += settlements;
    }

    /// The batch to send now, if one is closed and none is under way. It counts as under way from here on.
    pub fn start(&mut self, now_ms: i64) -> Option<&Batch> {
        if self.in_flight.is_some() || now_ms < self.not_before_ms {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        Some(self.in_flight.insert(batch))
    }

    /// The batch under way arrived.
    pub fn acknowledge(&mut self) -> Batch {
        self.failure_count = 0;
        self.not_before_ms = 0;
        let batch = self.in_flight.take().unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(batch.len());
        batch
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
        let batch = self.acknowledge();
        self.drop_counted(&batch);
    }

    /// What was dropped since the last time this was asked.
    pub fn take_dropped(&mut self) -> Counts {
        std::mem::take(&mut self.dropped)
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
        events_per_batch_max: 3,
        wait_ms: 100,
        bytes_max: 10,
    };

    fn push(outbox: &mut Outbox, now_ms: i64, byte: u8) {
        outbox.push_event(now_ms, |bytes| bytes.push(byte));
        if outbox.is_full() {
            outbox.close();
        }
    }

    fn started(outbox: &mut Outbox, now_ms: i64) -> Option<Vec<u8>> {
        if outbox.is_due(now_ms) {
            outbox.close();
        }
        outbox.start(now_ms).map(|batch| batch.events.bytes.clone())
    }

    #[test]
    fn goes_when_full_or_when_the_first_has_waited() {
        let mut outbox = Outbox::new(LIMITS);
        push(&mut outbox, 0, 1);
        push(&mut outbox, 90, 2);
        assert_eq!(started(&mut outbox, 99), None);
        assert_eq!(started(&mut outbox, 100), Some(vec![1, 2]));
        assert_eq!(outbox.acknowledge().events.count, 2);
        for byte in 3..6 {
            push(&mut outbox, 200, byte);
        }
        assert_eq!(started(&mut outbox, 200), Some(vec![3, 4, 5]));
        assert_eq!(outbox.acknowledge().events.count, 3);
        assert!(outbox.is_empty());
    }

    #[test]
    fn both_halves_of_a_request_go_together() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..4 {
            outbox.push_settlement(0, |bytes| bytes.push(10 + byte));
            push(&mut outbox, 0, byte);
        }
        let batch = outbox.start(0).expect("a full batch");
        assert_eq!(batch.events.bytes, [0, 1, 2]);
        assert_eq!(batch.settlements.bytes, [10, 11, 12]);
        outbox.acknowledge();
        outbox.close();
        let batch = outbox.start(0).expect("the rest");
        assert_eq!((batch.events.bytes[..].len(), batch.settlements.count), (1, 1));
    }

    #[test]
    fn ev_01_a_failed_batch_is_resent_first_after_a_growing_pause() {
        let mut outbox = Outbox::new(LIMITS);
        push(&mut outbox, 0, 1);
        assert!(started(&mut outbox, 100).is_some());
        push(&mut outbox, 100, 2);
        outbox.fail(100, 50);
        assert_eq!(started(&mut outbox, 199), None);
        assert_eq!(started(&mut outbox, 200), Some(vec![1]));
        outbox.fail(200, 0);
        assert_eq!(started(&mut outbox, 299), None);
        assert_eq!(started(&mut outbox, 300), Some(vec![1]));
        outbox.acknowledge();
        assert_eq!(started(&mut outbox, 300), Some(vec![2]));
    }

    #[test]
    fn ev_03_what_is_put_aside_rests_once_however_much_comes() {
        let mut aside = Outbox::new(LIMITS);
        let batch = |byte| Batch {
            events: Half {
                bytes: vec![byte],
                count: 1,
            },
            settlements: Half::default(),
        };
        aside.put(batch(1), 0, 50);
        for byte in 2..6 {
            aside.put(batch(byte), 90, 50);
        }
        assert_eq!(started(&mut aside, 99), None);
        assert_eq!(started(&mut aside, 100), Some(vec![1]));
        aside.acknowledge();
        assert_eq!(started(&mut aside, 100), Some(vec![2]));
    }

    #[test]
    fn one_batch_is_under_way_at_a_time() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..6 {
            push(&mut outbox, 0, byte);
        }
        assert!(started(&mut outbox, 0).is_some());
        assert_eq!(started(&mut outbox, 1_000), None);
    }

    #[test]
    fn ev_01_what_does_not_fit_is_dropped_oldest_first_and_counted() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..12 {
            push(&mut outbox, 0, byte);
        }
        assert!(outbox.bytes() <= LIMITS.bytes_max);
        assert_eq!(outbox.take_dropped().events, 3);
        assert_eq!(outbox.take_dropped(), Counts::default());
        assert_eq!(started(&mut outbox, 0), Some(vec![3, 4, 5]));
    }

    #[test]
    fn a_batch_that_can_never_pass_does_not_block() {
        let mut outbox = Outbox::new(LIMITS);
        for byte in 0..6 {
            push(&mut outbox, 0, byte);
        }
        assert!(started(&mut outbox, 0).is_some());
        outbox.discard();
        assert_eq!(outbox.take_dropped().events, 3);
        assert_eq!(started(&mut outbox, 0), Some(vec![3, 4, 5]));
    }
}
