//! The encrypted credentials of table `api`, for the rotation of the key that they are under.

use super::DbError;
use crate::secrets::Sealed;
use sqlx::PgPool;
use uuid::Uuid;

/// A credential and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub api_id: Uuid,
    pub workspace_id: Uuid,
    pub sealed: Sealed,
}

/// Credentials of all workspaces that are under another key than this one, in the order of their APIs' ids.
pub async fn not_under(
    db: &PgPool,
    key_id: &str,
    after_api_id: Uuid,
    limit: i64,
) -> Result<Vec<Stored>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT id, workspace_id, credential AS "credential!", credential_key_id AS "credential_key_id!" FROM api
           WHERE id > $1 AND credential IS NOT NULL AND credential_key_id <> $2
           ORDER BY id LIMIT $3"#,
        after_api_id,
        key_id,
        limit,
    )
    .fetch_all(db)
    .await?;
    let stored = rows.into_iter().map(|row| Stored {
        api_id: row.id,
        workspace_id: row.workspace_id,
        sealed: Sealed {
            text: row.credential,
            key_id: row.credential_key_id,
        },
    });
    Ok(stored.collect())
}

/// Puts another ciphertext in the place of this one; `false` if it is no longer there.
pub async fn replace(db: &PgPool, old: &Stored, new: &Sealed) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE api SET credential = $4, credential_key_id = $5
         WHERE workspace_id = $1 AND id = $2 AND credential = $3",
        old.workspace_id,
        old.api_id,
        old.sealed.text,
        new.text,
        new.key_id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
