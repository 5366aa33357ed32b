//! The event bus and the analytics store: whether they can be reached.

use super::{Check, TIMEOUT, whole};
use rateguard_wire::bus;
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};
use tokio::net::TcpStream;

const BUS: &str = "event bus";
const TOPIC: &str = "topic of events";
const STORE: &str = "analytics store";

/// Every broker accepts a connection, and the topic is there.
pub(super) async fn bus(addresses: &[String], topic: &str) -> Vec<Check> {
    if addresses.is_empty() {
        return vec![Check::skipped(BUS, "KAFKA_BROKERS")];
    }
    let (reached, is_reached) = brokers(addresses).await;
    let mut checks = vec![reached];
    if is_reached {
        let (addresses, name) = (addresses.join(","), topic.to_owned());
        let waiting = tokio::task::spawn_blocking(move || waiting(&addresses, &name)).await;
        checks.push(match waiting {
            Ok(Ok(Some((partitions, events)))) => Check::ok(
                TOPIC,
                format!("{topic}: {partitions} partitions, {events} events wait for the consumer"),
            ),
            Ok(Ok(None)) => Check::warning(
                TOPIC,
                format!("{topic} is missing"),
                "start the limit service with these KAFKA_BROKERS: it makes the topic; or correct KAFKA_TOPIC",
            ),
            Ok(Err(error)) => Check::failed(
                TOPIC,
                format!("{topic}: {}", whole(&error)),
                "look at the brokers' logs: they accept connections and do not tell of the topic",
            ),
            Err(error) => Check::failed(TOPIC, whole(&error), "report this: the check itself failed"),
        });
    }
    checks
}

/// Partitions of the topic, and the events in them that the consumer has not committed. `None`: there is no such topic.
fn waiting(brokers: &str, topic: &str) -> Result<Option<(usize, i64)>, KafkaError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", bus::GROUP);
    let consumer: BaseConsumer = BaseConsumer::from_config(&config)?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().iter().map(MetadataPartition::id))
        .collect();
    if partitions.is_empty() {
        return Ok(None);
    }
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, TIMEOUT)?;
    let mut events = 0;
    for partition in &partitions {
        let (low, high) = consumer.fetch_watermarks(topic, *partition, TIMEOUT)?;
        let begin = match committed
            .find_partition(topic, *partition)
            .map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => offset,
            _ => low,
        };
        events += (high - begin).max(0);
    }
    Ok(Some((partitions.len(), events)))
}

/// Whether every broker accepts a connection, and whether any does.
async fn brokers(brokers: &[String]) -> (Check, bool) {
    let mut away = Vec::new();
    for broker in brokers {
        match tokio::time::timeout(TIMEOUT, TcpStream::connect(broker)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => away.push(format!("{broker}: {error}")),
            Err(_) => away.push(format!("{broker}: no answer in 5 s")),
        }
    }
    let fix = "start the broker, or correct KAFKA_BROKERS (host:port, comma-separated)";
    let is_reached = away.len() < brokers.len();
    let check = if away.is_empty() {
        Check::ok(
            BUS,
            format!("{} of {0} brokers accept connections", brokers.len()),
        )
    } else if is_reached {
        Check::warning(BUS, away.join("; "), fix)
    } else {
        Check::failed(BUS, away.join("; "), fix)
    };
    (check, is_reached)
}

/// ClickHouse answers its ping.
pub(super) async fn clickhouse(client: &reqwest::Client, url: Option<&str>) -> Vec<Check> {
    let Some(url) = url else {
        return vec![Check::skipped(STORE, "CLICKHOUSE_URL")];
    };
    let fix = "start ClickHouse, or correct CLICKHOUSE_URL (its HTTP address, e.g. http://127.0.0.1:8123)";
    // The path is the database's name, which /ping does not take.
    let ping = url::Url::parse(url)
        .and_then(|url| url.join("/ping"))
        .map_or_else(|_| format!("{url}/ping"), String::from);
    vec![match client.get(ping).send().await {
        Ok(answer) if answer.status().is_success() => Check::ok(STORE, "answers"),
        Ok(answer) => Check::failed(STORE, format!("answered {}", answer.status()), fix),
        Err(error) => Check::failed(STORE, whole(&error.without_url()), fix),
    }]
}
