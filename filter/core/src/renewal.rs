//! Reservations of running answers, renewed before they expire (SPEC 1.4).

use rateguard_model::id::{RequestId, WorkspaceId};
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Renewals {
    /// How often the reservation of an outstanding answer is renewed.
    interval_ms: i64,
    /// Ids begin with their time, so that the oldest come first.
    open: BTreeMap<RequestId, Open>,
}

#[derive(Debug)]
struct Open {
    workspace_id: WorkspaceId,
    due_ms: i64,
}

impl Renewals {
    pub fn every(interval_ms: u32) -> Self {
        Self {
            interval_ms: i64::from(interval_ms),
            open: BTreeMap::new(),
        }
    }

    pub fn opened(&mut self, id: RequestId, workspace_id: WorkspaceId, now_ms: i64) {
        self.open.insert(
            id,
            Open {
                workspace_id,
                due_ms: now_ms.saturating_add(self.interval_ms),
            },
        );
    }

    pub fn closed(&mut self, id: &RequestId) {
        self.open.remove(id);
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// What is due, at most `max`; each is due again an interval later.
    pub fn take_due(&mut self, now_ms: i64, max: usize) -> Vec<(RequestId, WorkspaceId)> {
        let next_ms = now_ms.saturating_add(self.interval_ms);
        self.open
            .iter_mut()
            .filter(|(_, open)| open.due_ms <= now_ms)
            .take(max)
            .map(|(id, open)| {
                open.due_ms = next_ms;
                (*id, open.workspace_id)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_every_interval_until_closed() {
        const INTERVAL_MS: i64 = 20_000;
        let (id, workspace) = (RequestId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
        let mut renewals = Renewals::every(20_000);
        renewals.opened(id, workspace, 0);
        assert!(renewals.take_due(INTERVAL_MS - 1, 10).is_empty());
        assert_eq!(renewals.take_due(INTERVAL_MS, 10), vec![(id, workspace)]);
        assert!(renewals.take_due(INTERVAL_MS + 1, 10).is_empty());
        assert_eq!(renewals.take_due(2 * INTERVAL_MS, 10).len(), 1);
        renewals.closed(&id);
        assert!(renewals.take_due(i64::MAX, 10).is_empty());
    }
}
