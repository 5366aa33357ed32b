//! Table `access_token`: personal access tokens.

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::Role;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Its creator.
    pub user_id: Uuid,
    pub name: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl AccessToken {
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    user_id: Uuid,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for AccessToken {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let Row {
            id,
            workspace_id,
            user_id,
            name,
            role,
            created_at,
            expires_at,
            last_used_at,
            revoked_at,
        } = row;
        Ok(Self {
            id,
            workspace_id,
            user_id,
            name,
            role: parse_column("access_token", "role", id, &role)?,
            created_at,
            expires_at,
            last_used_at,
            revoked_at,
        })
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    token: &AccessToken,
    sha256: &[u8],
) -> Result<(), DbError> {
    let AccessToken {
        id,
        workspace_id,
        user_id,
        name,
        role,
        created_at,
        expires_at,
        last_used_at: _,
        revoked_at: _,
    } = token;
    sqlx::query!(
        "INSERT INTO access_token (id, workspace_id, user_id, name, role, sha256, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id,
        workspace_id,
        user_id,
        name,
        role.as_str(),
        sha256,
        created_at,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whose token this is, in force or not. The hash is what names its workspace.
pub async fn by_sha256(db: &PgPool, sha256: &[u8]) -> Result<Option<AccessToken>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, user_id, name, role, created_at, expires_at, last_used_at, revoked_at
         FROM access_token WHERE sha256 = $1",
        sha256
    )
    .fetch_optional(db)
    .await?;
    row.map(AccessToken::try_from).transpose()
}

/// Notes a use.
pub async fn touch(db: &PgPool, workspace_id: Uuid, id: Uuid, used_at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE access_token SET last_used_at = $3 WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id,
        used_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A workspace's tokens, ended ones too, the oldest first; of one user or of all.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    user_id: Option<Uuid>,
    page: &Page,
) -> Result<Vec<AccessToken>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, user_id, name, role, created_at, expires_at, last_used_at, revoked_at
         FROM access_token WHERE workspace_id = $1 AND ($2::uuid IS NULL OR user_id = $2)
           AND ($3::timestamptz IS NULL OR (created_at, id) > ($3, $4::uuid))
         ORDER BY created_at, id
         LIMIT $5",
        workspace_id,
        user_id,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(AccessToken::try_from).collect()
}

pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<AccessToken>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, user_id, name, role, created_at, expires_at, last_used_at, revoked_at
         FROM access_token WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(AccessToken::try_from).transpose()
}

/// How many tokens of a user are in force.
pub async fn count_in_force(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM access_token
         WHERE workspace_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3",
        workspace_id,
        user_id,
        now
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Ends a token for good.
pub async fn revoke(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE access_token SET revoked_at = $3 WHERE workspace_id = $1 AND id = $2 AND revoked_at IS NULL",
        workspace_id,
        id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends all tokens of somebody who leaves: they do not come back with them.
pub async fn revoke_of_user(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    user_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE access_token SET revoked_at = $3
         WHERE workspace_id = $1 AND user_id = $2 AND revoked_at IS NULL",
        workspace_id,
        user_id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
