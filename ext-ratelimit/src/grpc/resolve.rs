//! Settlements and releases of one call → the ledger.

use super::auth::Caller;
use super::decode;
use crate::clock;
use crate::degraded::Failover;
use crate::ledger::{Ledger, LedgerError, Resolution, Settlement};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_wire::v1;
use std::sync::Arc;
use tonic::Status;

pub struct Resolver<P, F> {
    ledger: Arc<Failover<P, F>>,
    metrics: Arc<Metrics>,
    warning: Throttle,
}

/// Which way a batch resolves its reservations.
#[derive(Clone, Copy)]
pub(super) enum Resolve {
    Settle,
    Release,
}

/// A batch whose sender may resolve what is in it.
pub(super) struct Checked {
    how: Resolve,
    sound: Vec<Settlement>,
    /// Where each sound one was in the batch.
    places: Vec<usize>,
    count: usize,
    /// The last words on blocks, by place.
    blocks: Vec<Block>,
}

/// Requests that drew on a reservation have events of their own.
pub(super) struct Block {
    place: usize,
    pub(super) id: RequestId,
    pub(super) workspace_id: WorkspaceId,
}

impl Checked {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Blocks that had expired: what was charged then is not spent.
    pub(super) fn replaced<'a>(&'a self, resolutions: &'a [Resolution]) -> impl Iterator<Item = &'a Block> {
        let is_replaced = |block: &&Block| resolutions.get(block.place) == Some(&Resolution::Replaced);
        self.blocks.iter().filter(is_replaced)
    }
}

impl<P: Ledger, F: Ledger> Resolver<P, F> {
    pub fn new(ledger: Arc<Failover<P, F>>, metrics: Arc<Metrics>, warning: Throttle) -> Self {
        Self {
            ledger,
            metrics,
            warning,
        }
    }

    /// What is malformed is left out: retrying it cannot help.
    pub(super) fn check(
        &self,
        caller: Caller,
        batch: Vec<v1::Settlement>,
        how: Resolve,
    ) -> Result<Checked, Status> {
        let mut checked = Checked {
            how,
            sound: Vec::with_capacity(batch.len()),
            places: Vec::with_capacity(batch.len()),
            count: batch.len(),
            blocks: Vec::new(),
        };
        for (place, wire) in batch.into_iter().enumerate() {
            let is_block = wire.is_block;
            match decode::settlement(wire, matches!(how, Resolve::Release)) {
                Ok((settlement, saturated)) => {
                    caller.may(settlement.workspace_id)?;
                    self.alert_saturated(&settlement, saturated);
                    if is_block && settlement.part == 0 {
                        checked.blocks.push(Block {
                            place,
                            id: settlement.id,
                            workspace_id: settlement.workspace_id,
                        });
                    }
                    checked.sound.push(settlement);
                    checked.places.push(place);
                }
                Err(reason) => self.warn_invalid(how.field(), &reason),
            }
        }
        Ok(checked)
    }

    /// One resolution for each of the batch, in its order.
    pub(super) async fn apply(&self, checked: &Checked) -> Result<Vec<Resolution>, LedgerError> {
        let mut resolutions = vec![Resolution::Invalid; checked.count];
        if !checked.sound.is_empty() {
            let now_ms = clock::now_ms();
            let answer = match checked.how {
                Resolve::Settle => self.ledger.settle(&checked.sound, now_ms).await?,
                Resolve::Release => self.ledger.release(&checked.sound, now_ms).await?,
            };
            for (place, resolution) in checked.places.iter().zip(answer) {
                if let Some(slot) = resolutions.get_mut(*place) {
                    *slot = resolution;
                }
            }
        }
        self.count(&resolutions);
        Ok(resolutions)
    }

    pub(super) fn count(&self, resolutions: &[Resolution]) {
        let counters = &self.metrics.resolutions;
        for resolution in resolutions {
            match resolution {
                Resolution::Applied => &counters.applied,
                Resolution::Duplicate => &counters.duplicate,
                Resolution::Replaced => &counters.replaced,
                Resolution::Invalid => &counters.invalid,
                Resolution::Unknown => &counters.unknown,
            }
            .inc();
        }
    }

    fn alert_saturated(&self, settlement: &Settlement, saturated: bool) {
        if saturated {
            self.metrics.saturated.inc();
            tracing::warn!(reservation.id = %settlement.id, workspace.id = %settlement.workspace_id,
                "usage beyond what can be counted: charged as 2^53 - 1");
        }
    }

    pub(super) fn warn_invalid(&self, what: &'static str, reason: &str) {
        if self.warning.pass(clock::now_ms()) {
            tracing::warn!(what, reason, "malformed and not retryable");
        }
    }
}

impl Resolve {
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Settle => "settlements",
            Self::Release => "releases",
        }
    }
}
