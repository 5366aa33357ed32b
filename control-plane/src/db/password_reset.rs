//! Table `password_reset`: one-time links.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Stores a link; earlier ones of the user end.
pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    user_id: Uuid,
    sha256: &[u8],
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    end_all(tx, user_id).await?;
    sqlx::query!(
        "INSERT INTO password_reset (sha256, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        sha256,
        user_id,
        created_at,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends the links of a user.
pub async fn end_all(tx: &mut Transaction<'_, Postgres>, user_id: Uuid) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM password_reset WHERE user_id = $1", user_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whose link this is, if it is in force.
pub async fn owner(db: &PgPool, sha256: &[u8], now: DateTime<Utc>) -> Result<Option<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT user_id FROM password_reset WHERE sha256 = $1 AND used_at IS NULL AND expires_at > $2",
        sha256,
        now
    )
    .fetch_optional(db)
    .await?)
}

/// Uses a link up and gives its owner; of two at once, one gets it.
pub async fn redeem(
    tx: &mut Transaction<'_, Postgres>,
    sha256: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "UPDATE password_reset SET used_at = $2
         WHERE sha256 = $1 AND used_at IS NULL AND expires_at > $2
         RETURNING user_id",
        sha256,
        now
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// Forgets links that expired before a time.
pub async fn prune(db: &PgPool, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM password_reset WHERE expires_at < $1", before)
        .execute(db)
        .await?;
    Ok(())
}
