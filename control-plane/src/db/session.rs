//! Table `session`: one row per login; the refresh token is rotated on every use.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    /// Of the last access token.
    pub workspace_id: Option<Uuid>,
    /// SHA-256 of the refresh token in force.
    pub token_hash: Vec<u8>,
    pub previous_hash: Option<Vec<u8>>,
    pub rotated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// Of the last use; empty if unknown.
    pub user_agent: String,
    /// Of the last use; empty if unknown.
    pub ip: String,
}

pub async fn insert(tx: &mut Transaction<'_, Postgres>, session: &Session) -> Result<(), DbError> {
    let Session {
        id,
        user_id,
        workspace_id,
        token_hash,
        previous_hash: _,
        rotated_at: _,
        created_at,
        last_used_at,
        expires_at,
        revoked_at: _,
        user_agent,
        ip,
    } = session;
    sqlx::query!(
        "INSERT INTO session (id, user_id, workspace_id, token_hash, created_at, last_used_at, expires_at,
                              user_agent, ip)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id,
        user_id,
        *workspace_id,
        token_hash.as_slice(),
        created_at,
        last_used_at,
        expires_at,
        user_agent,
        ip
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A session under a lock: of two refreshes at once, one rotates.
pub async fn for_update(tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<Option<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        "SELECT id, user_id, workspace_id, token_hash, previous_hash, rotated_at, created_at,
                COALESCE(last_used_at, rotated_at, created_at) AS \"last_used_at!\", expires_at,
                revoked_at, user_agent, ip
         FROM session WHERE id = $1 FOR UPDATE",
        id
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The same without a lock.
pub async fn by_id(db: &PgPool, id: Uuid) -> Result<Option<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        "SELECT id, user_id, workspace_id, token_hash, previous_hash, rotated_at, created_at,
                COALESCE(last_used_at, rotated_at, created_at) AS \"last_used_at!\", expires_at,
                revoked_at, user_agent, ip
         FROM session WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?)
}

/// A user's sessions in force, the one used last first.
pub async fn active_of_user(
    db: &PgPool,
    user_id: Uuid,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        "SELECT id, user_id, workspace_id, token_hash, previous_hash, rotated_at, created_at,
                COALESCE(last_used_at, rotated_at, created_at) AS \"last_used_at!\", expires_at,
                revoked_at, user_agent, ip
         FROM session WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
         ORDER BY COALESCE(last_used_at, rotated_at, created_at) DESC, id DESC
         LIMIT $3",
        user_id,
        now,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// Addresses that a user's sessions came from since a time, ended sessions too.
pub async fn addresses_of_user(
    db: &PgPool,
    user_id: Uuid,
    since: DateTime<Utc>,
) -> Result<Vec<String>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT ip FROM session WHERE user_id = $1 AND ip <> '' AND created_at > $2 LIMIT 200",
        user_id,
        since
    )
    .fetch_all(db)
    .await?)
}

/// The token in force becomes the preceding one.
pub async fn rotate(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
    token_hash: &[u8],
    rotated_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE session SET previous_hash = token_hash, token_hash = $2, rotated_at = $3, expires_at = $4
         WHERE id = $1",
        id,
        token_hash,
        rotated_at,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One use of a session.
#[derive(Debug, Clone, Copy)]
pub struct Touch<'a> {
    pub workspace_id: Option<Uuid>,
    pub used_at: DateTime<Utc>,
    pub user_agent: &'a str,
    pub ip: &'a str,
}

/// Notes a use and the workspace that it was for.
pub async fn touch(tx: &mut Transaction<'_, Postgres>, id: Uuid, touch: Touch<'_>) -> Result<(), DbError> {
    let Touch {
        workspace_id,
        used_at,
        user_agent,
        ip,
    } = touch;
    sqlx::query!(
        "UPDATE session SET workspace_id = $2, last_used_at = $3, user_agent = $4, ip = $5 WHERE id = $1",
        id,
        workspace_id,
        used_at,
        user_agent,
        ip
    )
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
    sqlx::query!(
        "UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        id,
        revoked_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a session of a user; `false` if they have no such session in force.
pub async fn revoke_of_user(
    tx: &mut Transaction<'_, Postgres>,
    user_id: Uuid,
    id: Uuid,
    revoked_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE session SET revoked_at = $3
         WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > $3",
        user_id,
        id,
        revoked_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all sessions of a user but one; gives how many.
pub async fn revoke_others(
    tx: &mut Transaction<'_, Postgres>,
    user_id: Uuid,
    kept: Option<Uuid>,
    revoked_at: DateTime<Utc>,
) -> Result<u64, DbError> {
    let done = sqlx::query!(
        "UPDATE session SET revoked_at = $3
         WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL AND expires_at > $3",
        user_id,
        kept,
        revoked_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// Whether a session of this user is in force.
pub async fn is_active(db: &PgPool, id: Uuid, user_id: Uuid) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM session WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL)
             AS \"found!\"",
        id,
        user_id
    )
    .fetch_one(db)
    .await?)
}

/// Forgets sessions that ended before a time.
pub async fn prune(db: &PgPool, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM session WHERE expires_at < $1 OR revoked_at < $1",
        before
    )
    .execute(db)
    .await?;
    Ok(())
}
