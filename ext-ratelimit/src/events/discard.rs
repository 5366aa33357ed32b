//! No bus: events are counted and dropped, and the log says so once.

use super::{EventBus, Published};
use crate::metrics::Metrics;
use rateguard_wire::v1::RequestEvent;
use std::sync::Arc;

#[derive(Debug)]
pub struct Discard {
    metrics: Arc<Metrics>,
}

impl Discard {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        tracing::warn!(
            "no KAFKA_BROKERS, no REDIS_URL and no EVENTS_REDIS_URL: usage events are counted and dropped"
        );
        Self { metrics }
    }
}

impl EventBus for Discard {
    fn publish<'a>(&'a self, _node_id: &'a str, events: Vec<RequestEvent>) -> Published<'a> {
        self.metrics.events.dropped.inc_by(events.len() as u64);
        Box::pin(std::future::ready(Ok(())))
    }

    fn keeps(&self) -> bool {
        false
    }
}
