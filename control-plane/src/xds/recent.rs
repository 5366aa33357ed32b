//! What each Envoy was sent last. Envoy's REST polling reports no refusal: it only asks again, at once, with the version
//! it kept. Without this, one cluster that it does not like would be 20 polls a second, for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

/// How long a refused answer is held back the first time; doubles with every refusal.
const FIRST_HOLD: Duration = Duration::from_secs(1);
/// The same for an Envoy that runs nothing: it may have been restarted, and has nothing to serve with.
const FIRST_HOLD_AT_START: Duration = Duration::from_millis(100);
const DOUBLINGS_MAX: u32 = 8;
/// Envoys remembered; beyond it the memory starts over.
const ENVOYS_MAX: usize = 10_000;

/// Which Envoy of which token.
pub(super) type EnvoyId = (Uuid, String);

struct Sent {
    version: String,
    /// What it ran when it was sent this.
    over: String,
    at: Instant,
    /// How often it was sent this before.
    repeats: u32,
}

#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<HashMap<EnvoyId, Sent>>>);

impl Recent {
    /// Notes what an Envoy runs: if it is not what it ran before, it has taken what it was sent.
    pub(super) fn heard(&self, envoy: &EnvoyId, running: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(envoy).is_some_and(|sent| sent.over != running) {
            all.remove(envoy);
        }
    }

    /// Notes an answer to an Envoy that runs something else.
    pub(super) fn record(&self, envoy: &EnvoyId, version: &str, running: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ENVOYS_MAX {
            all.clear();
        }
        let before = all
            .get(envoy)
            .filter(|sent| sent.version == version && sent.over == running);
        let sent = Sent {
            version: version.to_owned(),
            over: running.to_owned(),
            at: now,
            repeats: before.map_or(0, |sent| sent.repeats.saturating_add(1)),
        };
        all.insert(envoy.clone(), sent);
    }

    /// From when on an answer may be sent; `None`: it was not refused.
    pub(super) fn held_until(&self, envoy: &EnvoyId, version: &str, running: &str) -> Option<Instant> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = all.get(envoy)?;
        let first = if running.is_empty() {
            FIRST_HOLD_AT_START
        } else {
            FIRST_HOLD
        };
        let is_refused = sent.version == version && sent.over == running;
        is_refused.then(|| sent.at + first * 2_u32.pow(sent.repeats.min(DOUBLINGS_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envoy(name: &str) -> EnvoyId {
        (Uuid::nil(), name.to_owned())
    }

    #[test]
    fn asking_again_with_the_old_version_is_a_refusal() {
        let (recent, now, own) = (Recent::default(), Instant::now(), envoy("own"));
        recent.record(&own, "v2", "v1", now);
        assert_eq!(recent.held_until(&own, "v2", "v1"), Some(now + FIRST_HOLD));
        assert_eq!(recent.held_until(&own, "v3", "v1"), None, "something new");
        assert_eq!(recent.held_until(&envoy("other"), "v2", "v1"), None);
    }

    #[test]
    fn every_refusal_doubles_the_wait_up_to_a_bound() {
        let (recent, now, own) = (Recent::default(), Instant::now(), envoy("own"));
        let mut waits = Vec::new();
        for _ in 0..12 {
            recent.record(&own, "v1", "", now);
            waits.push(recent.held_until(&own, "v1", "").unwrap() - now);
        }
        assert_eq!(waits[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(waits[11], Duration::from_millis(25_600));
    }

    #[test]
    fn who_has_taken_an_answer_is_not_held_back_after_a_restart() {
        let (recent, now, own) = (Recent::default(), Instant::now(), envoy("own"));
        recent.record(&own, "v1", "", now);
        recent.heard(&own, "v1");
        recent.heard(&own, "");
        assert_eq!(recent.held_until(&own, "v1", ""), None);
    }
}
