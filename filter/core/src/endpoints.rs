//! The endpoints that events may name: at most so many different ones per API and worker, then `other` (SPEC 1.3).
//! Paths come from clients: without a bound, whoever invents paths would fill analytics and this worker's memory.

use rateguard_model::id::ApiId;
use std::collections::{BTreeMap, BTreeSet};

/// Different endpoints of one API.
const PER_API_MAX: usize = 1_000;
/// APIs whose endpoints are remembered; beyond, every endpoint is `other`.
const APIS_MAX: usize = 10_000;
/// Longest endpoint in bytes; a longer one is `other`.
const ENDPOINT_BYTES_MAX: usize = 512;

/// What all endpoints are called that find no place.
pub const OTHER: &str = "other";

/// Endpoints named so far.
#[derive(Debug, Default)]
pub struct Endpoints {
    by_api: BTreeMap<ApiId, BTreeSet<String>>,
}

impl Endpoints {
    /// Whether an event of this API may name this endpoint; if not, it is [`OTHER`].
    pub fn admits(&mut self, api_id: ApiId, endpoint: &str) -> bool {
        if let Some(known) = self.by_api.get_mut(&api_id) {
            if known.contains(endpoint) {
                return true;
            }
            let fits = known.len() < PER_API_MAX && endpoint.len() <= ENDPOINT_BYTES_MAX;
            return fits && known.insert(endpoint.to_owned());
        }
        if self.by_api.len() >= APIS_MAX || endpoint.len() > ENDPOINT_BYTES_MAX {
            return false;
        }
        self.by_api.insert(api_id, BTreeSet::from([endpoint.to_owned()]));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ApiId = ApiId::from_bytes([1; 16]);
    const TWO: ApiId = ApiId::from_bytes([2; 16]);

    #[test]
    fn a_thousand_per_api_and_then_no_more() {
        let mut endpoints = Endpoints::default();
        assert!((0..PER_API_MAX).all(|n| endpoints.admits(ONE, &format!("/{n}"))));
        assert!(!endpoints.admits(ONE, "/one-more"));
        assert!(endpoints.admits(ONE, "/7"), "known ones stay");
        assert!(endpoints.admits(TWO, "/one-more"), "another API has its own");
    }

    #[test]
    fn an_endless_path_takes_no_place() {
        let mut endpoints = Endpoints::default();
        let long = "/".repeat(ENDPOINT_BYTES_MAX + 1);
        assert!(!endpoints.admits(ONE, &long));
        assert!(endpoints.admits(ONE, "/v1"));
        assert!(!endpoints.admits(ONE, &long));
    }
}
