//! Kafka as the bus: the group `analytics-consumer`, cooperative rebalances, commits by hand.
//!
//! One thread receives for all partitions and hands each its messages. A lane that is behind has its partition paused:
//! its queue is bounded, and the group still hears of us. When a partition is taken away, its lane stores and commits
//! what it has before the group goes on; one that was lost already ends without a word.

mod dead;
mod group;
mod lane;

pub use lane::KafkaLane;

use super::{Hold, Message, Offset, Payload, Source, SourceError};
use dead::DeadLetters;
use group::Group;
use rateguard_wire::bus;
use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

/// Messages that a lane may have waiting.
const QUEUE_MAX: usize = 4_000;

/// How long to wait for a message, and how often paused partitions are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long brokers may take to tell of a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

type GroupConsumer = BaseConsumer<Group>;

/// One topic, read by the group.
pub struct KafkaSource {
    consumer: Arc<GroupConsumer>,
    dead: Arc<DeadLetters>,
    topic: Arc<str>,
    group: Group,
}

impl KafkaSource {
    /// Connects in the background: brokers that are away are no error. Settings that cannot be used are one.
    pub fn new(brokers: &str, topic: &str) -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "rateguard-analytics")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Warning);
        let dead = Arc::new(DeadLetters::new(config.clone(), bus::dead_topic(topic)));
        config
            .set("group.id", bus::GROUP)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // After a kill -9 its partitions rest for this long: the least that brokers allow by default.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            // A topic that is made later is found so soon.
            .set("topic.metadata.refresh.interval.ms", "2000")
            // Of all partitions together, before their lanes' own queues.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "50");
        let group = Group::default();
        let consumer = GroupConsumer::from_config_and_context(&config, group.clone()).map_err(failed)?;
        consumer.subscribe(&[topic]).map_err(failed)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            dead,
            topic: topic.into(),
            group,
        })
    }
}

impl Source for KafkaSource {
    type Lane = KafkaLane;

    async fn run(self, lanes: mpsc::Sender<KafkaLane>, shutdown: watch::Receiver<bool>) {
        let pump = Pump {
            source: self,
            inboxes: BTreeMap::new(),
            lanes,
            drained: Instant::now(),
        };
        // librdkafka's callbacks wait for lanes, which need the runtime's own threads.
        if tokio::task::spawn_blocking(move || pump.run(&shutdown))
            .await
            .is_err()
        {
            tracing::error!("receiving from Kafka failed");
        }
    }
}

/// Where a partition's messages go.
struct Inbox {
    messages: mpsc::Sender<Message>,
    /// What the lane had no room for; its partition is paused while there is any.
    waiting: VecDeque<Message>,
}

/// Receives for all partitions, on a thread of its own.
struct Pump {
    source: KafkaSource,
    inboxes: BTreeMap<i32, Inbox>,
    lanes: mpsc::Sender<KafkaLane>,
    drained: Instant,
}

impl Pump {
    fn run(mut self, shutdown: &watch::Receiver<bool>) {
        let consumer = self.source.consumer.clone();
        while !*shutdown.borrow() && shutdown.has_changed().is_ok() {
            match consumer.poll(TICK) {
                None => {}
                Some(Ok(received)) => self.hand_over(received.partition(), message(&received)),
                Some(Err(error)) => self.source.group.complain(&error, "cannot read events"),
            }
            if self.drained.elapsed() >= TICK {
                self.drained = Instant::now();
                self.drain();
            }
        }
        // Each lane stores and commits what it has. Their senders stay until then: without one, a lane has lost its hold.
        self.source.group.release_all();
        self.source.group.ended();
    }

    /// A message for its lane, which is made with the first.
    fn hand_over(&mut self, partition: i32, message: Message) {
        if self
            .inboxes
            .get(&partition)
            .is_none_or(|inbox| inbox.messages.is_closed())
        {
            let inbox = self.begin(partition);
            self.inboxes.insert(partition, inbox);
        }
        let Some(inbox) = self.inboxes.get_mut(&partition) else {
            return;
        };
        if !inbox.waiting.is_empty() {
            inbox.waiting.push_back(message);
            return;
        }
        if let Err(TrySendError::Full(message)) = inbox.messages.try_send(message) {
            inbox.waiting.push_back(message);
            if let Err(error) = self.source.consumer.pause(&self.list(partition)) {
                self.source.group.complain(&error, "cannot pause a partition");
            }
        }
    }

    fn begin(&self, partition: i32) -> Inbox {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let (hold, held) = watch::channel(Hold::Keep);
        self.source.group.begun(partition, hold);
        let lane = KafkaLane::new(&self.source, (partition, self.partitions()), receiver, held);
        // An error means that the consumer is gone, and we are told to stop.
        let _ = self.lanes.blocking_send(lane);
        Inbox {
            messages: sender,
            waiting: VecDeque::new(),
        }
    }

    /// How many partitions the topic has; `None` while the brokers do not say.
    fn partitions(&self) -> Option<u32> {
        let metadata = self
            .source
            .consumer
            .fetch_metadata(Some(&self.source.topic), METADATA_TIMEOUT)
            .ok()?;
        let count = metadata.topics().first()?.partitions().len();
        u32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// Lets lanes have what they had no room for, and partitions that are up to date go on.
    fn drain(&mut self) {
        let mut ready = TopicPartitionList::new();
        for (partition, inbox) in &mut self.inboxes {
            if inbox.waiting.is_empty() {
                continue;
            }
            while let Some(message) = inbox.waiting.pop_front() {
                match inbox.messages.try_send(message) {
                    Ok(()) => {}
                    Err(TrySendError::Full(message)) => {
                        inbox.waiting.push_front(message);
                        break;
                    }
                    // The partition is somebody else's, who reads it all again.
                    Err(TrySendError::Closed(_)) => inbox.waiting.clear(),
                }
            }
            if inbox.waiting.is_empty() {
                ready.add_partition(&self.source.topic, *partition);
            }
        }
        if ready.count() > 0
            && let Err(error) = self.source.consumer.resume(&ready)
        {
            self.source.group.complain(&error, "cannot resume partitions");
        }
        self.inboxes.retain(|_, inbox| !inbox.messages.is_closed());
    }

    fn list(&self, partition: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.source.topic, partition);
        list
    }
}

fn message(received: &BorrowedMessage<'_>) -> Message {
    let node = received.headers().and_then(|headers| {
        let header = headers.iter().find(|header| header.key == bus::NODE_HEADER)?;
        std::str::from_utf8(header.value?).ok().map(str::to_owned)
    });
    let received_at_ms = received.timestamp().to_millis().unwrap_or(0);
    Message {
        offset: Offset(
            u64::try_from(received.offset()).unwrap_or(0),
            u64::try_from(received_at_ms).unwrap_or(0),
        ),
        received_at_ms,
        payload: Payload::Event {
            node: node.unwrap_or_default(),
            bytes: received.payload().unwrap_or_default().to_vec(),
        },
    }
}

fn failed(error: KafkaError) -> SourceError {
    SourceError(Box::new(error))
}
