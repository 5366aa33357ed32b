//! Refresh tokens: rotated on every use; a stolen copy ends the whole session (SPEC 3.1).
//!
//! A token is base64url of the session's id and 32 random bytes. The id lets a token that was replaced long ago
//! still name its session, which then ends; only the hashes of the last two tokens are stored.

use crate::db::session::Session;
use crate::entropy::{self, Entropy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rateguard_model::digest::Digest;
use std::time::Duration;
use uuid::Uuid;

/// How long a refresh token lives without being used.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the preceding token is still good for an access token (two tabs, a lost answer).
const GRACE_MS: i64 = 10_000;

const SECRET_BYTES: usize = 32;

/// A new refresh token and what is stored of it.
pub struct NewRefreshToken {
    pub text: String,
    pub hash: Digest,
}

/// Makes the next token of a session.
pub fn generate(session_id: Uuid, entropy: &dyn Entropy) -> NewRefreshToken {
    let mut bytes = session_id.as_bytes().to_vec();
    bytes.extend(entropy::random_bytes::<SECRET_BYTES>(entropy));
    let text = URL_SAFE_NO_PAD.encode(bytes);
    let hash = Digest::of(text.as_bytes());
    NewRefreshToken { text, hash }
}

/// The session that a presented token names; `None` if it is not of our form.
pub fn session_of(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    if bytes.len() != 16 + SECRET_BYTES {
        return None;
    }
    Uuid::from_slice(bytes.get(..16)?).ok()
}

/// What a presented token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// In force: an access token, and the next refresh token.
    Rotate,
    /// Just replaced: an access token only.
    AccessOnly,
    /// Replaced longer ago, or never issued: somebody has a copy.
    Revoke,
    /// The session is over.
    Ended,
}

/// Whether a token is one of the last two of this session, in force or not.
pub fn is_of(session: &Session, presented: Digest) -> bool {
    let presented = presented.as_bytes().as_slice();
    session.token_hash == presented || session.previous_hash.as_deref() == Some(presented)
}

/// Judges a token of this session.
pub fn judge(session: &Session, presented: Digest, now: DateTime<Utc>) -> Use {
    if session.revoked_at.is_some() || session.expires_at <= now {
        return Use::Ended;
    }
    let presented = presented.as_bytes().as_slice();
    if session.token_hash == presented {
        return Use::Rotate;
    }
    let just_replaced = session.previous_hash.as_deref() == Some(presented)
        && session
            .rotated_at
            .is_some_and(|at| (now - at).num_milliseconds() < GRACE_MS);
    if just_replaced {
        Use::AccessOnly
    } else {
        Use::Revoke
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    #[test]
    fn au_10_what_a_token_is_good_for() {
        let hash = |text: &str| Digest::of(text.as_bytes());
        let session = Session {
            id: Uuid::nil(),
            user_id: Uuid::nil(),
            workspace_id: None,
            token_hash: hash("third").as_bytes().to_vec(),
            previous_hash: Some(hash("second").as_bytes().to_vec()),
            rotated_at: Some(at(0)),
            created_at: at(0),
            last_used_at: at(0),
            expires_at: at(100_000),
            revoked_at: None,
            user_agent: String::new(),
            ip: String::new(),
        };
        for (token, now_ms, expected) in [
            ("third", 0, Use::Rotate),
            ("third", 99_999, Use::Rotate),
            ("third", 100_000, Use::Ended),
            ("second", 9_999, Use::AccessOnly),
            ("second", 10_000, Use::Revoke),
            ("first", 1, Use::Revoke),
            ("made up", 1, Use::Revoke),
        ] {
            assert_eq!(
                judge(&session, hash(token), at(now_ms)),
                expected,
                "{token} at {now_ms}"
            );
        }
        let revoked = Session {
            revoked_at: Some(at(1)),
            ..session
        };
        assert_eq!(judge(&revoked, hash("third"), at(2)), Use::Ended);
    }

    #[test]
    fn a_token_names_its_session() {
        let id = Uuid::from_u128(77);
        let token = generate(id, &SeededEntropy::new(1));
        assert_eq!(session_of(&token.text), Some(id));
        assert_eq!(token.hash, Digest::of(token.text.as_bytes()));
        for other in ["", "AAAA", "not base64!", &"A".repeat(1000)] {
            assert_eq!(session_of(other), None);
        }
    }
}
