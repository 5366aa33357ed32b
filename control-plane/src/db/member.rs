//! Table `membership` with the people in it. Who joins or leaves is decided under [`super::workspace::lock`].

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::Role;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

/// A user in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user_id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
}

struct Row {
    user_id: Uuid,
    email: String,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Member {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let Row {
            user_id,
            email,
            name,
            role,
            created_at,
        } = row;
        Ok(Self {
            user_id,
            email,
            name,
            role: parse_column("membership", "role", user_id, &role)?,
            created_at,
        })
    }
}

/// All members, who joined first first.
pub async fn list(db: &mut PgConnection, workspace_id: Uuid, page: &Page) -> Result<Vec<Member>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT m.user_id, u.email, u.name, m.role, m.created_at
         FROM membership m JOIN app_user u ON u.id = m.user_id
         WHERE m.workspace_id = $1
           AND ($2::timestamptz IS NULL OR (m.created_at, m.user_id) > ($2, $3::uuid))
         ORDER BY m.created_at, m.user_id
         LIMIT $4",
        workspace_id,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

pub async fn by_id(
    connection: &mut PgConnection,
    workspace_id: Uuid,
    user_id: Uuid,
) -> Result<Option<Member>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT m.user_id, u.email, u.name, m.role, m.created_at
         FROM membership m JOIN app_user u ON u.id = m.user_id
         WHERE m.workspace_id = $1 AND m.user_id = $2",
        workspace_id,
        user_id
    )
    .fetch_optional(connection)
    .await?;
    row.map(Member::try_from).transpose()
}

/// Whether somebody with this address is a member.
pub async fn has_email(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    email: &str,
) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM membership m JOIN app_user u ON u.id = m.user_id
                        WHERE m.workspace_id = $1 AND lower(u.email) = lower($2)) AS \"found!\"",
        workspace_id,
        email
    )
    .fetch_one(&mut **tx)
    .await?)
}

pub async fn owner_count(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM membership WHERE workspace_id = $1 AND role = 'OWNER'",
        workspace_id
    )
    .fetch_one(&mut **tx)
    .await?)
}

pub async fn set_role(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
    role: Role,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE membership SET role = $3 WHERE workspace_id = $1 AND user_id = $2",
        workspace_id,
        user_id,
        role.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores a member; `false` if they are one already.
pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
    role: Role,
    created_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO membership (workspace_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (workspace_id, user_id) DO NOTHING",
        workspace_id,
        user_id,
        role.as_str(),
        created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn delete(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM membership WHERE workspace_id = $1 AND user_id = $2",
        workspace_id,
        user_id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
