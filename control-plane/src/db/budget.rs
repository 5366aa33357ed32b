//! Table `budget`. So far a workspace has at most one: its monthly budget.

use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::FailureMode;
use rateguard_model::money::NanoUsd;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// `window_type` of a calendar month in the workspace's time zone.
pub const MONTH: &str = "MONTH";

/// A workspace's monthly budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Part of the bucket's key. Stays when limit or shut-off change: what was spent stays spent.
    pub version: u32,
    pub name: String,
    pub limit: NanoUsd,
    pub auto_shutoff: bool,
    pub failure_mode: FailureMode,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    version: i32,
    name: String,
    limit_nanos: i64,
    auto_shutoff: bool,
    failure_mode: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Budget {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let id = row.id;
        Ok(Self {
            id,
            workspace_id: row.workspace_id,
            version: u32::try_from(row.version).map_err(|error| DbError::Inconsistent {
                table: "budget",
                column: "version",
                id,
                reason: error.to_string(),
            })?,
            name: row.name,
            limit: NanoUsd(row.limit_nanos),
            auto_shutoff: row.auto_shutoff,
            failure_mode: parse_column("budget", "failure_mode", id, &row.failure_mode)?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Stores the workspace's monthly budget, or the new values of the one it has (whose id, version and age stay).
pub async fn upsert_monthly(
    tx: &mut Transaction<'_, Postgres>,
    budget: &Budget,
    feed_version: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO budget (id, workspace_id, version, name, subject_type, subject, limit_nanos, window_type,
                             auto_shutoff, failure_mode, created_at, updated_at, feed_version)
         VALUES ($1, $2, $3, $4, 'WORKSPACE', '', $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (workspace_id, subject_type, subject, window_type) DO UPDATE
         SET name = $4, limit_nanos = $5, auto_shutoff = $7, failure_mode = $8, updated_at = $10,
             feed_version = $11",
    )
    .bind(budget.id)
    .bind(budget.workspace_id)
    .bind(i32::try_from(budget.version).unwrap_or(i32::MAX))
    .bind(&budget.name)
    .bind(budget.limit.0)
    .bind(MONTH)
    .bind(budget.auto_shutoff)
    .bind(budget.failure_mode.as_str())
    .bind(budget.created_at)
    .bind(budget.updated_at)
    .bind(feed_version)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The workspace's monthly budget under a lock.
pub async fn monthly_for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
) -> Result<Option<Budget>, DbError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT * FROM budget
         WHERE workspace_id = $1 AND subject_type = 'WORKSPACE' AND subject = '' AND window_type = $2
         FOR UPDATE",
    )
    .bind(workspace_id)
    .bind(MONTH)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Budget::try_from).transpose()
}

pub async fn delete(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid, id: Uuid) -> Result<(), DbError> {
    sqlx::query("DELETE FROM budget WHERE workspace_id = $1 AND id = $2")
        .bind(workspace_id)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn list(db: &PgPool, workspace_id: Uuid) -> Result<Vec<Budget>, DbError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM budget WHERE workspace_id = $1 ORDER BY created_at, id")
            .bind(workspace_id)
            .fetch_all(db)
            .await?;
    rows.into_iter().map(Budget::try_from).collect()
}
