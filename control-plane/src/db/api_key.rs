//! Tables `api_key` and `api_key_secret`.

use super::page::Page;
use super::{DbError, parse_column};
use chrono::{DateTime, Utc};
use rateguard_api::name::{Environment, KeyStatus};
use rateguard_model::digest::Digest;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    pub environment: Environment,
    /// First 12 characters, for display.
    pub prefix: String,
    pub is_active: bool,
    pub revoked_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Empty: every API of the workspace.
    pub allowed_api_ids: Vec<Uuid>,
    /// Globs; empty: every model.
    pub allowed_models: Vec<String>,
    pub tags: BTreeMap<String, String>,
    pub owner_id: Option<Uuid>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    name: String,
    environment: String,
    prefix: String,
    is_active: bool,
    revoked_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    allowed_api_ids: Vec<Uuid>,
    allowed_models: Vec<String>,
    tags: Value,
    owner_id: Option<Uuid>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Key {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let id = row.id;
        Ok(Self {
            id,
            workspace_id: row.workspace_id,
            name: row.name,
            environment: parse_column("api_key", "environment", id, &row.environment)?,
            prefix: row.prefix,
            is_active: row.is_active,
            revoked_at: row.revoked_at,
            expires_at: row.expires_at,
            allowed_api_ids: row.allowed_api_ids,
            allowed_models: row.allowed_models,
            tags: serde_json::from_value(row.tags).map_err(|error| DbError::Inconsistent {
                table: "api_key",
                column: "tags",
                id,
                reason: error.to_string(),
            })?,
            owner_id: row.owner_id,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn tags_json(tags: &BTreeMap<String, String>) -> Value {
    Value::Object(
        tags.iter()
            .map(|(name, value)| (name.clone(), Value::String(value.clone())))
            .collect(),
    )
}

/// Stores a key record. Its secret follows by [`insert_secret`].
pub async fn insert(tx: &mut Transaction<'_, Postgres>, key: &Key, feed_version: i64) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO api_key (id, workspace_id, name, environment, prefix, is_active, expires_at,
                              allowed_api_ids, allowed_models, tags, owner_id, created_at, updated_at,
                              feed_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        key.id,
        key.workspace_id,
        &key.name,
        key.environment.as_str(),
        &key.prefix,
        key.is_active,
        key.expires_at,
        &key.allowed_api_ids,
        &key.allowed_models,
        tags_json(&key.tags),
        key.owner_id,
        key.created_at,
        key.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn insert_secret(
    tx: &mut Transaction<'_, Postgres>,
    key_id: Uuid,
    digest: Digest,
    created_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO api_key_secret (api_key_id, sha256, created_at) VALUES ($1, $2, $3)",
        key_id,
        digest.as_bytes().as_slice(),
        created_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a key's secrets at `not_after`, those that end before excepted; secrets that have ended by `now` go.
pub async fn end_secrets(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    key_id: Uuid,
    now: DateTime<Utc>,
    not_after: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE api_key_secret s SET not_after = LEAST(s.not_after, $3)
         FROM api_key k WHERE k.id = s.api_key_id AND k.workspace_id = $1 AND k.id = $2",
        workspace_id,
        key_id,
        not_after
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "DELETE FROM api_key_secret s USING api_key k
         WHERE k.id = s.api_key_id AND k.workspace_id = $1 AND k.id = $2 AND s.not_after <= $3",
        workspace_id,
        key_id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Transaction<'_, Postgres>, key: &Key, feed_version: i64) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE api_key SET name = $3, prefix = $4, is_active = $5, revoked_at = $6, expires_at = $7,
                            allowed_api_ids = $8, allowed_models = $9, tags = $10, updated_at = $11,
                            feed_version = $12
         WHERE workspace_id = $1 AND id = $2",
        key.workspace_id,
        key.id,
        &key.name,
        &key.prefix,
        key.is_active,
        key.revoked_at,
        key.expires_at,
        &key.allowed_api_ids,
        &key.allowed_models,
        tags_json(&key.tags),
        key.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Revokes a key and hides it: history keeps its name. `false`: there is no such key.
pub async fn delete(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
    feed_version: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE api_key SET deleted_at = $3, revoked_at = COALESCE(revoked_at, $3), updated_at = $3,
                            feed_version = $4
         WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
        workspace_id,
        id,
        now,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Which keys; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In the name, whatever the case.
    pub name: Option<String>,
    /// What the shown prefix starts with.
    pub prefix: Option<String>,
    pub status: Option<KeyStatus>,
    pub environment: Option<Environment>,
    /// Keys that may use this API.
    pub api_id: Option<Uuid>,
}

/// A workspace's keys, oldest first; `now` tells which have expired.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    filter: &Filter,
    now: DateTime<Utc>,
    page: &Page,
) -> Result<Vec<Key>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, environment, prefix, is_active, revoked_at, expires_at,
                allowed_api_ids, allowed_models, tags, owner_id, last_used_at, created_at, updated_at
         FROM api_key
         WHERE workspace_id = $1 AND deleted_at IS NULL
           AND ($2::text IS NULL OR position(lower($2) IN lower(name)) > 0)
           AND ($3::text IS NULL OR starts_with(prefix, $3))
           AND ($4::text IS NULL OR environment = $4)
           AND ($5::uuid IS NULL OR allowed_api_ids = '{}' OR $5 = ANY (allowed_api_ids))
           AND ($6::text IS NULL OR $6 = CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
                                              WHEN expires_at <= $7 THEN 'expired'
                                              WHEN is_active THEN 'active'
                                              ELSE 'suspended' END)
           AND ($8::timestamptz IS NULL OR (created_at, id) > ($8, $9::uuid))
         ORDER BY created_at, id
         LIMIT $10",
        workspace_id,
        filter.name.as_deref(),
        filter.prefix.as_deref(),
        filter.environment.map(Environment::as_str),
        filter.api_id,
        filter.status.map(KeyStatus::as_str),
        now,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Key::try_from).collect()
}

pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Key>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, environment, prefix, is_active, revoked_at, expires_at,
                allowed_api_ids, allowed_models, tags, owner_id, last_used_at, created_at, updated_at
         FROM api_key
         WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
        workspace_id,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(Key::try_from).transpose()
}

/// The same under a lock, for a change that must not be lost.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Key>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, environment, prefix, is_active, revoked_at, expires_at,
                allowed_api_ids, allowed_models, tags, owner_id, last_used_at, created_at, updated_at
         FROM api_key
         WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Key::try_from).transpose()
}
