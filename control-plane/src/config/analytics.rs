//! What `analytics` needs: a bus to read, a ClickHouse to write.

use super::reader::Reader;
use super::{ConfigError, Limits, LogFormat, Lookup, Secret};
use crate::analytics::Endpoint;
use std::net::SocketAddr;

/// Where the limit service leaves events: as that service itself chooses.
#[derive(Debug, Clone)]
pub enum EventBus {
    /// Where `KAFKA_BROKERS` is set.
    Kafka(KafkaTopic),
    /// `EVENTS_REDIS_URL`, else `REDIS_URL`.
    Redis(Secret),
}

/// A topic and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTopic {
    /// `KAFKA_BROKERS`: host:port, comma-separated. No TLS to them in this build.
    pub brokers: String,
    /// `KAFKA_TOPIC`. Default `api-events`.
    pub topic: String,
}

/// What `analytics` needs.
#[derive(Debug, Clone)]
pub struct AnalyticsConfig {
    /// `CLICKHOUSE_URL`, `CLICKHOUSE_CLUSTER`.
    pub clickhouse: Endpoint,
    pub events: EventBus,
    pub limits: Limits,
    /// `LISTEN_ADDR`: `/health`, `/ready`, `/metrics`. Default 127.0.0.1:3000; port 0 takes a free one.
    pub listen_addr: SocketAddr,
    pub log_format: LogFormat,
}

impl AnalyticsConfig {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let environment = reader.environment();
        let clickhouse = reader.clickhouse();
        if clickhouse.is_none() && reader.get("CLICKHOUSE_URL").is_none() {
            reader.problem(
                "CLICKHOUSE_URL",
                "is missing; set it to http://user:password@host:8123/database",
            );
        }
        let events = reader.events();
        if events.is_none() {
            reader.problem(
                "REDIS_URL",
                "is missing, and EVENTS_REDIS_URL and KAFKA_BROKERS too: set the one that the limit service has",
            );
        }
        let limits = reader.limits(environment);
        let listen_addr = reader.parsed("LISTEN_ADDR", "127.0.0.1:3000", "host:port, e.g. 127.0.0.1:3000");
        let log_format = reader.log_format();
        match (clickhouse, events) {
            (Some(clickhouse), Some(events)) => reader.finish(Self {
                clickhouse,
                events,
                limits,
                listen_addr,
                log_format,
            }),
            // One of the problems above says which.
            _ => Err(reader.refused()),
        }
    }
}

impl Reader<'_> {
    pub(super) fn events(&mut self) -> Option<EventBus> {
        if let Some(brokers) = self.brokers() {
            return Some(EventBus::Kafka(KafkaTopic {
                brokers: brokers.join(","),
                topic: self.topic(),
            }));
        }
        let url = self
            .secret_text("EVENTS_REDIS_URL", "EVENTS_REDIS_URL_FILE")
            .or_else(|| self.secret_text("REDIS_URL", "REDIS_URL_FILE"))?;
        if redis::Client::open(url.as_str()).is_err() {
            self.problem("REDIS_URL", "is not of the form redis://host:6379/0");
        }
        Some(EventBus::Redis(Secret::new(&url)))
    }

    /// `None` where none is named.
    pub(super) fn brokers(&mut self) -> Option<Vec<String>> {
        let brokers: Vec<String> = self
            .get("KAFKA_BROKERS")?
            .split(',')
            .map(|broker| broker.trim().to_owned())
            .filter(|broker| !broker.is_empty())
            .collect();
        let is_broker = |broker: &String| {
            broker
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !brokers.iter().all(is_broker) {
            self.problem("KAFKA_BROKERS", "is not of the form host:9092,host:9092");
        }
        (!brokers.is_empty()).then_some(brokers)
    }

    pub(super) fn topic(&mut self) -> String {
        let topic = self.get("KAFKA_TOPIC").unwrap_or_else(|| "api-events".to_owned());
        let is_sound = topic.len() <= 249
            && topic
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !is_sound {
            self.problem(
                "KAFKA_TOPIC",
                "is not 1 to 249 letters, digits, dots, underscores and hyphens",
            );
        }
        topic
    }
}
