//! Redis Streams as the bus: sixteen streams, each read by one consumer at a time.
//!
//! A stream is leased: its owner's name is a key that expires. Consumers count each other by heartbeats and hold no
//! more than their share, so that one more takes over some streams and the streams of one that died are taken over
//! when its leases end. Whoever gets a stream first claims what its predecessor read and did not acknowledge.

mod lane;
mod lease;

pub use lane::RedisLane;

use super::{Hold, Source, SourceError};
use lease::Leases;
use rateguard_wire::bus;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often leases are renewed and looked for.
const TICK: Duration = Duration::from_secs(1);

/// Every stream, at most one consumer each.
pub struct RedisSource {
    connection: ConnectionManager,
    leases: Leases,
    /// Streams that this process reads. A sender without receivers is a lane that has ended.
    held: BTreeMap<u8, watch::Sender<Hold>>,
    consumer: String,
}

impl RedisSource {
    /// Opens no connection yet. `consumer` tells this process from every other, its predecessor included.
    pub fn new(url: &str, consumer: &str) -> Result<Self, SourceError> {
        let client = redis::Client::open(url).map_err(failed)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(10)))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500));
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(failed)?;
        Ok(Self {
            leases: Leases::new(connection.clone(), consumer),
            connection,
            held: BTreeMap::new(),
            consumer: consumer.to_owned(),
        })
    }

    /// Gives up the leases of lanes that have ended.
    async fn give_back(&mut self) {
        let ended: Vec<u8> = self
            .held
            .iter()
            .filter(|(_, hold)| hold.is_closed())
            .map(|(n, _)| *n)
            .collect();
        for n in ended {
            self.held.remove(&n);
            self.leases.release(n).await;
        }
    }

    async fn tick(&mut self, lanes: &mpsc::Sender<RedisLane>) {
        self.give_back().await;
        for (n, hold) in &self.held {
            if self.leases.renew(*n).await == Some(false) || self.leases.has_ended(*n) {
                hold.send_replace(Hold::Lost);
            }
        }
        let Some(share) = self.leases.share().await else {
            return;
        };
        let mut keeping: Vec<&watch::Sender<Hold>> = self
            .held
            .values()
            .filter(|hold| *hold.borrow() == Hold::Keep)
            .collect();
        while keeping.len() > share
            && let Some(hold) = keeping.pop()
        {
            hold.send_replace(Hold::Release);
        }
        for n in 0..bus::STREAM_COUNT {
            if self.held.len() >= share {
                break;
            }
            if !self.held.contains_key(&n) && self.leases.take(n).await {
                let (hold, held) = watch::channel(Hold::Keep);
                let lane = RedisLane::new(self.connection.clone(), n, &self.consumer, held);
                self.held.insert(n, hold);
                // An error means that the consumer is gone, and we are told to stop.
                let _ = lanes.send(lane).await;
            }
        }
    }
}

impl Source for RedisSource {
    type Lane = RedisLane;

    async fn run(mut self, lanes: mpsc::Sender<RedisLane>, mut shutdown: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_stopping = tokio::select! {
                _ = ticks.tick() => false,
                _ = shutdown.wait_for(|stop| *stop) => true,
            };
            if is_stopping {
                break;
            }
            self.tick(&lanes).await;
        }
        drop(lanes);
        for hold in self.held.values() {
            hold.send_if_modified(|hold| {
                *hold == Hold::Keep && {
                    *hold = Hold::Release;
                    true
                }
            });
        }
        while !self.held.is_empty() {
            for (n, hold) in &self.held {
                if self.leases.renew(*n).await == Some(false) {
                    hold.send_replace(Hold::Lost);
                }
            }
            let _ = tokio::time::timeout(TICK, async {
                for hold in self.held.values() {
                    hold.closed().await;
                }
            })
            .await;
            self.give_back().await;
        }
        self.leases.leave().await;
    }
}

fn failed(error: redis::RedisError) -> SourceError {
    SourceError(Box::new(error))
}
