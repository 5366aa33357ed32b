//! Who calls: the API key among the request's headers and query (SPEC 1.1).

use crate::headers::HeaderBlock;
use crate::path;
use crate::snapshot::Snapshot;
use rateguard_model::api_key::ApiKey;
use rateguard_model::resource::{Key, KeyState};
use std::rc::Rc;

/// Headers that may hold a key, ours first. Their values are credentials, whoever they are for.
pub const CREDENTIAL_HEADERS: [&[u8]; 5] = [
    b"x-rateguard-key",
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"x-goog-api-key",
];

/// Why nobody was identified. What the client hears does not tell these apart, expiry aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotIdentified {
    #[error("more than one API key was given")]
    Ambiguous,
    #[error("no API key was given")]
    Missing,
    #[error("the API key is malformed")]
    Malformed,
    #[error("the API key is unknown")]
    Unknown,
}

/// A key that exists but may not call; its request is still recorded under its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    Suspended,
    Revoked,
    /// The key, or the secret that a rotation replaced.
    Expired,
}

/// Finds the one candidate among all places where a key may be.
pub fn candidate<'a>(headers: &'a HeaderBlock, query: &'a [u8]) -> Result<&'a [u8], NotIdentified> {
    let mut found: Option<&'a [u8]> = None;
    let mut seen = [0_u8; CREDENTIAL_HEADERS.len()];
    let mut with_candidate = [false; CREDENTIAL_HEADERS.len()];
    let mut take = |value: &'a [u8]| match found {
        Some(other) if other != value => Err(NotIdentified::Ambiguous),
        _ => {
            found = Some(value);
            Ok(())
        }
    };
    for (name, value) in headers {
        let Some(index) = credential_index(name) else {
            continue;
        };
        if let Some(count) = seen.get_mut(index) {
            *count = count.saturating_add(1);
        }
        if let Some(candidate) = header_candidate(name, value) {
            if let Some(flag) = with_candidate.get_mut(index) {
                *flag = true;
            }
            // Envoy joins repeated headers that it keeps inline with a comma.
            if candidate.contains(&b',') {
                return Err(NotIdentified::Ambiguous);
            }
            take(candidate)?;
        }
    }
    if seen
        .iter()
        .zip(with_candidate)
        .any(|(count, candidate)| candidate && *count > 1)
    {
        return Err(NotIdentified::Ambiguous);
    }
    for candidate in path::query_candidates(query) {
        take(candidate)?;
    }
    found.ok_or(NotIdentified::Missing)
}

/// Which of [`CREDENTIAL_HEADERS`] a header is. Their lengths tell most others apart at once.
#[inline]
pub fn credential_index(name: &[u8]) -> Option<usize> {
    match name.len() {
        7 | 9 | 13 | 14 | 15 => CREDENTIAL_HEADERS
            .iter()
            .position(|credential| *credential == name),
        _ => None,
    }
}

/// The candidate in a credential header's value, if there is one.
pub fn header_candidate<'a>(name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let value = if name == b"authorization" {
        bearer(value)?
    } else {
        value.trim_ascii()
    };
    value.starts_with(ApiKey::PREFIX).then_some(value)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.trim_ascii_start().split_at_checked(6)?;
    (scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_some_and(u8::is_ascii_whitespace))
        .then(|| rest.trim_ascii())
}

/// The record of a candidate. A mistyped one is refused by its checksum, without a look-up.
pub fn find(candidate: &[u8], snapshot: &Snapshot) -> Result<Found, NotIdentified> {
    let key = ApiKey::parse(candidate).map_err(|_| NotIdentified::Malformed)?;
    let digest = key.digest();
    let record = snapshot.key_by_digest(&digest).ok_or(NotIdentified::Unknown)?;
    let not_after_ms = record
        .secrets
        .iter()
        .find(|secret| secret.digest == digest)
        .and_then(|secret| secret.not_after_ms);
    Ok(Found {
        key: record,
        not_after_ms,
    })
}

