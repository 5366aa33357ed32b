//! Who reads which stream.

use rateguard_wire::bus;
use redis::Script;
use redis::aio::ConnectionManager;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a stream stays with a consumer that says nothing, and how long that one counts as alive.
const LEASE: Duration = Duration::from_secs(5);

/// Consumers by their last heartbeat.
const CONSUMERS: &str = "rg1:{events}:consumers";

/// Says that this consumer lives, and answers how many do.
const HEARTBEAT: &str = "#!lua
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - tonumber(ARGV[2]))
return redis.call('ZCARD', KEYS[1])";

/// 1 when the lease is ours, and then for its whole time again; also when it had ended and nobody had taken it.
const RENEW: &str = "#!lua
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

const RELEASE: &str = "#!lua
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

pub(super) struct Leases {
    connection: ConnectionManager,
    consumer: String,
    /// When each lease ends, by our clock and if nothing renews it.
    ends: BTreeMap<u8, Instant>,
    heartbeat: Script,
    renew: Script,
    release: Script,
}

impl Leases {
    pub(super) fn new(connection: ConnectionManager, consumer: &str) -> Self {
        Self {
            connection,
            consumer: consumer.to_owned(),
            ends: BTreeMap::new(),
            heartbeat: Script::new(HEARTBEAT),
            renew: Script::new(RENEW),
            release: Script::new(RELEASE),
        }
    }

    /// How many streams this consumer may hold. `None` while Redis is away.
    pub(super) async fn share(&mut self) -> Option<usize> {
        let mut call = self.heartbeat.key(CONSUMERS);
        call.arg(&self.consumer).arg(lease_ms());
        let alive: u64 = call.invoke_async(&mut self.connection).await.ok()?;
        let share = u64::from(bus::STREAM_COUNT).div_ceil(alive.max(1));
        usize::try_from(share).ok()
    }

    pub(super) async fn take(&mut self, stream: u8) -> bool {
        let begun = Instant::now();
        let taken = redis::cmd("SET")
            .arg(key(stream))
            .arg(&self.consumer)
            .arg("NX")
            .arg("PX")
            .arg(lease_ms())
            .query_async::<Option<String>>(&mut self.connection)
            .await;
        let is_taken = matches!(taken, Ok(Some(_)));
        if is_taken {
            self.ends.insert(stream, begun + LEASE);
        }
        is_taken
    }

    /// `Some(false)`: another consumer has it. `None`: Redis does not answer.
    pub(super) async fn renew(&mut self, stream: u8) -> Option<bool> {
        let begun = Instant::now();
        let mut call = self.renew.key(key(stream));
        call.arg(&self.consumer).arg(lease_ms());
        let is_ours: u8 = call.invoke_async(&mut self.connection).await.ok()?;
        if is_ours == 1 {
            self.ends.insert(stream, begun + LEASE);
        }
        Some(is_ours == 1)
    }

    /// Whether another consumer may have it by now.
    pub(super) fn has_ended(&self, stream: u8) -> bool {
        self.ends.get(&stream).is_none_or(|end| Instant::now() >= *end)
    }

    pub(super) async fn release(&mut self, stream: u8) {
        self.ends.remove(&stream);
        let mut call = self.release.key(key(stream));
        call.arg(&self.consumer);
        // Without an answer the lease ends by itself.
        let _: Result<u8, _> = call.invoke_async(&mut self.connection).await;
    }

    /// The others need not wait for this consumer any more.
    pub(super) async fn leave(&mut self) {
        let _: Result<u8, _> = redis::cmd("ZREM")
            .arg(CONSUMERS)
            .arg(&self.consumer)
            .query_async(&mut self.connection)
            .await;
    }
}

/// In the stream's own slot.
fn key(stream: u8) -> String {
    format!("{}:owner", bus::stream(stream))
}

fn lease_ms() -> u64 {
    u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX)
}
