//! Table `data_plane_token`.

use super::DbError;
use super::page::Page;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
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

/// A token as it is listed: without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub all_workspaces: bool,
}

/// A workspace's tokens, and those for all workspaces with which data planes poll that serve it too, the oldest first.
pub async fn list(db: &mut PgConnection, workspace_id: Uuid, page: &Page) -> Result<Vec<Token>, DbError> {
    Ok(sqlx::query_as!(
        Token,
        r#"SELECT id, name, created_at, revoked_at, workspace_id IS NULL AS "all_workspaces!"
           FROM data_plane_token t
           WHERE (workspace_id = $1
              OR (workspace_id IS NULL AND EXISTS (SELECT FROM data_plane_node n WHERE n.token_id = t.id)))
             AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
           ORDER BY created_at, id
           LIMIT $4"#,
        workspace_id,
        page.after_at(),
        page.after_id(),
        page.rows(),
    )
    .fetch_all(db)
    .await?)
}

/// A token of the workspace itself.
pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Token>, DbError> {
    Ok(sqlx::query_as!(
        Token,
        r#"SELECT id, name, created_at, revoked_at, false AS "all_workspaces!"
           FROM data_plane_token WHERE workspace_id = $1 AND id = $2"#,
        workspace_id,
        id,
    )
    .fetch_optional(db)
    .await?)
}
