//! Tokens that mean nothing by themselves: a prefix and 43 base64url characters (32 random bytes). Stored is the
//! SHA-256 of the whole text; the text is shown once.

use crate::entropy::{self, Entropy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rateguard_model::digest::Digest;
use std::fmt;

/// Personal access tokens.
pub const ACCESS_TOKEN: &str = "rgpat_";
/// Links of invitations.
pub const INVITATION: &str = "rginv_";
/// Links of `reset-password`.
pub const PASSWORD_RESET: &str = "rgreset_";

const RANDOM_CHARS: usize = 43;

/// A new token.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    pub text: String,
    pub sha256: Digest,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken(…)")
    }
}

pub fn generate(prefix: &str, entropy: &dyn Entropy) -> NewToken {
    let random = URL_SAFE_NO_PAD.encode(entropy::random_bytes::<32>(entropy));
    let text = format!("{prefix}{random}");
    let sha256 = Digest::of(text.as_bytes());
    NewToken { text, sha256 }
}

/// The hash to look a presented token up by; `None` if it cannot be one of this prefix.
pub fn digest_of(prefix: &str, presented: &str) -> Option<Digest> {
    let random = presented.strip_prefix(prefix)?;
    let is_form = random.len() == RANDOM_CHARS
        && random
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    is_form.then(|| Digest::of(presented.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_token_is_found_by_the_hash_of_its_whole_text() {
        let token = generate(ACCESS_TOKEN, &SeededEntropy::new(1));
        assert_eq!(token.text.len(), 49);
        assert_eq!(digest_of(ACCESS_TOKEN, &token.text), Some(token.sha256));
        assert_eq!(format!("{token:?}"), "NewToken(…)");
        for other in [
            "",
            "rgpat_",
            &token.text[1..],
            &token.text[..48],
            &format!("{}A", token.text),
            &token.text.replace("rgpat_", "rginv_"),
            &format!("rgpat_{}", " ".repeat(43)),
        ] {
            assert_eq!(digest_of(ACCESS_TOKEN, other), None, "{other}");
        }
    }
}
