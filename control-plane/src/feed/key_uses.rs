//! When keys were last used: collected from polls, written in batches, at most once a minute per key.

use std::collections::HashMap;
use uuid::Uuid;

/// Shortest time between two writes of one key.
const WRITE_INTERVAL_MS: i64 = 60_000;
/// Keys waiting to be written; more are not taken until some are.
const PENDING_MAX: usize = 200_000;
/// How far ahead of ours a data plane's clock may be, and how late it may report.
const AHEAD_MINUTES: i64 = 2;
const BEHIND_MINUTES: i64 = 24 * 60;

/// A key and the Unix minute of its last use.
pub type KeyUse = (Uuid, i64);

#[derive(Debug, Default)]
pub struct KeyUses {
    pending: HashMap<Uuid, i64>,
    /// When each key was written last; entries older than the interval go.
    written_ms: HashMap<Uuid, i64>,
}

impl KeyUses {
    /// Notes a use. Minutes that no honest clock says are ignored.
    pub fn note(&mut self, (key_id, minute): KeyUse, now_ms: i64) {
        let now_minute = now_ms.div_euclid(60_000);
        let is_plausible = (now_minute - BEHIND_MINUTES..=now_minute + AHEAD_MINUTES).contains(&minute);
        let has_room = self.pending.len() < PENDING_MAX || self.pending.contains_key(&key_id);
        if is_plausible && has_room {
            let pending = self.pending.entry(key_id).or_insert(minute);
            *pending = (*pending).max(minute);
        }
    }

    /// Takes what may be written at this moment.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<KeyUse> {
        self.written_ms
            .retain(|_, at_ms| now_ms - *at_ms < WRITE_INTERVAL_MS);
        let written_ms = &mut self.written_ms;
        let mut due = Vec::new();
        self.pending.retain(|key_id, minute| {
            if written_ms.contains_key(key_id) {
                return true;
            }
            written_ms.insert(*key_id, now_ms);
            due.push((*key_id, *minute));
            false
        });
        due
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, uses: Vec<KeyUse>) {
        for (key_id, minute) in uses {
            self.written_ms.remove(&key_id);
            let pending = self.pending.entry(key_id).or_insert(minute);
            *pending = (*pending).max(minute);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Uuid = Uuid::from_u128(1);
    const NOW_MS: i64 = 1_700_000_000_000;
    const MINUTE: i64 = NOW_MS / 60_000;

    #[test]
    fn a_key_is_written_at_most_once_a_minute() {
        let mut uses = KeyUses::default();
        uses.note((KEY, MINUTE), NOW_MS);
        assert_eq!(uses.take_due(NOW_MS), [(KEY, MINUTE)]);
        uses.note((KEY, MINUTE + 1), NOW_MS + 59_999);
        assert_eq!(uses.take_due(NOW_MS + 59_999), []);
        assert_eq!(uses.take_due(NOW_MS + 60_000), [(KEY, MINUTE + 1)]);
    }

    #[test]
    fn the_latest_minute_wins() {
        let mut uses = KeyUses::default();
        for minute in [MINUTE - 1, MINUTE, MINUTE - 2] {
            uses.note((KEY, minute), NOW_MS);
        }
        assert_eq!(uses.take_due(NOW_MS), [(KEY, MINUTE)]);
    }

    #[test]
    fn what_could_not_be_written_is_due_again() {
        let mut uses = KeyUses::default();
        uses.note((KEY, MINUTE), NOW_MS);
        let due = uses.take_due(NOW_MS);
        uses.put_back(due);
        assert_eq!(uses.take_due(NOW_MS + 1), [(KEY, MINUTE)]);
    }

    #[test]
    fn minutes_of_another_age_are_ignored() {
        let mut uses = KeyUses::default();
        for minute in [i64::MIN, 0, MINUTE + 3, i64::MAX] {
            uses.note((KEY, minute), NOW_MS);
        }
        assert_eq!(uses.take_due(NOW_MS), []);
    }
}
