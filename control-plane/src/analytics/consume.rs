//! The analytics consumer: from the bus into ClickHouse, each event once (SPEC 5).
//!
//! Every partition that this process has is a lane with a task of its own: it gathers a batch, inserts it, buries what
//! can never be stored, and only then acknowledges. While ClickHouse is away a lane holds its one batch, reads no
//! further, and tries again; nothing is acknowledged.

mod batch;
mod lane;
mod metrics;
mod store;

pub use batch::{Batch, ROWS_ENOUGH};
pub use metrics::Metrics;

use super::Endpoint;
use super::reconcile::Active;
use super::source::Source;
use crate::clock::Clock;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What every lane shares.
#[derive(Clone)]
pub struct Context {
    pub endpoint: Endpoint,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Told of what was stored.
    pub active: Arc<Active>,
}

/// Consumes until told to stop, and then until every lane has stored or given back what it had.
pub async fn run<S: Source>(source: S, context: Context, shutdown: watch::Receiver<bool>) {
    let (lanes, mut assigned) = mpsc::channel(1);
    let source = tokio::spawn(source.run(lanes, shutdown));
    let mut running = JoinSet::new();
    // Ends when the source does: it holds the only sender.
    while let Some(next) = assigned.recv().await {
        running.spawn(lane::drive(next, context.clone()));
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    if source.await.is_err() {
        tracing::error!("the event source failed");
    }
}
