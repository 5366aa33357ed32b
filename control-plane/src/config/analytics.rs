//! What `analytics` needs: a bus to read, a ClickHouse to write.

use super::reader::Reader;
use super::{ConfigError, Limits, LogFormat, Lookup, Secret};
use crate::analytics::Endpoint;
use std::net::SocketAddr;

/// Where the limit service leaves events: as that service itself chooses.
#[derive(Debug, Clone)]
pub enum EventBus {
    /// `EVENTS_REDIS_URL`, else `REDIS_URL`.
    Redis(Secret),
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
                "is missing, and EVENTS_REDIS_URL too: set the one that the limit service has",
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
        let url = self
            .secret_text("EVENTS_REDIS_URL", "EVENTS_REDIS_URL_FILE")
            .or_else(|| self.secret_text("REDIS_URL", "REDIS_URL_FILE"))?;
        if redis::Client::open(url.as_str()).is_err() {
            self.problem("REDIS_URL", "is not of the form redis://host:6379/0");
        }
        Some(EventBus::Redis(Secret::new(&url)))
    }
}
