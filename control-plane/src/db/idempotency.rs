//! Table `idempotency`: the answers of creations that may be sent again.

use super::DbError;
use crate::secrets::Sealed;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

/// Broken by a second request with a user's key in a workspace.
pub const KEY: &str = "idempotency_pkey";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub user_id: Uuid,
    /// Nil: in no workspace.
    pub workspace_id: Uuid,
    /// The client's.
    pub key: String,
    pub id: Uuid,
    /// SHA-256 of method, path and body.
    pub request_hash: Vec<u8>,
    pub answer: Sealed,
    pub created_at: DateTime<Utc>,
}

struct Row {
    user_id: Uuid,
    workspace_id: Uuid,
    key: String,
    id: Uuid,
    request_hash: Vec<u8>,
    answer: String,
    answer_key_id: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for Answer {
    fn from(row: Row) -> Self {
        Self {
            user_id: row.user_id,
            workspace_id: row.workspace_id,
            key: row.key,
            id: row.id,
            request_hash: row.request_hash,
            answer: Sealed {
                text: row.answer,
                key_id: row.answer_key_id,
            },
            created_at: row.created_at,
        }
    }
}

/// The answer under a key, unless it is older than `since`.
pub async fn find(
    db: &mut PgConnection,
    workspace_id: Uuid,
    user_id: Uuid,
    key: &str,
    since: DateTime<Utc>,
) -> Result<Option<Answer>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT user_id, workspace_id, key, id, request_hash, answer, answer_key_id, created_at
         FROM idempotency
         WHERE workspace_id = $1 AND user_id = $2 AND key = $3 AND created_at > $4",
        workspace_id,
        user_id,
        key,
        since
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Answer::from))
}

/// Stores an answer; the user's answers in this workspace from `since` or before go.
pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    answer: &Answer,
    since: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM idempotency WHERE workspace_id = $1 AND user_id = $2 AND created_at <= $3",
        answer.workspace_id,
        answer.user_id,
        since
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO idempotency (user_id, workspace_id, key, id, request_hash, answer, answer_key_id,
                created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        answer.user_id,
        answer.workspace_id,
        &answer.key,
        answer.id,
        &answer.request_hash,
        &answer.answer.text,
        &answer.answer.key_id,
        answer.created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
