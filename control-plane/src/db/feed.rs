//! The feed's version row and its removals. Also what wakes the pollers.

use super::{DbError, transaction};
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Channel of `LISTEN`/`NOTIFY`; the payload is the new version.
pub const CHANNEL: &str = "rateguard_feed";

/// What can leave the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceType {
    Workspace,
    Api,
    Key,
    Rule,
    Budget,
    DataPlaneToken,
}

impl ResourceType {
    /// As `feed_removal.resource_type` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Api => "api",
            Self::Key => "key",
            Self::Rule => "rule",
            Self::Budget => "budget",
            Self::DataPlaneToken => "data_plane_token",
        }
    }
}

/// Takes the next version and tells the pollers when the transaction commits. Holds the version row's lock until
/// then, so versions become visible in their order: call it last before the write itself.
pub async fn next_version(tx: &mut Transaction<'_, Postgres>) -> Result<i64, DbError> {
    let version: i64 = sqlx::query_scalar!("UPDATE feed_version SET version = version + 1 RETURNING version")
        .fetch_one(&mut **tx)
        .await?;
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, version.to_string())
        .fetch_one(&mut **tx)
        .await?;
    Ok(version)
}

/// The version that a reader of this moment sees.
pub async fn current_version(db: &PgPool) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!("SELECT version FROM feed_version")
        .fetch_one(db)
        .await?)
}

/// One thing that left the feed.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    pub version: i64,
    pub resource_type: ResourceType,
    pub resource_id: Uuid,
    /// `None`: a token for all workspaces.
    pub workspace_id: Option<Uuid>,
    pub removed_at: DateTime<Utc>,
}

/// Records a removal under a version that [`next_version`] gave in the same transaction.
pub async fn insert_removal(tx: &mut Transaction<'_, Postgres>, removal: Removal) -> Result<(), DbError> {
    let Removal {
        version,
        resource_type,
        resource_id,
        workspace_id,
        removed_at,
    } = removal;
    sqlx::query!(
        "INSERT INTO feed_removal (version, resource_type, resource_id, workspace_id, removed_at)
         VALUES ($1, $2, $3, $4, $5)",
        version,
        resource_type.as_str(),
        resource_id,
        workspace_id,
        removed_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Until when full answers may leave out most of what clients run, in Unix milliseconds.
pub async fn may_shrink_until(db: &PgPool) -> Result<i64, DbError> {
    Ok(
        sqlx::query_scalar!("SELECT may_shrink_until_ms FROM feed_version")
            .fetch_one(db)
            .await?,
    )
}

/// Says until when they may, and tells the pollers.
pub async fn let_shrink_until(db: &PgPool, until_ms: i64) -> Result<(), DbError> {
    let mut tx = transaction::begin(db).await?;
    next_version(&mut tx).await?;
    sqlx::query!("UPDATE feed_version SET may_shrink_until_ms = $1", until_ms)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}
