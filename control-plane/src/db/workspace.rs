//! Tables `workspace` and `membership`.

use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rateguard_api::name::{BudgetWindow, FailureMode, Role, UnpricedModelPolicy};
use rateguard_model::money::NanoUsd;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: Uuid,
    pub slug: String,
    pub name: String,
    pub time_zone: Tz,
    pub unpriced_model_policy: UnpricedModelPolicy,
    pub failure_mode: FailureMode,
    /// Of new keys.
    pub default_key_budget: Option<DefaultKeyBudget>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultKeyBudget {
    pub limit: NanoUsd,
    pub window: BudgetWindow,
    pub auto_shutoff: bool,
}

/// A workspace as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub workspace: Workspace,
    pub role: Role,
}

struct Row {
    id: Uuid,
    slug: String,
    name: String,
    time_zone: String,
    unpriced_model_policy: String,
    failure_mode: String,
    default_key_budget_nanos: Option<i64>,
    default_key_budget_window: Option<String>,
    default_key_budget_auto_shutoff: Option<bool>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    role: String,
}

impl TryFrom<Row> for Membership {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let Row {
            id,
            slug,
            name,
            time_zone,
            unpriced_model_policy,
            failure_mode,
            default_key_budget_nanos,
            default_key_budget_window,
            default_key_budget_auto_shutoff,
            created_at,
            updated_at,
            role,
        } = row;
        let default_key_budget = match (default_key_budget_nanos, default_key_budget_window) {
            (Some(nanos), Some(window)) => Some(DefaultKeyBudget {
                limit: NanoUsd(nanos),
                window: parse_column("workspace", "default_key_budget_window", id, &window)?,
                auto_shutoff: default_key_budget_auto_shutoff.unwrap_or_default(),
            }),
            _ => None,
        };
        Ok(Self {
            workspace: Workspace {
                id,
                slug,
                name,
                time_zone: parse_column("workspace", "time_zone", id, &time_zone)?,
                unpriced_model_policy: parse_column(
                    "workspace",
                    "unpriced_model_policy",
                    id,
                    &unpriced_model_policy,
                )?,
                failure_mode: parse_column("workspace", "failure_mode", id, &failure_mode)?,
                default_key_budget,
                created_at,
                updated_at,
            },
            role: parse_column("membership", "role", id, &role)?,
        })
    }
}

