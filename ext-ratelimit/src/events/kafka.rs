//! The event bus on Kafka: one record per event, key = workspace id (16 bytes), value = a protobuf
//! `rateguard.v1.RequestEvent`, header `node` = who sent it.
//!
//! A batch is acknowledged when the brokers have all of its records (`acks=all`). A caller that heard otherwise sends the
//! batch again, so a record can come twice, under the same event id: the consumer drops the second. Idempotence keeps
//! librdkafka's own retries from doubling or reordering.
//!
//! The queue is bounded; when it is full, reports are refused and the data plane's outbox waits. Brokers that are away
//! are no reason not to start. No TLS and no SASL in this build: brokers are reached over a network of your own.

use super::{BusError, EventBus, Published};
use crate::clock;
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use prost::Message as _;
use rateguard_wire::bus::NODE_HEADER;
use rateguard_wire::v1::RequestEvent;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long the brokers may take for a record, retries included. Below the 5 s that the filter's outbox waits.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(4);
/// How much longer we wait to hear of it.
const REPORT_MARGIN: Duration = Duration::from_millis(500);

/// Records and kilobytes that may wait for the brokers.
const QUEUE_RECORDS_MAX: usize = 20_000;
const QUEUE_KILOBYTES_MAX: &str = "32768";
/// Below the brokers' default of a mebibyte, headers included.
const RECORD_BYTES_MAX: &str = "1000000";
/// A partition's records are sent when there are so many, or after this long. Data planes have gathered them for up to
/// 100 ms already: waiting as long again would only slow their next batch.
const FLUSH_RECORDS: &str = "100";
const FLUSH_MS: &str = "5";

/// How often the topic is looked for until it is there.
const TOPIC_RETRY: Duration = Duration::from_secs(2);
const WARNING_INTERVAL_MS: i64 = 10_000;

type Producer = ThreadedProducer<Deliveries>;

/// `KAFKA_*` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port,…`.
    pub brokers: String,
    pub topic: String,
    /// Of the topic, when it has to be made.
    pub partitions: u16,
}

/// Publishes to one topic.
pub struct Kafka {
    settings: KafkaSettings,
    /// Replaced after an error that librdkafka cannot go on from.
    producer: Mutex<Arc<Producer>>,
    metrics: Arc<Metrics>,
}

impl Kafka {
    /// Makes the producer; connects in the background. An error means unusable settings.
    pub fn new(settings: KafkaSettings, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let producer = Mutex::new(Arc::new(producer(&settings, &metrics)?));
        Ok(Self {
            settings,
            producer,
            metrics,
        })
    }

    async fn send(&self, node_id: &str, events: Vec<RequestEvent>) -> Result<(), BusError> {
        let count = events.len() as u64;
        let started = Instant::now();
        let outcome = self.deliver(node_id, events).await;
        let counters = &self.metrics.events;
        match &outcome {
            Ok(stored) => {
                counters.published.inc_by(*stored);
                self.metrics
                    .events_delivery_duration
                    .observe(started.elapsed().as_secs_f64());
            }
            Err(BusError::Full) => drop(counters.full.inc_by(count)),
            Err(BusError::Unavailable(_)) => drop(counters.unavailable.inc_by(count)),
        }
        outcome.map(drop)
    }

    /// How many events are stored: all of them, but for those that never can be.
    async fn deliver(&self, node_id: &str, events: Vec<RequestEvent>) -> Result<u64, BusError> {
        let producer = self.producer().map_err(unavailable)?;
        // The whole batch or nothing of it, so that retries do not fill the queue with copies of its first half.
        if self.in_flight(&producer).saturating_add(events.len()) > QUEUE_RECORDS_MAX {
            return Err(BusError::Full);
        }
        let (batch, delivered) = Batch::of(events.len());
        let mut stored = 0;
        for event in events {
            stored += u64::from(self.enqueue(&producer, node_id, &event, &batch)?);
        }
        self.in_flight(&producer);
        let reported = tokio::time::timeout(DELIVERY_TIMEOUT + REPORT_MARGIN, delivered).await;
        self.in_flight(&producer);
        match reported {
            Ok(Ok(())) if !batch.has_failed() => Ok(stored),
            Ok(_) | Err(_) => Err(BusError::Unavailable(None)),
        }
    }

