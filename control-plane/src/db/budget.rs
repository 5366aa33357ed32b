//! Table `budget`: at most one per subject and window.

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::{BudgetSubjectType, BudgetWindow, FailureMode};
use rateguard_model::money::NanoUsd;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

/// Broken by a second budget of a subject and window.
pub const SUBJECT_KEY: &str = "budget_subject_key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Part of the bucket's key. Stays when limit or shut-off change: what was spent stays spent.
    pub version: u32,
    pub name: String,
    pub subject_type: BudgetSubjectType,
    /// The API's or key's id; empty for the workspace.
    pub subject: String,
    pub window: BudgetWindow,
    pub limit: NanoUsd,
    pub auto_shutoff: bool,
    pub failure_mode: FailureMode,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    version: i32,
    name: String,
    subject_type: String,
    subject: String,
    window_type: String,
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
            subject_type: parse_column("budget", "subject_type", id, &row.subject_type)?,
            subject: row.subject,
            window: parse_column("budget", "window_type", id, &row.window_type)?,
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
    sqlx::query!(
        "INSERT INTO budget (id, workspace_id, version, name, subject_type, subject, limit_nanos,
                             window_type, auto_shutoff, failure_mode, created_at, updated_at,
                             feed_version)
         VALUES ($1, $2, $3, $4, 'WORKSPACE', '', $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (workspace_id, subject_type, subject, window_type) DO UPDATE
         SET name = $4, limit_nanos = $5, auto_shutoff = $7, failure_mode = $8, updated_at = $10,
             feed_version = $11",
        budget.id,
        budget.workspace_id,
        i32::try_from(budget.version).unwrap_or(i32::MAX),
        &budget.name,
        budget.limit.0,
        BudgetWindow::Month.as_str(),
        budget.auto_shutoff,
        budget.failure_mode.as_str(),
        budget.created_at,
        budget.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The workspace's monthly budget under a lock.
pub async fn monthly_for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
) -> Result<Option<Budget>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, subject_type, subject, window_type, limit_nanos,
                auto_shutoff, failure_mode, created_at, updated_at
         FROM budget
         WHERE workspace_id = $1 AND subject_type = 'WORKSPACE' AND subject = '' AND window_type = $2
         FOR UPDATE",
        workspace_id,
        BudgetWindow::Month.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Budget::try_from).transpose()
}

pub async fn delete(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid, id: Uuid) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM budget WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes the budgets of an API or a key that goes; gives their ids.
pub async fn delete_of(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    subject_type: BudgetSubjectType,
    subject: Uuid,
) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "DELETE FROM budget WHERE workspace_id = $1 AND subject_type = $2 AND subject = $3 RETURNING id",
        workspace_id,
        subject_type.as_str(),
        subject.to_string()
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    budget: &Budget,
    feed_version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO budget (id, workspace_id, version, name, subject_type, subject, limit_nanos,
                             window_type, auto_shutoff, failure_mode, created_at, updated_at,
                             feed_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        budget.id,
        budget.workspace_id,
        i32::try_from(budget.version).unwrap_or(i32::MAX),
        &budget.name,
        budget.subject_type.as_str(),
        &budget.subject,
        budget.limit.0,
        budget.window.as_str(),
        budget.auto_shutoff,
        budget.failure_mode.as_str(),
        budget.created_at,
        budget.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores what can change; subject, window and version stay.
pub async fn update(
    tx: &mut Transaction<'_, Postgres>,
    budget: &Budget,
    feed_version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE budget SET name = $3, limit_nanos = $4, auto_shutoff = $5, failure_mode = $6,
                           updated_at = $7, feed_version = $8
         WHERE workspace_id = $1 AND id = $2",
        budget.workspace_id,
        budget.id,
        &budget.name,
        budget.limit.0,
        budget.auto_shutoff,
        budget.failure_mode.as_str(),
        budget.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which budgets; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub subject_type: Option<BudgetSubjectType>,
    /// The API's or key's id.
    pub subject: Option<Uuid>,
    pub window: Option<BudgetWindow>,
}

/// A workspace's budgets, oldest first.
pub async fn page(
    db: &mut PgConnection,
    workspace_id: Uuid,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Budget>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, subject_type, subject, window_type, limit_nanos,
                auto_shutoff, failure_mode, created_at, updated_at
         FROM budget
         WHERE workspace_id = $1
           AND ($2::text IS NULL OR subject_type = $2)
           AND ($3::text IS NULL OR subject = $3)
           AND ($4::text IS NULL OR window_type = $4)
           AND ($5::timestamptz IS NULL OR (created_at, id) > ($5, $6::uuid))
         ORDER BY created_at, id
         LIMIT $7",
        workspace_id,
        filter.subject_type.map(BudgetSubjectType::as_str),
        filter.subject.map(|id| id.to_string()),
        filter.window.map(BudgetWindow::as_str),
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Budget::try_from).collect()
}

pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Budget>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, subject_type, subject, window_type, limit_nanos,
                auto_shutoff, failure_mode, created_at, updated_at
         FROM budget
         WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(Budget::try_from).transpose()
}

/// The same under a lock, for a change that must not be lost.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Budget>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, subject_type, subject, window_type, limit_nanos,
                auto_shutoff, failure_mode, created_at, updated_at
         FROM budget
         WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Budget::try_from).transpose()
}

pub async fn list(db: &mut PgConnection, workspace_id: Uuid) -> Result<Vec<Budget>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, subject_type, subject, window_type, limit_nanos,
                auto_shutoff, failure_mode, created_at, updated_at
         FROM budget
         WHERE workspace_id = $1 ORDER BY created_at, id",
        workspace_id
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Budget::try_from).collect()
}
