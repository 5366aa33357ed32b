//! The event bus on Redis Streams: 16 streams, a workspace always in the same one.
//!
//! Entry format: one field `b`, a protobuf `rateguard.v1.ReportUsageRequest` (`node_id`, `events`), so that a batch of
//! a hundred events costs one XADD. Entries leave only after the consumer has acknowledged them; nothing is ever
//! trimmed. Their size is measured with MEMORY USAGE every second, and between measurements what was added counts.
//!
//! Every stream has the consumer's group from the start, so that a consumer that comes later begins with the first entry.

use super::{BusError, EventBus, Published};
use crate::keys;
use crate::metrics::Metrics;
use prost::Message;
use rateguard_wire::bus::{STREAM_FIELD, stream_of};
use rateguard_wire::v1::{ReportUsageRequest, RequestEvent};
use redis::aio::ConnectionManager;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that Redis needs for an entry beyond its payload, roughly.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The consumer group. It begins with the first entry of a stream.
const CONSUMER_GROUP: &str = rateguard_wire::bus::GROUP;

/// How often the streams are measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

pub struct RedisStreams {
    connection: ConnectionManager,
    bytes_max: u64,
    bytes: AtomicU64,
    metrics: Arc<Metrics>,
}

impl RedisStreams {
    pub fn new(connection: ConnectionManager, bytes_max: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            connection,
            bytes_max,
            bytes: AtomicU64::new(0),
            metrics,
        }
    }

    /// Sees to the consumer's group and measures the streams until cancelled.
    pub async fn measure_forever(&self) {
        let all: Vec<u8> = (0..keys::EVENT_STREAM_COUNT).collect();
        let mut has_groups = false;
        loop {
            if !has_groups {
                has_groups = self.make_groups(&all).await.is_ok();
            }
            self.measure().await;
            tokio::time::sleep(MEASURE_INTERVAL).await;
        }
    }

    /// Measures the streams once. A failure keeps the last figure: publishing fails by itself then.
    pub async fn measure(&self) {
        let mut pipe = redis::pipe();
        for stream in 0..keys::EVENT_STREAM_COUNT {
            pipe.cmd("MEMORY")
                .arg("USAGE")
                .arg(keys::event_stream(stream))
                .arg("SAMPLES")
                .arg(8);
        }
        let mut connection = self.connection.clone();
        let sizes: Result<Vec<Option<u64>>, _> = pipe.query_async(&mut connection).await;
        if let Ok(sizes) = sizes {
            // Gone with a FLUSHALL, or with a Redis that kept nothing: their groups went with them.
            let missing: Vec<u8> = (0..)
                .zip(&sizes)
                .filter_map(|(stream, size)| size.is_none().then_some(stream))
                .collect();
            // A failure leaves them missing, and the next measurement tries again.
            let _ = self.make_groups(&missing).await;
            let bytes = sizes.into_iter().flatten().fold(0_u64, u64::saturating_add);
            self.bytes.store(bytes, Ordering::Release);
            self.metrics
                .events_stream_bytes
                .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Makes streams with the consumer's group, where they have none.
    async fn make_groups(&self, streams: &[u8]) -> Result<(), redis::RedisError> {
        let mut connection = self.connection.clone();
        for stream in streams {
            let made: Result<(), _> = redis::cmd("XGROUP")
                .arg("CREATE")
                .arg(keys::event_stream(*stream))
                .arg(CONSUMER_GROUP)
                .arg("0")
                .arg("MKSTREAM")
                .query_async(&mut connection)
                .await;
            match made {
                Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    async fn add(&self, node_id: &str, events: Vec<RequestEvent>) -> Result<(), BusError> {
        let event_count = events.len() as u64;
        let entries = entries(node_id, events);
        let size = entries
            .iter()
            .map(|(_, e)| e.len() as u64 + ENTRY_OVERHEAD_BYTES)
            .sum::<u64>();
        if self.bytes.load(Ordering::Acquire).saturating_add(size) > self.bytes_max {
            self.metrics.events.full.inc_by(event_count);
            return Err(BusError::Full);
        }
        let mut pipe = redis::pipe();
        for (stream, entry) in &entries {
            pipe.cmd("XADD")
                .arg(keys::event_stream(*stream))
                .arg("*")
                .arg(STREAM_FIELD)
                .arg(entry)
                .ignore();
        }
        let mut connection = self.connection.clone();
        let added: Result<(), redis::RedisError> = pipe.query_async(&mut connection).await;
        match added {
            Ok(()) => {
                self.bytes.fetch_add(size, Ordering::AcqRel);
                self.metrics.events.published.inc_by(event_count);
                Ok(())
            }
            Err(error) => {
                self.metrics.events.unavailable.inc_by(event_count);
                Err(BusError::Unavailable(Some(Box::new(error))))
            }
        }
    }
}

impl EventBus for RedisStreams {
    fn publish<'a>(&'a self, node_id: &'a str, events: Vec<RequestEvent>) -> Published<'a> {
        Box::pin(self.add(node_id, events))
    }
}

/// One entry per stream that a batch touches, nearly always one.
fn entries(node_id: &str, events: Vec<RequestEvent>) -> Vec<(u8, Vec<u8>)> {
    let mut by_stream = BTreeMap::<u8, Vec<RequestEvent>>::new();
    for event in events {
        by_stream
            .entry(stream_of(&event.workspace_id))
            .or_default()
            .push(event);
    }
    by_stream
        .into_iter()
        .map(|(stream, events)| {
            let entry = ReportUsageRequest {
                node_id: node_id.to_owned(),
                events,
                ..ReportUsageRequest::default()
            };
            (stream, entry.encode_to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(workspace: u8) -> RequestEvent {
        RequestEvent {
            workspace_id: vec![workspace; 16],
            ..RequestEvent::default()
        }
    }

    #[test]
    fn a_batch_of_one_workspace_is_one_entry_and_keeps_its_order() {
        let mut first = event(5);
        first.endpoint = "/first".into();
        let entries = entries("node", vec![first, event(5), event(5 + 16)]);
        assert_eq!(entries.len(), 1);
        let (stream, bytes) = &entries[0];
        assert_eq!(*stream, 5);
        let batch = ReportUsageRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(batch.node_id, "node");
        assert_eq!(batch.events.len(), 3);
        assert_eq!(batch.events[0].endpoint, "/first");
    }

    #[test]
    fn workspaces_spread_and_an_unknown_one_has_a_place() {
        let entries = entries("node", vec![event(1), event(2), RequestEvent::default()]);
        let streams: Vec<_> = entries.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [0, 1, 2]);
    }
}
