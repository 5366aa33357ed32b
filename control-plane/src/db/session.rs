//! Table `session`: one row per login; the refresh token is rotated on every use.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    /// SHA-256 of the refresh token in force.
    pub token_hash: Vec<u8>,
    pub previous_hash: Option<Vec<u8>>,
    pub rotated_at: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    user_id: Uuid,
    token_hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    rotated_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        let Row {
            id,
            user_id,
            token_hash,
            previous_hash,
            rotated_at,
            expires_at,
            revoked_at,
        } = row;
        Self {
            id,
            user_id,
            token_hash,
            previous_hash,
            rotated_at,
            expires_at,
            revoked_at,
        }
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    session: &Session,
    created_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let Session {
        id,
        user_id,
        token_hash,
        previous_hash: _,
        rotated_at: _,
        expires_at,
        revoked_at: _,
    } = session;
    sqlx::query(
        "INSERT INTO session (id, user_id, token_hash, expires_at, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(user_id)
    .bind(token_hash)
    .bind(expires_at)
    .bind(created_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A session under a lock: of two refreshes at once, one rotates.
pub async fn for_update(tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<Option<Session>, DbError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, user_id, token_hash, previous_hash, rotated_at, expires_at, revoked_at
         FROM session WHERE id = $1 FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Session::from))
}

/// The token in force becomes the preceding one.
pub async fn rotate(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
    token_hash: &[u8],
    rotated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE session SET previous_hash = token_hash, token_hash = $2, rotated_at = $3, expires_at = $4
         WHERE id = $1",
    )
    .bind(id)
    .bind(token_hash)
    .bind(rotated_at)
    .bind(expires_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a session for good.
pub async fn revoke(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
    revoked_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query("UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(revoked_at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether a session of this user is in force.
pub async fn is_active(db: &PgPool, id: Uuid, user_id: Uuid) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM session WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL)",
    )
    .bind(id)
    .bind(user_id)
    .fetch_one(db)
    .await?)
}
