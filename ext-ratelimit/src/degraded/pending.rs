//! Reservations admitted from memory: remembered until the data plane settles them in Redis, or charged there as
//! reserved when nobody does. Bounded; what does not fit is counted by the caller.

use crate::ledger::{Caller, Settlement};
use rateguard_model::id::{RequestId, WorkspaceId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
struct Entry {
    /// `actual` is what was held.
    settlement: Settlement,
    caller: Caller,
    expires_at_ms: i64,
}

#[derive(Debug)]
pub(super) struct Pending {
    count_max: usize,
    /// Length of `entries`, so that a healthy service takes no lock to learn that it is empty.
    count: AtomicUsize,
    entries: Mutex<HashMap<RequestId, Entry>>,
}

impl Pending {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            count_max,
            count: AtomicUsize::new(0),
            entries: Mutex::default(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.count() != 0
            && self
                .entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(&id)
    }

    /// Answers false when it is full.
    pub(super) fn insert(&self, settlement: Settlement, caller: Caller, expires_at_ms: i64) -> bool {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.count_max && !entries.contains_key(&settlement.id) {
            return false;
        }
        entries.entry(settlement.id).or_insert(Entry {
            settlement,
            caller,
            expires_at_ms,
        });
        self.count.store(entries.len(), Ordering::Release);
        true
    }

    /// Somebody resolved these in Redis.
    pub(super) fn resolve(&self, ids: impl IntoIterator<Item = RequestId>) {
        if self.count() == 0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            entries.remove(&id);
        }
        self.count.store(entries.len(), Ordering::Release);
    }

    /// Moves the expiry of a reservation of this workspace; answers whether it is known.
    pub(super) fn renew(&self, workspace_id: WorkspaceId, id: RequestId, expires_at_ms: i64) -> bool {
        if self.count() == 0 {
            return false;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(&id) {
            Some(entry) if entry.settlement.workspace_id == workspace_id => {
                entry.expires_at_ms = expires_at_ms;
                true
            }
            _ => false,
        }
    }

    /// At most `max` that expired; they stay until resolved.
    pub(super) fn expired(&self, max: usize, now_ms: i64) -> Vec<(Settlement, Caller)> {
        if self.count() == 0 {
            return Vec::new();
        }
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|entry| entry.expires_at_ms <= now_ms)
            .take(max)
            .map(|entry| (entry.settlement.clone(), entry.caller))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(n: u8) -> Settlement {
        Settlement {
            id: RequestId::from_bytes([n; 16]),
            workspace_id: WorkspaceId::from_bytes([9; 16]),
            reserved_at_ms: 0,
            amounts: Vec::new(),
            part: 0,
        }
    }

    #[test]
    fn full_is_said_and_a_known_id_is_no_second_entry() {
        let pending = Pending::new(1);
        assert!(pending.insert(settlement(1), Caller::default(), 10));
        assert!(pending.insert(settlement(1), Caller::default(), 10));
        assert!(!pending.insert(settlement(2), Caller::default(), 10));
        assert_eq!(pending.count(), 1);
    }

    #[test]
    fn only_what_expired_is_due_until_it_is_resolved() {
        let pending = Pending::new(9);
        pending.insert(settlement(1), Caller::default(), 10);
        pending.insert(settlement(2), Caller::default(), 20);
        assert_eq!(pending.expired(9, 15), vec![(settlement(1), Caller::default())]);
        assert_eq!(pending.expired(9, 15).len(), 1);
        assert!(pending.renew(
            WorkspaceId::from_bytes([9; 16]),
            RequestId::from_bytes([1; 16]),
            30
        ));
        assert!(!pending.renew(
            WorkspaceId::from_bytes([8; 16]),
            RequestId::from_bytes([1; 16]),
            30
        ));
        assert!(pending.expired(9, 15).is_empty());
        pending.resolve([RequestId::from_bytes([1; 16]), RequestId::from_bytes([2; 16])]);
        assert_eq!(pending.count(), 0);
        assert!(!pending.contains(RequestId::from_bytes([1; 16])));
    }
}
