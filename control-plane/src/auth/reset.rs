//! One-time links with which a person sets a new password: made on the operator's machine (`reset-password`).

use super::opaque;
use crate::clock::Clock;
use crate::db::{DbError, password_reset, transaction, user};
use crate::entropy::Entropy;
use chrono::TimeDelta;
use sqlx::PgPool;

/// How long a link is good.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes the token of a link, which ends earlier ones; `None` if no account has this address.
pub async fn create(
    db: &PgPool,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    email: &str,
) -> Result<Option<String>, DbError> {
    let Some(found) = user::by_email(db, email.trim()).await? else {
        return Ok(None);
    };
    let token = opaque::generate(opaque::PASSWORD_RESET, entropy);
    let now = clock.now();
    let mut tx = transaction::begin(db).await?;
    let hash = token.sha256.as_bytes();
    password_reset::insert(&mut tx, found.user.id, hash, now, now + LIFETIME).await?;
    tx.commit().await?;
    Ok(Some(token.text))
}

/// The link: its token is behind the `#`, which browsers keep to themselves.
pub fn link(console_public_url: &str, token: &str) -> String {
    format!("{console_public_url}/reset-password#token={token}")
}