    /// How many records wait for the brokers; the gauge learns of it.
    fn in_flight(&self, producer: &Producer) -> usize {
        let count = producer.in_flight_count();
        self.metrics.events_in_flight.set(i64::from(count));
        usize::try_from(count).unwrap_or(0)
    }

    /// Hands a record to librdkafka; false for one that is too large ever to be stored. What was handed over before an
    /// error is delivered all the same; the caller sends it again, under the same event ids.
    fn enqueue(
        &self,
        producer: &Producer,
        node_id: &str,
        event: &RequestEvent,
        batch: &Arc<Batch>,
    ) -> Result<bool, BusError> {
        let value = event.encode_to_vec();
        let record = BaseRecord::with_opaque_to(&self.settings.topic, batch.clone())
            .key(&event.workspace_id)
            .payload(&value)
            .headers(OwnedHeaders::new().insert(Header {
                key: NODE_HEADER,
                value: Some(node_id),
            }));
        match producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(BusError::Full),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                // It must not hold up the others.
                self.metrics.events.invalid.inc();
                batch.one_is_done(true);
                Ok(false)
            }
            Err((error, _)) => Err(unavailable(error)),
        }
    }

    fn producer(&self) -> Result<Arc<Producer>, KafkaError> {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, reason)) = current.client().fatal_error() {
            tracing::error!(%code, reason, "the producer cannot go on: a new one takes over");
            *current = Arc::new(producer(&self.settings, &self.metrics)?);
        }
        Ok(current.clone())
    }

    /// Makes the topic where it is missing, as soon as the brokers can be reached.
    pub async fn ensure_topic(settings: KafkaSettings) {
        let warning = Throttle::new(WARNING_INTERVAL_MS);
        loop {
            match create_topic(&settings).await {
                Ok(is_new) => {
                    let KafkaSettings {
                        topic, partitions, ..
                    } = &settings;
                    if is_new {
                        tracing::info!(topic, partitions, "made the topic of the events");
                    }
                    return;
                }
                Err(error) if warning.pass(clock::now_ms()) => {
                    tracing::warn!(%error, topic = settings.topic, "cannot look for the topic of the events; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(TOPIC_RETRY).await;
        }
    }
}

impl EventBus for Kafka {
    fn publish<'a>(&'a self, node_id: &'a str, events: Vec<RequestEvent>) -> Published<'a> {
        Box::pin(self.send(node_id, events))
    }
}

fn unavailable(error: KafkaError) -> BusError {
    BusError::Unavailable(Some(Box::new(error)))
}

fn producer(settings: &KafkaSettings, metrics: &Arc<Metrics>) -> Result<Producer, KafkaError> {
    let timeout_ms = DELIVERY_TIMEOUT.as_millis().to_string();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "rateguard-ext-ratelimit")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "zstd")
        .set("message.timeout.ms", &timeout_ms)
        .set("request.timeout.ms", &timeout_ms)
        .set("message.max.bytes", RECORD_BYTES_MAX)
        .set("batch.num.messages", FLUSH_RECORDS)
        .set("linger.ms", FLUSH_MS)
        .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KILOBYTES_MAX)
        // Java's hash, so that other producers of the topic agree on a workspace's partition.
        .set("partitioner", "murmur2_random")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.fast.interval.ms", "100")
        .set_log_level(RDKafkaLogLevel::Warning);
    let deliveries = Deliveries {
        metrics: metrics.clone(),
        warning: Throttle::new(WARNING_INTERVAL_MS),
    };
    ThreadedProducer::from_config_and_context(&config, deliveries)
}

