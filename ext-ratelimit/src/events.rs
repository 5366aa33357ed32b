//! Where usage events go. The bus is a trait: Kafka where brokers are configured, else Redis Streams, else nothing.
//!
//! Delivery is at least once: a batch is acknowledged when the bus has all of it, and a caller that heard nothing
//! sends it again. The consumer drops duplicates by event id and revision.

mod discard;
mod kafka;
mod redis;

pub use discard::Discard;
pub use kafka::{Kafka, KafkaSettings};
pub use redis::RedisStreams;

use rateguard_wire::v1::RequestEvent;
use std::future::Future;
use std::pin::Pin;

/// Why the bus does not have the batch. None of it is acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bound on what waits is reached; nothing is dropped to make room.
    #[error("the event bus is full")]
    Full,
    #[error("the event bus is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

/// A boxed future: one allocation per batch, and callers need not be generic over the bus.
pub type Published<'a> = Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + 'a>>;

/// Takes events durably, or says that it did not.
pub trait EventBus: Send + Sync + 'static {
    /// `node_id` names the data plane that sent them, for the consumer's diagnostics.
    fn publish<'a>(&'a self, node_id: &'a str, events: Vec<RequestEvent>) -> Published<'a>;

    /// Whether anybody will ever read what was published.
    fn keeps(&self) -> bool {
        true
    }
}
