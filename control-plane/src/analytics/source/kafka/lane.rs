//! One partition of the topic.

use super::dead::DeadLetters;
use super::{GroupConsumer, KafkaSource, failed};
use crate::analytics::source::{DeadLetter, Hold, Lag, Lane, Message, Offset, Share, SourceError};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as Position, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Messages per reading.
const READ_MAX: usize = 2_000;
/// A reading without messages takes this long.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the brokers may take for a commit, before we look whether we should go on waiting.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the brokers may take to tell where a partition ends.
const LAG_TIMEOUT: Duration = Duration::from_secs(1);

pub struct KafkaLane {
    consumer: Arc<GroupConsumer>,
    dead: Arc<DeadLetters>,
    topic: Arc<str>,
    name: Arc<str>,
    partition: i32,
    /// Of the topic; `None` when the brokers did not say.
    partitions: Option<u32>,
    messages: mpsc::Receiver<Message>,
    /// The first offset that is not committed, as soon as one was read.
    next: Option<u64>,
    /// When the oldest message that was read and is not committed came.
    oldest_ms: Option<i64>,
    /// A commit that has no answer yet.
    committing: Option<oneshot::Receiver<Result<(), KafkaError>>>,
    /// Last, so that whoever sees the lane end finds that it holds the consumer no more.
    hold: watch::Receiver<Hold>,
}

impl KafkaLane {
    pub(super) fn new(
        source: &KafkaSource,
        (partition, partitions): (i32, Option<u32>),
        messages: mpsc::Receiver<Message>,
        hold: watch::Receiver<Hold>,
    ) -> Self {
        Self {
            consumer: source.consumer.clone(),
            dead: source.dead.clone(),
            topic: source.topic.clone(),
            name: format!("{}-{partition}", source.topic).into(),
            partition,
            partitions,
            messages,
            next: None,
            oldest_ms: None,
            committing: None,
            hold,
        }
    }

    /// Says how far the partition is stored. librdkafka waits for brokers that are away longer than anybody should wait
    /// for this program's end: its thread is one that the end does not wait for, and its answer is awaited again by
    /// the next try, which is for the same batch.
    async fn commit(&mut self, list: TopicPartitionList) -> Result<(), SourceError> {
        let mut answer = if let Some(earlier) = self.committing.take() {
            earlier
        } else {
            let (sender, answer) = oneshot::channel();
            let consumer = self.consumer.clone();
            let commit = move || {
                // Nobody may wait for it any more.
                let _ = sender.send(consumer.commit(&list, CommitMode::Sync));
            };
            std::thread::Builder::new()
                .name("kafka-commit".to_owned())
                .spawn(commit)
                .map_err(|error| SourceError(Box::new(error)))?;
            answer
        };
        match tokio::time::timeout(COMMIT_TIMEOUT, &mut answer).await {
            Ok(Ok(committed)) => committed.map_err(failed),
            Ok(Err(gone)) => Err(SourceError(Box::new(gone))),
            Err(_) => {
                self.committing = Some(answer);
                Err(failed(KafkaError::ConsumerCommit(
                    RDKafkaErrorCode::OperationTimedOut,
                )))
            }
        }
    }

    /// Calls into librdkafka, which blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&GroupConsumer) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let consumer = self.consumer.clone();
        let answer = tokio::task::spawn_blocking(move || call(&consumer)).await;
        answer
            .map_err(|error| SourceError(Box::new(error)))?
            .map_err(failed)
    }
}

impl Lane for KafkaLane {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn hold(&self) -> watch::Receiver<Hold> {
        self.hold.clone()
    }

    fn share(&self) -> Share {
        match (self.partitions, u32::try_from(self.partition)) {
            (Some(partitions), Ok(partition)) => Share::Murmur {
                partitions,
                partition,
            },
            _ => Share::All,
        }
    }

    async fn read(&mut self) -> Result<Vec<Message>, SourceError> {
        let mut messages = Vec::new();
        // Nothing is lost when it is cut off: `recv_many` takes only when it returns.
        let received = self.messages.recv_many(&mut messages, READ_MAX);
        if tokio::time::timeout(PATIENCE, received).await == Ok(0) {
            // The thread that receives is gone; the hold says so too.
            tokio::time::sleep(PATIENCE).await;
        }
        if let Some(first) = messages.first() {
            self.next.get_or_insert(first.offset.0);
            self.oldest_ms.get_or_insert(first.received_at_ms);
        }
        Ok(messages)
    }

    async fn acknowledge(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        let Some(Offset(last, _)) = offsets.last() else {
            return Ok(());
        };
        // The brokers would take a commit for a partition that another member has.
        if *self.hold.borrow() == Hold::Lost {
            return Err(failed(KafkaError::ConsumerCommit(
                RDKafkaErrorCode::AssignmentLost,
            )));
        }
        let next = last.saturating_add(1);
        let position = Position::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.partition, position)
            .map_err(failed)?;
        self.commit(list).await?;
        self.next = Some(next);
        self.oldest_ms = None;
        Ok(())
    }

    async fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        self.dead.keep(letters).await
    }

    async fn lag(&mut self, now_ms: i64) -> Result<Lag, SourceError> {
        let Some(next) = self.next else {
            return Ok(Lag::default());
        };
        let (topic, partition) = (self.topic.clone(), self.partition);
        let (_, end) = self
            .blocking(move |consumer| consumer.fetch_watermarks(&topic, partition, LAG_TIMEOUT))
            .await?;
        let age_ms = self.oldest_ms.map_or(0, |at| now_ms.saturating_sub(at));
        Ok(Lag {
            messages: u64::try_from(end).unwrap_or(0).saturating_sub(next),
            age_ms: u64::try_from(age_ms).unwrap_or(0),
        })
    }
}
