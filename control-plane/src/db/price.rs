//! Table `price_override`: prices that a workspace puts before the catalogue.

use super::page::Page;
use super::{DbError, cost_model};
use chrono::{DateTime, Utc};
use rateguard_model::cost::ModelPrices;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

/// Broken by a second price of a pattern in a workspace.
pub const MODEL_KEY: &str = "price_override_model_key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub entry: ModelPrices,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    entry: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Override {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            workspace_id: row.workspace_id,
            entry: cost_model::entry_from_json(row.entry).map_err(|error| DbError::Inconsistent {
                table: "price_override",
                column: "entry",
                id: row.id,
                reason: error.to_string(),
            })?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub async fn insert(tx: &mut Transaction<'_, Postgres>, price: &Override) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO price_override (id, workspace_id, model, entry, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        price.id,
        price.workspace_id,
        &price.entry.model,
        cost_model::entry_to_json(&price.entry),
        price.created_at,
        price.updated_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Transaction<'_, Postgres>, price: &Override) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE price_override SET entry = $3, updated_at = $4 WHERE workspace_id = $1 AND id = $2",
        price.workspace_id,
        price.id,
        cost_model::entry_to_json(&price.entry),
        price.updated_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid, id: Uuid) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM price_override WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A workspace's overrides, oldest first; those whose pattern contains `model`.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    model: Option<&str>,
    page: &Page,
) -> Result<Vec<Override>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, entry, created_at, updated_at FROM price_override
         WHERE workspace_id = $1
           AND ($2::text IS NULL OR position(lower($2) IN lower(model)) > 0)
           AND ($3::timestamptz IS NULL OR (created_at, id) > ($3, $4::uuid))
         ORDER BY created_at, id
         LIMIT $5",
        workspace_id,
        model,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Override::try_from).collect()
}

/// All of a workspace's overrides.
pub async fn all(tx: &mut Transaction<'_, Postgres>, workspace_id: Uuid) -> Result<Vec<Override>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, entry, created_at, updated_at FROM price_override
         WHERE workspace_id = $1 ORDER BY model",
        workspace_id
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Override::try_from).collect()
}

/// One override; under a lock where the caller's transaction goes on to change it.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Override>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, entry, created_at, updated_at FROM price_override
         WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Override::try_from).transpose()
}

pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Override>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, entry, created_at, updated_at FROM price_override
         WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(Override::try_from).transpose()
}
