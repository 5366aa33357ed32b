//! What each Envoy was sent last. Envoy's REST polling reports no refusal: it only asks again, at once, with the version
//! it kept. Without this, one cluster that it does not like would be 20 polls a second, for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

/// An Envoy that asks again within this time has refused what it got.
const REFUSAL_WINDOW: Duration = Duration::from_secs(60);
/// Envoys remembered; beyond it the memory starts over.
const ENVOYS_MAX: usize = 10_000;

/// Which Envoy of which token.
pub(super) type EnvoyId = (Uuid, String);

struct Sent {
    version: String,
    /// What it ran when it was sent this.
    over: String,
    at: Instant,
}

#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<HashMap<EnvoyId, Sent>>>);

impl Recent {
    pub(super) fn record(&self, envoy: EnvoyId, version: &str, over: &str, at: Instant) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.len() >= ENVOYS_MAX {
            sent.clear();
        }
        let (version, over) = (version.to_owned(), over.to_owned());
        sent.insert(envoy, Sent { version, over, at });
    }

    /// Whether an Envoy that runs `running` was just sent `version` and did not take it. One that runs nothing may
    /// have been restarted: it is never told to wait.
    pub(super) fn was_refused(&self, envoy: &EnvoyId, version: &str, running: &str, now: Instant) -> bool {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get(envoy).is_some_and(|sent| {
            !running.is_empty()
                && sent.version == version
                && sent.over == running
                && now.duration_since(sent.at) < REFUSAL_WINDOW
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_again_with_the_old_version_is_a_refusal() {
        let (recent, now) = (Recent::default(), Instant::now());
        let envoy = (Uuid::nil(), "node".to_owned());
        recent.record(envoy.clone(), "v2", "v1", now);
        assert!(recent.was_refused(&envoy, "v2", "v1", now));
        assert!(!recent.was_refused(&envoy, "v3", "v1", now), "something new");
        assert!(!recent.was_refused(&envoy, "v2", "", now), "restarted");
        let later = now + REFUSAL_WINDOW;
        assert!(!recent.was_refused(&envoy, "v2", "v1", later), "offered again");
        let other = (Uuid::nil(), "other".to_owned());
        assert!(!recent.was_refused(&other, "v2", "v1", now));
    }
}
