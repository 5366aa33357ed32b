//! Reservations of running answers, renewed before they expire (SPEC 1.4).

use rateguard_model::id::{RequestId, WorkspaceId};
use std::collections::BTreeMap;

/// How long a reservation lives unless renewed.
pub const TTL_MS: u32 = 60_000;
/// How often the reservation of an outstanding answer is renewed.
pub const INTERVAL_MS: i64 = 20_000;

#[derive(Debug, Default)]
pub struct Renewals {
    /// Ids begin with their time, so that the oldest come first.
    open: BTreeMap<RequestId, Open>,
}

#[derive(Debug)]
struct Open {
    workspace_id: WorkspaceId,
    due_ms: i64,
}

impl Renewals {
    pub fn opened(&mut self, id: RequestId, workspace_id: WorkspaceId, now_ms: i64) {
        self.open.insert(
            id,
            Open {
                workspace_id,
                due_ms: now_ms.saturating_add(INTERVAL_MS),
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
        self.open
            .iter_mut()
            .filter(|(_, open)| open.due_ms <= now_ms)
            .take(max)
            .map(|(id, open)| {
                open.due_ms = now_ms.saturating_add(INTERVAL_MS);
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
        let (id, workspace) = (RequestId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
        let mut renewals = Renewals::default();
        renewals.opened(id, workspace, 0);
        assert!(renewals.take_due(INTERVAL_MS - 1, 10).is_empty());
        assert_eq!(renewals.take_due(INTERVAL_MS, 10), vec![(id, workspace)]);
        assert!(renewals.take_due(INTERVAL_MS + 1, 10).is_empty());
        assert_eq!(renewals.take_due(2 * INTERVAL_MS, 10).len(), 1);
        renewals.closed(&id);
        assert!(renewals.take_due(i64::MAX, 10).is_empty());
    }
}
