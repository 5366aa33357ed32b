//! Requests of one worker that meet exactly the same quotas, and what the ledger said about these.

use super::book::{are_alike, is_sound, only_alerts};
use super::joint::{Joint, MEMBERS_MAX, Waiting};
use crate::effect::ReserveCall;
use crate::event::Reserved;
use rateguard_model::id::{ApiId, KeyId, RequestId, WorkspaceId};
use rateguard_model::quota::Quota;
use std::rc::Rc;

/// Older words of the ledger say nothing about a joint reservation.
const SEEN_MS_MAX: i64 = 1_000;

/// No joint reservations for so long after a refusal, and after an answer from memory.
const REFUSED_PAUSE_MS: i64 = 500;

/// Whoever waits does not wait longer for another's call: the service may be slow.
const PATIENCE_MS: i64 = 10;

#[derive(Debug)]
pub(super) struct Queue {
    workspace_id: WorkspaceId,
    key_id: KeyId,
    api_id: ApiId,
    quotas: Rc<[Quota]>,
    pub(super) waiting: Vec<Waiting>,
    /// The call whose answer is awaited before anybody else asks, and since when.
    pub(super) in_flight: Option<(RequestId, i64)>,
    /// What the ledger said last, and when; nothing after a refusal or an answer from memory.
    seen: Option<(i64, Reserved)>,
    /// No joint reservations before.
    not_before_ms: i64,
    pub(super) noted_ms: i64,
}

impl Queue {
    pub(super) fn new(call: &ReserveCall, now_ms: i64) -> Self {
        Self {
            workspace_id: call.workspace_id,
            key_id: call.key_id,
            api_id: call.api_id,
            quotas: Rc::clone(&call.quotas),
            waiting: Vec::new(),
            in_flight: None,
            seen: None,
            not_before_ms: now_ms,
            noted_ms: now_ms,
        }
    }

    pub(super) fn is_of(&self, call: &ReserveCall) -> bool {
        self.key_id == call.key_id
            && self.api_id == call.api_id
            && self.workspace_id == call.workspace_id
            && are_alike(&self.quotas, &call.quotas)
    }

    /// For the call under way. Where there are no joint reservations nobody waits for another.
    pub(super) fn must_wait(&self, now_ms: i64) -> bool {
        let is_fresh = |(_, since_ms): &(_, i64)| now_ms.saturating_sub(*since_ms) < PATIENCE_MS;
        now_ms >= self.not_before_ms && self.in_flight.as_ref().is_some_and(is_fresh)
    }

    /// Who asks now.
    pub(super) fn next(&mut self, now_ms: i64) -> Vec<Waiting> {
        if self.must_wait(now_ms) {
            Vec::new()
        } else {
            let count = self.waiting.len().min(MEMBERS_MAX);
            self.waiting.drain(..count).collect()
        }
    }

    /// Whether one reservation of so much is worth trying.
    pub(super) fn allows(&self, sums: &[i64], now_ms: i64) -> bool {
        let seen = self.seen.as_ref();
        let seen = seen.filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) <= SEEN_MS_MAX);
        let fits = |(_, seen): &(i64, Reserved)| {
            let mut each = self.quotas.iter().zip(&seen.results).zip(sums);
            each.all(|((quota, result), sum)| only_alerts(quota) || *sum <= result.remaining)
        };
        now_ms >= self.not_before_ms && seen.is_none_or(fits)
    }

    /// The call is over.
    pub(super) fn forget(&mut self, id: &RequestId) {
        self.in_flight.take_if(|(known, _)| known == id);
    }

    pub(super) fn learn(&mut self, reserved: Option<&Reserved>, joint: Option<&Joint>, now_ms: i64) {
        // No answer says nothing about the quotas.
        let Some(reserved) = reserved else { return };
        let sound = match joint {
            Some(joint) => is_sound(&joint.block, reserved),
            None => reserved.admitted && !reserved.degraded,
        };
        if sound {
            self.seen = Some((now_ms, reserved.clone()));
        } else {
            self.seen = None;
            self.not_before_ms = now_ms.saturating_add(REFUSED_PAUSE_MS);
        }
    }
}
