//! What things are called, for breakdowns that know only their ids. History keeps names: a deleted key's row stays, of
//! a deleted API the audit log tells.

use super::DbError;
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

type Names = HashMap<Uuid, String>;

/// Of APIs, deleted ones too.
pub async fn of_apis(db: &mut PgConnection, workspace_id: Uuid, ids: &[Uuid]) -> Result<Names, DbError> {
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let rows = sqlx::query!(
        "SELECT id, name FROM api WHERE workspace_id = $1 AND id = ANY($2)",
        workspace_id,
        ids
    )
    .fetch_all(&mut *db)
    .await?;
    let mut names: Names = rows.into_iter().map(|row| (row.id, row.name)).collect();
    let gone: Vec<Uuid> = ids.iter().copied().filter(|id| !names.contains_key(id)).collect();
    if gone.is_empty() {
        return Ok(names);
    }
    let rows = sqlx::query!(
        "SELECT DISTINCT ON (resource_id) resource_id, resource_name FROM audit_entry
         WHERE workspace_id = $1 AND resource_type = 'api' AND resource_id = ANY($2)
         ORDER BY resource_id, at DESC",
        workspace_id,
        &gone
    )
    .fetch_all(db)
    .await?;
    names.extend(
        rows.into_iter()
            .filter_map(|row| Some((row.resource_id?, row.resource_name))),
    );
    Ok(names)
}

/// Of keys, deleted ones too.
pub async fn of_keys(db: &mut PgConnection, workspace_id: Uuid, ids: &[Uuid]) -> Result<Names, DbError> {
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let rows = sqlx::query!(
        "SELECT id, name FROM api_key WHERE workspace_id = $1 AND id = ANY($2)",
        workspace_id,
        ids
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Of people who own, or owned, the workspace's keys. Ids come from the workspace's own events.
pub async fn of_people(db: &mut PgConnection, ids: &[Uuid]) -> Result<Names, DbError> {
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let rows = sqlx::query!("SELECT id, name FROM app_user WHERE id = ANY($1)", ids)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}