/// A key's record and when the secret that was used ends.
#[derive(Debug, Clone)]
pub struct Found {
    pub key: Rc<Key>,
    pub not_after_ms: Option<i64>,
}

impl Found {
    /// Whether it may call now.
    pub fn check(&self, now_ms: i64) -> Result<(), Unusable> {
        match self.key.state {
            KeyState::Revoked => Err(Unusable::Revoked),
            KeyState::Suspended => Err(Unusable::Suspended),
            KeyState::Active => {
                let over = |end: Option<i64>| end.is_some_and(|end| now_ms >= end);
                if over(self.key.expires_at_ms) || over(self.not_after_ms) {
                    Err(Unusable::Expired)
                } else {
                    Ok(())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF";

    fn headers(list: &[(&'static str, &str)]) -> HeaderBlock {
        list.iter().copied().collect()
    }

    #[test]
    fn every_place_is_read() {
        for (name, value) in [
            ("x-rateguard-key", A.to_owned()),
            ("authorization", format!("Bearer {A}")),
            ("authorization", format!("bearer  {A}")),
            ("x-api-key", A.to_owned()),
            ("api-key", A.to_owned()),
            ("x-goog-api-key", A.to_owned()),
        ] {
            assert_eq!(
                candidate(&headers(&[(name, &value)]), b""),
                Ok(A.as_bytes()),
                "{name}"
            );
        }
        assert_eq!(
            candidate(&headers(&[]), format!("?alt=sse&key={A}").as_bytes()),
            Ok(A.as_bytes())
        );
    }

    #[test]
    fn au_01_other_credentials_are_no_candidates() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic cmdfeA==",
            "Bearer sk-123",
            "\u{ff}",
        ] {
            assert_eq!(
                candidate(&headers(&[("authorization", value)]), b"?key=AIza"),
                Err(NotIdentified::Missing),
                "{value:?}"
            );
        }
    }

    #[test]
    fn one_key_in_two_places_is_fine_two_keys_are_not() {
        let bearer = format!("Bearer {A}");
        assert!(candidate(&headers(&[("x-api-key", A), ("authorization", &bearer)]), b"").is_ok());
        assert_eq!(
            candidate(&headers(&[("x-api-key", A), ("api-key", "rg_live_other")]), b""),
            Err(NotIdentified::Ambiguous)
        );
        assert_eq!(
            candidate(&headers(&[("x-api-key", A)]), b"?key=rg_test_b"),
            Err(NotIdentified::Ambiguous)
        );
        assert!(
            candidate(
                &headers(&[("x-api-key", A), ("authorization", "Bearer sk-1")]),
                b""
            )
            .is_ok()
        );
    }

    #[test]
    fn a_header_given_twice_with_a_candidate_is_ambiguous() {
        for second in [A, "sk-ant-1", ""] {
            assert_eq!(
                candidate(&headers(&[("x-api-key", A), ("x-api-key", second)]), b""),
                Err(NotIdentified::Ambiguous)
            );
            assert_eq!(
                candidate(&headers(&[("x-api-key", second), ("x-api-key", A)]), b""),
                Err(NotIdentified::Ambiguous)
            );
        }
        let joined = format!("{A},{A}");
        assert_eq!(
            candidate(&headers(&[("x-api-key", &joined)]), b""),
            Err(NotIdentified::Ambiguous)
        );
    }

    proptest! {
        #[test]
        fn any_headers_are_searched_without_panic(
            values in prop::collection::vec((0_usize..6, prop::collection::vec(any::<u8>(), 0..60)), 0..8),
            query in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let list: Vec<(&[u8], &[u8])> = values
                .iter()
                .map(|(name, value)| (CREDENTIAL_HEADERS.get(*name).copied().unwrap_or(b"other"), value.as_slice()))
                .collect();
            if let Ok(found) = candidate(&HeaderBlock::build(&list), &query) {
                prop_assert!(found.starts_with(b"rg_"));
            }
        }
    }
}
