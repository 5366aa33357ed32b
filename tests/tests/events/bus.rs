//! Reading and writing the two buses past all programs.

use rateguard_tests::stack::{Part, Stack};
use rateguard_wire::bus;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use redis::Value;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a broker may take for what a test asks.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What carries the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    Redis,
    Kafka,
}

impl Bus {
    /// The server that a test can kill.
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Redis => Part::Redis,
            Self::Kafka => Part::Kafka,
        }
    }

    /// Writes something into a workspace's partition that no program of ours wrote.
    pub(crate) async fn forge(self, stack: &'static Stack, workspace: Uuid, payload: &str) {
        match self {
            Self::Redis => {
                let stream = bus::stream(bus::stream_of(workspace.as_bytes()));
                let added = ["XADD", &stream, "*", bus::STREAM_FIELD, payload];
                stack.redis_command(&added).await.expect("added");
            }
            Self::Kafka => {
                let payload = payload.to_owned();
                blocking(move || produce(stack, workspace, &payload)).await;
            }
        }
    }

    /// Dead letters whose payload is this.
    pub(crate) async fn dead(self, stack: &'static Stack, payload: &str) -> usize {
        match self {
            Self::Redis => {
                let letters = stack.redis_command(&["XRANGE", bus::DEAD_STREAM, "-", "+"]);
                count_of(&letters.await.expect("an answer"), payload)
            }
            Self::Kafka => {
                let letters = blocking(move || records(stack, &bus::dead_topic(topic(stack)))).await;
                letters
                    .iter()
                    .filter(|letter| letter.as_slice() == payload.as_bytes())
                    .count()
            }
        }
    }

    /// Messages that no consumer has acknowledged, as the bus itself counts them.
    pub(crate) async fn waiting(self, stack: &'static Stack) -> i64 {
        if self == Self::Kafka {
            return blocking(move || not_committed(stack)).await;
        }
        let mut sum = 0;
        for n in 0..bus::STREAM_COUNT {
            match stack.redis_command(&["XLEN", &bus::stream(n)]).await {
                Ok(Value::Int(length)) => sum += length,
                other => panic!("XLEN answered {other:?}"),
            }
        }
        sum
    }

    /// Takes back all that the group has acknowledged, as a consumer does that ends before it says so. Redis has
    /// forgotten what was acknowledged.
    pub(crate) async fn rewind(self, stack: &'static Stack) {
        if self == Self::Kafka {
            blocking(move || commit_nothing(stack)).await;
        }
    }
}

fn count_of(value: &Value, text: &str) -> usize {
    match value {
        Value::Array(values) => values.iter().map(|value| count_of(value, text)).sum(),
        Value::BulkString(bytes) => usize::from(bytes.as_slice() == text.as_bytes()),
        _ => 0,
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("no panic")
}

fn topic(stack: &Stack) -> &str {
    stack.engines().kafka_topic.as_deref().unwrap_or("api-events")
}

fn client(stack: &Stack) -> ClientConfig {
    let brokers = stack.engines().kafka_brokers.as_deref().expect("Kafka");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn config(stack: &Stack, group: &str) -> ClientConfig {
    let mut config = client(stack);
    config.set("group.id", group).set("enable.auto.commit", "false");
    config
}

/// Makes the topic anew with a copy of everything on node 2: nothing is taken unless both have it.
pub(crate) async fn remake_with_two_copies(stack: &'static Stack) {
    let admin: AdminClient<DefaultClientContext> = client(stack).create().expect("a client");
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let count = blocking(move || in_sync(stack).len()).await;
    let deleted = admin.delete_topics(&[topic(stack)], &options).await;
    deleted.expect("the broker answers")[0].as_ref().expect("deleted");
    let copies = vec![&[1, 2][..]; count];
    let partitions = i32::try_from(count).expect("few partitions");
    let made = NewTopic::new(topic(stack), partitions, TopicReplication::Variable(&copies))
        .set("min.insync.replicas", "2");
    let end = Instant::now() + TIMEOUT;
    loop {
        let outcome = admin.create_topics([&made], &options).await;
        match &outcome.expect("the broker answers")[0] {
            Ok(_) => return,
            // Brokers forget it a moment later than they say.
            Err((_, code)) => assert!(Instant::now() < end, "{code}"),
        }
    }
}

/// How many copies of each partition are up to date.
pub(crate) async fn copies(stack: &'static Stack) -> Vec<usize> {
    blocking(move || in_sync(stack)).await
}

fn in_sync(stack: &Stack) -> Vec<usize> {
    let consumer: BaseConsumer = client(stack).create().expect("a client");
    let metadata = consumer
        .fetch_metadata(Some(topic(stack)), TIMEOUT)
        .expect("the broker answers");
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions.map(|partition| partition.isr().len()).collect()
}

fn produce(stack: &Stack, workspace: Uuid, payload: &str) {
    let producer: BaseProducer = client(stack)
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a producer");
    let record = BaseRecord::to(topic(stack))
        .key(workspace.as_bytes())
        .payload(payload);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
    producer.flush(TIMEOUT).expect("delivered");
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer
        .fetch_metadata(Some(topic), TIMEOUT)
        .expect("the broker answers");
    let topics = metadata.topics().iter();
    topics
        .flat_map(MetadataTopic::partitions)
        .map(MetadataPartition::id)
        .collect()
}

/// Every record's value; none where there is no such topic.
fn records(stack: &Stack, topic: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = config(stack, "test").create().expect("a consumer");
    let (mut assignment, mut left) = (TopicPartitionList::new(), 0);
    for partition in partitions(&consumer, topic) {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("an offset");
        let (low, high) = consumer
            .fetch_watermarks(topic, partition, TIMEOUT)
            .expect("watermarks");
        left += high - low;
    }
    consumer.assign(&assignment).expect("assigned");
    let (mut values, end) = (Vec::new(), Instant::now() + TIMEOUT);
    while (values.len() as i64) < left {
        assert!(Instant::now() < end, "{} of {left} records", values.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a record");
            values.push(message.payload().unwrap_or_default().to_vec());
        }
    }
    values
}

/// Succeeds when the group's dead member is forgotten.
fn commit_nothing(stack: &Stack) {
    let consumer: BaseConsumer = config(stack, bus::GROUP).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic(stack)) {
        list.add_partition_offset(topic(stack), partition, Offset::Offset(0))
            .expect("an offset");
    }
    let end = Instant::now() + TIMEOUT;
    while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
        assert!(Instant::now() < end, "the group takes no commit: {error}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn not_committed(stack: &Stack) -> i64 {
    let consumer: BaseConsumer = config(stack, bus::GROUP).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic(stack)) {
        list.add_partition(topic(stack), partition);
    }
    let committed = consumer.committed_offsets(list, TIMEOUT).expect("offsets");
    let elements = committed.elements();
    let waiting = elements.iter().map(|element| {
        let (low, high) = consumer
            .fetch_watermarks(topic(stack), element.partition(), TIMEOUT)
            .expect("watermarks");
        match element.offset() {
            Offset::Offset(next) => high - next,
            _ => high - low,
        }
    });
    waiting.sum()
}
