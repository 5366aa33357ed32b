//! Where the consumer's messages come from. One trait, two buses.
//!
//! A partition belongs to one consumer at a time, so that duplicates meet in one memory. What is read stays the bus's
//! until it is acknowledged; whoever gets the partition next reads it again.

pub mod kafka;
pub mod redis;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Why the bus did not answer. The caller tries again, or finds that the partition is not its own any more.
#[derive(Debug, thiserror::Error)]
#[error("the event bus does not answer")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where a message is in its partition: the two numbers of a Redis stream's entry, or Kafka's offset and the record's
/// time, which tells a topic from one of the same name before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64, pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// What a message claims to be; somebody else may have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A `rateguard.v1.ReportUsageRequest`.
    Report(Vec<u8>),
    /// One `rateguard.v1.RequestEvent`, and the data plane that sent it.
    Event { node: String, bytes: Vec<u8> },
}

/// One message of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub offset: Offset,
    /// When the bus took it, Unix milliseconds.
    pub received_at_ms: i64,
    pub payload: Payload,
}

/// What can never be a row, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `partition@offset`.
    pub origin: String,
    pub reason: String,
    pub payload: Vec<u8>,
}

/// Whether a lane's partition is still this process'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Keep,
    /// Store what was read, acknowledge it, and end.
    Release,
    /// Another consumer has it: end without a word.
    Lost,
}

/// Which workspaces' events a partition may carry: what the memory of duplicates is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    All,
    /// Those whose id's last byte leaves this remainder.
    Residue {
        modulus: u8,
        remainder: u8,
    },
    /// Those whose id Kafka's own hash puts here.
    Murmur {
        partitions: u32,
        partition: u32,
    },
}

/// What waits in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Messages not acknowledged yet.
    pub messages: u64,
    /// Age of the oldest of them, milliseconds.
    pub age_ms: u64,
}

/// One partition, for as long as this process has it.
pub trait Lane: Send + 'static {
    /// Its name, in tokens of inserts, metrics and the log.
    fn name(&self) -> &Arc<str>;

    fn hold(&self) -> watch::Receiver<Hold>;

    fn share(&self) -> Share;

    /// The next messages in order; none when nothing came for a moment.
    fn read(&mut self) -> impl Future<Output = Result<Vec<Message>, SourceError>> + Send;

    /// Everything up to here is stored: `offsets` is what was read since the last acknowledgement.
    fn acknowledge(&mut self, offsets: &[Offset]) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Keeps what can never be stored where people find it.
    fn bury(&mut self, letters: &[DeadLetter]) -> impl Future<Output = Result<(), SourceError>> + Send;

    fn lag(&mut self, now_ms: i64) -> impl Future<Output = Result<Lag, SourceError>> + Send;
}

/// A bus.
pub trait Source: Send + 'static {
    type Lane: Lane;

    /// Hands out the lanes of the partitions that this process gets, until told to stop and all of them have ended.
    fn run(
        self,
        lanes: mpsc::Sender<Self::Lane>,
        shutdown: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send;
}
