//! Who calls: `authorization: Bearer <data-plane token>`, known by its SHA-256 in the service's own feed.
//!
//! A token is looked up by its digest, so the time that takes tells nothing about the tokens that exist. The digest
//! is computed per call: with 0.1–0.3 µs it is no dearer than a cache that would have to be bounded and emptied.

use crate::feed::{Feed, TokenScope};
use rateguard_model::digest::Digest;
use rateguard_model::id::WorkspaceId;
use std::sync::Arc;
use tonic::Status;
use tonic::metadata::MetadataMap;

const MISSING: &str = "authorization: a bearer data-plane token is required";

pub struct Authenticator {
    feed: Arc<Feed>,
    own: Digest,
}

/// What the caller's token allows.
#[derive(Debug, Clone, Copy)]
pub struct Caller(TokenScope);

impl Authenticator {
    /// `own` is this service's own token: the only one known before the feed's first answer.
    pub fn new(feed: Arc<Feed>, own: Digest) -> Self {
        Self { feed, own }
    }

    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let header = metadata
            .get("authorization")
            .ok_or_else(|| Status::unauthenticated(MISSING))?;
        let token = bearer(header.as_encoded_bytes()).ok_or_else(|| Status::unauthenticated(MISSING))?;
        let digest = Digest::of(token);
        match self.feed.view() {
            Some(view) => view
                .scope(&digest)
                .map(Caller)
                .ok_or_else(|| Status::unauthenticated("authorization: unknown data-plane token")),
            None if digest == self.own => Ok(Caller(TokenScope::All)),
            None => Err(Status::unavailable(
                "no configuration yet: data-plane tokens cannot be checked",
            )),
        }
    }
}

impl Caller {
    pub fn may(self, workspace_id: WorkspaceId) -> Result<(), Status> {
        if self.0.allows(workspace_id) {
            Ok(())
        } else {
            Err(Status::permission_denied(
                "workspace_id: not this token's workspace",
            ))
        }
    }
}

/// The token of a `Bearer` credential; the scheme in any case, one space (RFC 9110, 11.4).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_credential_is_one() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER abc"), Some(&b"abc"[..]));
        for wrong in [&b""[..], b"Bearer", b"Bearer ", b"Basic abc", b"abc", b"\xff\xff"] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
