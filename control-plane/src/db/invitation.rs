//! Table `invitation`.

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::{InvitationStatus, Role};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub email: String,
    pub role: Role,
    pub invited_by: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// `accepted`, `declined` or `revoked`; none while it may still be redeemed.
    pub outcome: Option<InvitationStatus>,
}

impl Invitation {
    pub fn status(&self, now: DateTime<Utc>) -> InvitationStatus {
        self.outcome.unwrap_or(if self.expires_at <= now {
            InvitationStatus::Expired
        } else {
            InvitationStatus::Pending
        })
    }
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    email: String,
    role: String,
    invited_by: Option<Uuid>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    outcome: Option<String>,
}

impl TryFrom<Row> for Invitation {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let Row {
            id,
            workspace_id,
            email,
            role,
            invited_by,
            created_at,
            expires_at,
            outcome,
        } = row;
        Ok(Self {
            id,
            workspace_id,
            email,
            role: parse_column("invitation", "role", id, &role)?,
            invited_by,
            created_at,
            expires_at,
            outcome: outcome
                .map(|text| parse_column("invitation", "outcome", id, &text))
                .transpose()?,
        })
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    invitation: &Invitation,
    sha256: &[u8],
) -> Result<(), DbError> {
    let Invitation {
        id,
        workspace_id,
        email,
        role,
        invited_by,
        created_at,
        expires_at,
        outcome: _,
    } = invitation;
    sqlx::query!(
        "INSERT INTO invitation (id, workspace_id, email, role, sha256, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id,
        workspace_id,
        email,
        role.as_str(),
        sha256,
        *invited_by,
        created_at,
        expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All of a workspace, the oldest first.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    page: &Page,
) -> Result<Vec<Invitation>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, email, role, invited_by, created_at, expires_at, outcome
         FROM invitation
         WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
         ORDER BY created_at, id
         LIMIT $4",
        workspace_id,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Invitation>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, email, role, invited_by, created_at, expires_at, outcome
         FROM invitation WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Invitation::try_from).transpose()
}

/// The invitation that a link's token names, in force or not. The hash is what names its workspace.
pub async fn by_sha256(db: &PgPool, sha256: &[u8]) -> Result<Option<Invitation>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, email, role, invited_by, created_at, expires_at, outcome
         FROM invitation WHERE sha256 = $1",
        sha256
    )
    .fetch_optional(db)
    .await?;
    row.map(Invitation::try_from).transpose()
}

/// How many of a workspace are pending, and whether one is for this address.
pub async fn pending(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    email: &str,
    now: DateTime<Utc>,
) -> Result<(i64, bool), DbError> {
    let row = sqlx::query!(
        "SELECT count(*) AS \"count!\", COALESCE(bool_or(lower(email) = lower($2)), false) AS \"found!\"
         FROM invitation WHERE workspace_id = $1 AND outcome IS NULL AND expires_at > $3",
        workspace_id,
        email,
        now,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.count, row.found))
}

/// Ends a pending invitation; of two at once, one gets it.
pub async fn end(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
    outcome: InvitationStatus,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE invitation SET outcome = $3, ended_at = $4
         WHERE workspace_id = $1 AND id = $2 AND outcome IS NULL AND expires_at > $4",
        workspace_id,
        id,
        outcome.as_str(),
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes what a member invited to and may not any more.
pub async fn revoke_of_inviter(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    invited_by: Uuid,
    kept: &[Role],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let kept: Vec<String> = kept.iter().map(|role| role.as_str().to_owned()).collect();
    sqlx::query!(
        "UPDATE invitation SET outcome = 'revoked', ended_at = $4
         WHERE workspace_id = $1 AND invited_by = $2 AND outcome IS NULL AND NOT (role = ANY($3))",
        workspace_id,
        invited_by,
        &kept,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
