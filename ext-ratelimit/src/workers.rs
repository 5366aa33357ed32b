//! Live workers: the Envoy workers that reserved in the last minute. BOUNDED_OPEN shares are divided by their number.
//!
//! Each process counts its own. A [`Registry`] in Redis counts those of all processes, so that instances which serve
//! different workers do not each hand out the whole of what is left.

use crate::clock;
use crate::keys;
use redis::RedisError;
use redis::aio::ConnectionManager;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a worker counts as alive after its last reservation.
pub const ALIVE_MS: i64 = 60_000;

/// Workers that are told apart. More than any fleet has; a caller that makes ids up cannot grow the table further.
const WORKER_COUNT_MAX: usize = 65_536;

/// A worker's entry is refreshed this often at most.
const REFRESH_MS: i64 = 1_000;

#[derive(Debug, Default)]
pub struct Workers {
    seen: Mutex<HashMap<u64, i64>>,
    own: AtomicU32,
    everywhere: AtomicU32,
}

impl Workers {
    /// A worker reserved. Answers how many are alive everywhere, at least 1.
    pub fn seen(&self, worker: u64, now_ms: i64) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last_ms) = seen.get_mut(&worker) {
            if now_ms.saturating_sub(*last_ms) >= REFRESH_MS {
                *last_ms = now_ms;
            }
        } else if seen.len() < WORKER_COUNT_MAX {
            seen.insert(worker, now_ms);
            self.own
                .store(u32::try_from(seen.len()).unwrap_or(u32::MAX), Ordering::Release);
        }
        drop(seen);
        self.everywhere()
    }

    /// Forgets workers not seen for a minute and answers those alive here, with when they were seen last.
    pub fn sweep(&self, now_ms: i64) -> Vec<(u64, i64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, last_ms| now_ms.saturating_sub(*last_ms) < ALIVE_MS);
        self.own
            .store(u32::try_from(seen.len()).unwrap_or(u32::MAX), Ordering::Release);
        seen.iter().map(|(worker, last_ms)| (*worker, *last_ms)).collect()
    }

    /// The shared registry counts this many alive.
    pub fn heard(&self, everywhere: u32) {
        self.everywhere.store(everywhere, Ordering::Release);
    }

    /// Alive here.
    pub fn own(&self) -> u32 {
        self.own.load(Ordering::Acquire)
    }

    /// Alive in all processes as far as known; at least 1.
    pub fn everywhere(&self) -> u32 {
        self.everywhere.load(Ordering::Acquire).max(self.own()).max(1)
    }
}

/// How often processes tell each other.
const SYNC_INTERVAL: Duration = Duration::from_secs(2);

/// The live workers of all processes: a sorted set by Redis' own clock, so that processes need not agree on the time.
pub struct Registry {
    connection: ConnectionManager,
}

impl Registry {
    pub fn new(connection: ConnectionManager) -> Self {
        Self { connection }
    }

    /// Tells and hears until cancelled. While Redis is away the last number heard stays.
    pub async fn run(self, workers: Arc<Workers>) {
        loop {
            let now_ms = clock::now_ms();
            if let Ok(everywhere) = self.sync(&workers.sweep(now_ms), now_ms).await {
                workers.heard(everywhere);
            }
            tokio::time::sleep(SYNC_INTERVAL).await;
        }
    }

    /// Tells this process's workers, by when they were seen last, and answers how many are alive everywhere.
    async fn sync(&self, own: &[(u64, i64)], now_ms: i64) -> Result<u32, RedisError> {
        let mut connection = self.connection.clone();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
        let redis_ms = seconds * 1_000 + micros / 1_000;
        let key = keys::workers();
        let mut pipe = redis::pipe();
        if !own.is_empty() {
            let add = pipe.cmd("ZADD").arg(&key).arg("GT");
            for (worker, last_ms) in own {
                add.arg(redis_ms - now_ms.saturating_sub(*last_ms).max(0))
                    .arg(worker);
            }
            add.ignore();
        }
        pipe.cmd("ZREMRANGEBYSCORE")
            .arg(&key)
            .arg("-inf")
            .arg(redis_ms - ALIVE_MS)
            .ignore();
        pipe.cmd("ZCARD").arg(&key);
        let (everywhere,): (u32,) = pipe.query_async(&mut connection).await?;
        Ok(everywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_workers_of_the_last_minute_count() {
        let workers = Workers::default();
        assert_eq!(workers.everywhere(), 1);
        assert_eq!(workers.seen(1, 0), 1);
        assert_eq!(workers.seen(1, 10), 1);
        assert_eq!(workers.seen(2, 30_000), 2);
        assert_eq!(workers.sweep(59_999).len(), 2);
        assert_eq!(workers.sweep(60_000), vec![(2, 30_000)]);
        assert_eq!(workers.everywhere(), 1);
    }

    #[test]
    fn the_registry_counts_workers_of_other_processes_too() {
        let workers = Workers::default();
        workers.heard(4);
        assert_eq!(workers.seen(1, 0), 4);
        workers.heard(0);
        assert_eq!(workers.seen(1, 1), 1);
    }
}
