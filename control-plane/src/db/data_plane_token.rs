//! Table `data_plane_token`.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// A token to store. `workspace_id` `None`: every workspace.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    pub id: Uuid,
    pub workspace_id: Option<Uuid>,
    pub name: &'a str,
    pub sha256: &'a [u8; 32],
    pub created_at: DateTime<Utc>,
    pub feed_version: i64,
}

pub async fn insert(tx: &mut Transaction<'_, Postgres>, row: NewRow<'_>) -> Result<(), DbError> {
    let NewRow {
        id,
        workspace_id,
        name,
        sha256,
        created_at,
        feed_version,
    } = row;
    sqlx::query!(
        "INSERT INTO data_plane_token (id, workspace_id, name, sha256, created_at, feed_version)
         VALUES ($1, $2, $3, $4, $5, $6)",
        id,
        workspace_id,
        name,
        sha256.as_slice(),
        created_at,
        feed_version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a token of a workspace; `false` if it has none of that id in force.
pub async fn revoke(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
    revoked_at: DateTime<Utc>,
    feed_version: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE data_plane_token SET revoked_at = $3, feed_version = $4
         WHERE workspace_id = $1 AND id = $2 AND revoked_at IS NULL",
        workspace_id,
        id,
        revoked_at,
        feed_version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A workspace's token as it is listed: without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

pub async fn list(db: &PgPool, workspace_id: Uuid) -> Result<Vec<Token>, DbError> {
    Ok(sqlx::query_as!(
        Token,
        "SELECT id, name, created_at, revoked_at FROM data_plane_token WHERE workspace_id = $1
         ORDER BY created_at, id",
        workspace_id,
    )
    .fetch_all(db)
    .await?)
}
