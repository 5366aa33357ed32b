//! What the group says: which partitions are taken away, and what is wrong with the brokers.

use crate::analytics::source::Hold;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long the group waits for a lane to hear of its insert, which takes 70 s at most. What is not committed then is
/// read again by the next owner.
const RELEASE_MAX: Duration = Duration::from_secs(80);
const POLL: Duration = Duration::from_millis(10);

/// Brokers that are away are told of so often.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Shared by librdkafka's callbacks and the thread that receives.
#[derive(Clone, Default)]
pub(super) struct Group(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By partition. A sender without receivers is a lane that has ended.
    holds: BTreeMap<i32, watch::Sender<Hold>>,
    complained: Option<Instant>,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begun(&self, partition: i32, hold: watch::Sender<Hold>) {
        self.state().holds.insert(partition, hold);
    }

    pub(super) fn release_all(&self) {
        for hold in self.state().holds.values() {
            hold.send_replace(Hold::Release);
        }
    }

    /// Waits until every lane has ended.
    pub(super) fn ended(&self) {
        while self.state().holds.values().any(|hold| !hold.is_closed()) {
            std::thread::sleep(POLL);
        }
    }

    /// Logs an error, unless one was logged a moment ago.
    pub(super) fn complain(&self, error: &KafkaError, what: &str) {
        if self.may_complain() {
            tracing::warn!(%error, "{what}");
        }
    }

    fn may_complain(&self) -> bool {
        let mut state = self.state();
        let is_due = state.complained.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
        if is_due {
            state.complained = Some(Instant::now());
        }
        is_due
    }

    /// Lets lanes store and commit what they have, unless the partitions are another's already.
    fn give_up(&self, partitions: &[i32], are_lost: bool) {
        let holds: Vec<watch::Sender<Hold>> = {
            let mut state = self.state();
            partitions
                .iter()
                .filter_map(|partition| state.holds.remove(partition))
                .collect()
        };
        let hold_all = |new: Hold| {
            for hold in &holds {
                hold.send_replace(new);
            }
        };
        if !are_lost {
            hold_all(Hold::Release);
            let end = Instant::now() + RELEASE_MAX;
            while Instant::now() < end && holds.iter().any(|hold| !hold.is_closed()) {
                std::thread::sleep(POLL);
            }
        }
        hold_all(Hold::Lost);
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.may_complain() {
            tracing::warn!(?level, facility, "librdkafka: {message}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.may_complain() {
            tracing::warn!(%error, reason, "the brokers of KAFKA_BROKERS are not well");
        }
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let numbers = |list: &TopicPartitionList| -> Vec<i32> {
            list.elements()
                .iter()
                .map(TopicPartitionListElem::partition)
                .collect()
        };
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::info!(partitions = ?numbers(list), "partitions are ours");
            }
            Rebalance::Revoke(list) => {
                let (partitions, are_lost) = (numbers(list), consumer.assignment_lost());
                tracing::info!(?partitions, are_lost, "partitions are taken away");
                self.give_up(&partitions, are_lost);
            }
            Rebalance::Error(error) => self.complain(error, "the group cannot agree on partitions"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_taken_away_waits_for_its_lane() {
        let group = Group::default();
        let (hold, mut held) = watch::channel(Hold::Keep);
        group.begun(3, hold);
        let lane = std::thread::spawn(move || {
            while *held.borrow_and_update() == Hold::Keep {
                std::thread::yield_now();
            }
            *held.borrow()
        });
        group.give_up(&[3, 4], false);
        assert!(lane.is_finished(), "it goes on when the lane has ended");
        assert_eq!(lane.join().unwrap(), Hold::Release);
    }

    #[test]
    fn a_lost_partition_waits_for_nobody() {
        let group = Group::default();
        let (hold, held) = watch::channel(Hold::Keep);
        group.begun(3, hold);
        group.give_up(&[3], true);
        assert_eq!(*held.borrow(), Hold::Lost);
        assert!(group.state().holds.is_empty());
    }
}
