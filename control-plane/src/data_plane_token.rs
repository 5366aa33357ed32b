//! Data-plane tokens: `rgdp_` and 43 base64url characters (32 random bytes), stored and fed as SHA-256 of the whole
//! text. The text itself is shown once, by whoever made it.
//!
//! One for all workspaces is made on the operator's machine only ([`create_for_all_workspaces`]); over HTTP there is
//! [`create_for_workspace`].

use crate::clock::Clock;
use crate::db::data_plane_token::{self, NewRow};
use crate::db::{DbError, feed, transaction};
use crate::entropy::{self, Entropy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rateguard_model::digest::Digest;
use sqlx::{PgPool, Postgres, Transaction};
use std::fmt;
use uuid::Uuid;

/// What every token starts with.
pub const PREFIX: &str = "rgdp_";
/// Bytes of a token's text.
pub const TOKEN_BYTES: usize = PREFIX.len() + 43;

/// A new token. The text is shown once.
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

/// A stored token and the only showing of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: Uuid,
    pub token: NewToken,
}

pub fn generate(entropy: &dyn Entropy) -> NewToken {
    let text = format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(entropy::random_bytes::<32>(entropy))
    );
    let sha256 = Digest::of(text.as_bytes());
    NewToken { text, sha256 }
}

/// The hash to look a presented token up by; `None` if it cannot be one of ours.
pub fn digest_of(presented: &str) -> Option<Digest> {
    let random = presented.strip_prefix(PREFIX)?;
    let is_form = presented.len() == TOKEN_BYTES
        && random
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    is_form.then(|| Digest::of(presented.as_bytes()))
}

/// `data-plane-token create --all-workspaces --name N`: stores a token for all workspaces and gives its text.
pub async fn create_for_all_workspaces(
    db: &PgPool,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    name: &str,
) -> Result<String, DbError> {
    let mut tx = transaction::begin(db).await?;
    let created = create(&mut tx, clock, entropy, None, name).await?;
    tx.commit().await?;
    Ok(created.token.text)
}

/// Stores a token that sees one workspace only.
pub async fn create_for_workspace(
    tx: &mut Transaction<'_, Postgres>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    workspace_id: Uuid,
    name: &str,
) -> Result<Created, DbError> {
    create(tx, clock, entropy, Some(workspace_id), name).await
}

/// Ends a token of a workspace; `false` if it has no such token in force. Polls that hang with it answer 401.
pub async fn revoke(
    tx: &mut Transaction<'_, Postgres>,
    clock: &dyn Clock,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<bool, DbError> {
    let feed_version = feed::next_version(tx).await?;
    data_plane_token::revoke(tx, workspace_id, id, clock.now(), feed_version).await
}

async fn create(
    tx: &mut Transaction<'_, Postgres>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    workspace_id: Option<Uuid>,
    name: &str,
) -> Result<Created, DbError> {
    let token = generate(entropy);
    let id = entropy::uuid_v7(clock.now_ms(), entropy);
    let feed_version = feed::next_version(tx).await?;
    let row = NewRow {
        id,
        workspace_id,
        name,
        sha256: token.sha256.as_bytes(),
        created_at: clock.now(),
        feed_version,
    };
    data_plane_token::insert(tx, row).await?;
    Ok(Created { id, token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_token_has_the_form_and_the_hash_of_the_whole_text() {
        let token = generate(&SeededEntropy::new(1));
        assert_eq!(token.text.len(), 48);
        assert_eq!(token.sha256, Digest::of(token.text.as_bytes()));
        assert_eq!(digest_of(&token.text), Some(token.sha256));
        assert!(!format!("{token:?}").contains(&token.text));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let token = generate(&SeededEntropy::new(1)).text;
        for text in [
            "",
            "rgdp_",
            &token[1..],
            &format!("{token}A"),
            &token[..47],
            &token.replace('_', " "),
        ] {
            assert_eq!(digest_of(text), None, "{text}");
        }
    }
}