/// Stores a workspace; `false` if its slug is taken.
pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    workspace: &Workspace,
    feed_version: i64,
) -> Result<bool, DbError> {
    let Workspace {
        id,
        slug,
        name,
        time_zone,
        unpriced_model_policy,
        failure_mode,
        default_key_budget,
        created_at,
        updated_at,
    } = workspace;
    let done = sqlx::query!(
        "INSERT INTO workspace (id, slug, name, time_zone, unpriced_model_policy, failure_mode, created_at,
                                updated_at, feed_version, default_key_budget_nanos, default_key_budget_window,
                                default_key_budget_auto_shutoff)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (slug) DO NOTHING",
        id,
        slug,
        name,
        time_zone.name(),
        unpriced_model_policy.as_str(),
        failure_mode.as_str(),
        created_at,
        updated_at,
        feed_version,
        default_key_budget.map(|budget| budget.limit.0),
        default_key_budget.map(|budget| budget.window.as_str()),
        default_key_budget.map(|budget| budget.auto_shutoff)
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn insert_member(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
    role: Role,
    created_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO membership (workspace_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)",
        workspace_id,
        user_id,
        role.as_str(),
        created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores changed columns. Budgets follow the time zone, so they are fed again when it moves.
pub async fn update(
    tx: &mut Transaction<'_, Postgres>,
    workspace: &Workspace,
    feed_version: i64,
) -> Result<(), DbError> {
    let Workspace {
        id,
        slug,
        name,
        time_zone,
        unpriced_model_policy,
        failure_mode,
        default_key_budget,
        created_at: _,
        updated_at,
    } = workspace;
    sqlx::query!(
        "UPDATE budget SET feed_version = $3
         WHERE workspace_id = $1 AND EXISTS (SELECT FROM workspace w WHERE w.id = $1 AND w.time_zone <> $2)",
        id,
        time_zone.name(),
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE workspace SET slug = $2, name = $3, time_zone = $4, unpriced_model_policy = $5,
                              failure_mode = $6, updated_at = $7, feed_version = $8,
                              default_key_budget_nanos = $9, default_key_budget_window = $10,
                              default_key_budget_auto_shutoff = $11
         WHERE id = $1",
        id,
        slug,
        name,
        time_zone.name(),
        unpriced_model_policy.as_str(),
        failure_mode.as_str(),
        updated_at,
        feed_version,
        default_key_budget.map(|budget| budget.limit.0),
        default_key_budget.map(|budget| budget.window.as_str()),
        default_key_budget.map(|budget| budget.auto_shutoff)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Holds a workspace for changes of who is in it, until the transaction ends; `false` if there is none. Lets rows that
/// refer to it be written meanwhile.
pub async fn lock(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid) -> Result<bool, DbError> {
    let found: Option<Uuid> = sqlx::query_scalar!(
        "SELECT id FROM workspace WHERE id = $1 FOR NO KEY UPDATE",
        workspace_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.is_some())
}

/// Deletes a workspace and all that is in it.
pub async fn delete(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM workspace WHERE id = $1", workspace_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Broken by a second workspace of a slug.
pub const SLUG_KEY: &str = "workspace_slug_key";

/// The workspaces of a user, oldest membership first.
pub async fn of_user(db: &PgPool, user_id: Uuid) -> Result<Vec<Membership>, DbError> {
    of_user_in(&mut *db.acquire().await?, user_id).await
}

/// The same on a connection or in a transaction.
pub async fn of_user_in(connection: &mut PgConnection, user_id: Uuid) -> Result<Vec<Membership>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT w.id, w.slug, w.name, w.time_zone, w.unpriced_model_policy, w.failure_mode,
                w.default_key_budget_nanos, w.default_key_budget_window, w.default_key_budget_auto_shutoff,
                w.created_at, w.updated_at, m.role
         FROM membership m JOIN workspace w ON w.id = m.workspace_id
         WHERE m.user_id = $1
         ORDER BY m.created_at, w.id",
        user_id
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Membership::try_from).collect()
}

/// A workspace, if the user is its member and the session, where there is one, is in force.
pub async fn for_caller(
    db: &PgPool,
    workspace_id: Uuid,
    user_id: Uuid,
    session_id: Option<Uuid>,
) -> Result<Option<Membership>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT w.id, w.slug, w.name, w.time_zone, w.unpriced_model_policy, w.failure_mode,
                w.default_key_budget_nanos, w.default_key_budget_window, w.default_key_budget_auto_shutoff,
                w.created_at, w.updated_at, m.role
         FROM membership m
         JOIN workspace w ON w.id = m.workspace_id
         WHERE m.workspace_id = $1 AND m.user_id = $2
           AND ($3::uuid IS NULL
                OR EXISTS (SELECT FROM session s
                           WHERE s.id = $3 AND s.user_id = $2 AND s.revoked_at IS NULL))",
        workspace_id,
        user_id,
        session_id
    )
    .fetch_optional(db)
    .await?;
    row.map(Membership::try_from).transpose()
}

/// The same under a lock, for a change that must not be lost.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
) -> Result<Option<Membership>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT w.id, w.slug, w.name, w.time_zone, w.unpriced_model_policy, w.failure_mode,
                w.default_key_budget_nanos, w.default_key_budget_window, w.default_key_budget_auto_shutoff,
                w.created_at, w.updated_at, m.role
         FROM membership m JOIN workspace w ON w.id = m.workspace_id
         WHERE m.workspace_id = $1 AND m.user_id = $2
         FOR UPDATE OF w",
        workspace_id,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Membership::try_from).transpose()
}

/// A workspace as a member sees it.
pub async fn of_member(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
) -> Result<Option<Membership>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT w.id, w.slug, w.name, w.time_zone, w.unpriced_model_policy, w.failure_mode,
                w.default_key_budget_nanos, w.default_key_budget_window, w.default_key_budget_auto_shutoff,
                w.created_at, w.updated_at, m.role
         FROM membership m JOIN workspace w ON w.id = m.workspace_id
         WHERE m.workspace_id = $1 AND m.user_id = $2",
        workspace_id,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Membership::try_from).transpose()
}

/// What a workspace is called, for somebody who is invited to it.
pub async fn name(db: &PgPool, workspace_id: Uuid) -> Result<Option<String>, DbError> {
    Ok(
        sqlx::query_scalar!("SELECT name FROM workspace WHERE id = $1", workspace_id)
            .fetch_optional(db)
            .await?,
    )
}