/// Whether the topic had to be made. Copies: the brokers' `default.replication.factor`.
async fn create_topic(settings: &KafkaSettings) -> Result<bool, KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers);
    let admin: AdminClient<DefaultClientContext> =
        AdminClient::from_config_and_context(&config, DefaultClientContext)?;
    let topic = NewTopic::new(
        &settings.topic,
        i32::from(settings.partitions),
        TopicReplication::Fixed(-1),
    );
    let options = AdminOptions::new().request_timeout(Some(DELIVERY_TIMEOUT));
    let answer = admin.create_topics([&topic], &options).await?;
    match answer.into_iter().next() {
        Some(Ok(_)) => Ok(true),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        None => Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage)),
    }
}

/// What librdkafka tells: deliveries, errors, its log.
struct Deliveries {
    metrics: Arc<Metrics>,
    warning: Throttle,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.warning.pass(clock::now_ms()) {
            tracing::warn!(?level, facility, "librdkafka: {message}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.warning.pass(clock::now_ms()) {
            tracing::warn!(%error, reason, "the brokers of KAFKA_BROKERS are not well");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        if let Err((error, _)) = result {
            self.metrics.events_delivery_failures.inc();
            if self.warning.pass(clock::now_ms()) {
                tracing::warn!(%error, "an event was not delivered; its batch is refused");
            }
        }
        batch.one_is_done(result.is_ok());
    }
}

/// The records of one report that are on their way.
struct Batch {
    outstanding: AtomicUsize,
    has_failed: AtomicBool,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Batch {
    /// A batch of `count` records, and the message that all of them have an outcome.
    fn of(count: usize) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (done, delivered) = oneshot::channel();
        let batch = Self {
            outstanding: AtomicUsize::new(count),
            has_failed: AtomicBool::new(false),
            done: Mutex::new(Some(done)),
        };
        (Arc::new(batch), delivered)
    }

    fn one_is_done(&self, is_delivered: bool) {
        if !is_delivered {
            self.has_failed.store(true, Ordering::Release);
        }
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The caller may have gone away.
            done.map(|done| done.send(()));
        }
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_is_done_with_its_last_record_and_failed_with_any() {
        let (batch, delivered) = Batch::of(3);
        batch.one_is_done(true);
        batch.one_is_done(false);
        assert!(batch.has_failed());
        batch.one_is_done(true);
        assert_eq!(delivered.await, Ok(()));
    }

    #[tokio::test]
    async fn ev_03_nothing_is_acknowledged_while_no_broker_is_there() {
        let metrics = Arc::new(Metrics::new());
        let settings = KafkaSettings {
            // Nothing listens on the discard port of loopback.
            brokers: "127.0.0.1:9".into(),
            topic: "api-events".into(),
            partitions: 1,
        };
        let bus = Kafka::new(settings, metrics.clone()).expect("starts without brokers");
        let outcome = bus.publish("envoy-1", vec![RequestEvent::default(); 3]).await;
        assert!(matches!(outcome, Err(BusError::Unavailable(_))), "{outcome:?}");
        assert_eq!(metrics.events.unavailable.get(), 3);
        assert_eq!(metrics.events.published.get(), 0);
    }

    #[tokio::test]
    async fn ev_01_a_full_queue_refuses() {
        let metrics = Arc::new(Metrics::new());
        let settings = KafkaSettings {
            brokers: "127.0.0.1:9".into(),
            topic: "api-events".into(),
            partitions: 1,
        };
        let bus = Kafka::new(settings, metrics.clone()).expect("starts without brokers");
        let outcome = bus
            .publish("envoy-1", vec![RequestEvent::default(); 30_000])
            .await;
        assert!(matches!(outcome, Err(BusError::Full)), "{outcome:?}");
        assert_eq!(metrics.events.full.get(), 30_000);
    }
}
