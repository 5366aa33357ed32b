//! Table `api`.

use super::page::Page;
use super::{DbError, cost_model, parse_column};
use crate::secrets::Sealed;
use chrono::{DateTime, Utc};
use rateguard_api::name::{AuthType, UsageFormat};
use rateguard_model::cost::CostModel;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Broken by a second API of a slug in a workspace.
pub const SLUG_KEY: &str = "api_workspace_slug_key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    pub slug: String,
    pub base_url: String,
    pub hosts: Vec<String>,
    pub auth_type: AuthType,
    /// API_KEY_HEADER only; lower case.
    pub auth_header_name: Option<String>,
    pub credential: Option<Sealed>,
    pub usage_format: UsageFormat,
    pub cost_model: Option<CostModel>,
    pub price_version: String,
    /// The cost model is CATALOGUE: what is in `cost_model` was made by this version of it.
    pub catalogue_version: Option<String>,
    pub timeout_ms: u32,
    pub forward_cookies: bool,
    pub stream_cost_comment: bool,
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    name: String,
    slug: String,
    base_url: String,
    hosts: Vec<String>,
    auth_type: String,
    auth_header_name: Option<String>,
    credential: Option<String>,
    credential_key_id: Option<String>,
    usage_format: String,
    cost_model: Option<Value>,
    price_version: String,
    catalogue_version: Option<String>,
    timeout_ms: i32,
    forward_cookies: bool,
    stream_cost_comment: bool,
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Api {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let id = row.id;
        let bad = |column, reason: String| DbError::Inconsistent {
            table: "api",
            column,
            id,
            reason,
        };
        Ok(Self {
            id,
            workspace_id: row.workspace_id,
            name: row.name,
            slug: row.slug,
            base_url: row.base_url,
            hosts: row.hosts,
            auth_type: parse_column("api", "auth_type", id, &row.auth_type)?,
            auth_header_name: row.auth_header_name,
            credential: row
                .credential
                .zip(row.credential_key_id)
                .map(|(text, key_id)| Sealed { text, key_id }),
            usage_format: parse_column("api", "usage_format", id, &row.usage_format)?,
            cost_model: row
                .cost_model
                .map(cost_model::from_json)
                .transpose()
                .map_err(|error| bad("cost_model", error.to_string()))?,
            price_version: row.price_version,
            catalogue_version: row.catalogue_version,
            timeout_ms: u32::try_from(row.timeout_ms)
                .map_err(|error| bad("timeout_ms", error.to_string()))?,
            forward_cookies: row.forward_cookies,
            stream_cost_comment: row.stream_cost_comment,
            is_active: row.is_active,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub async fn insert(tx: &mut Transaction<'_, Postgres>, api: &Api, feed_version: i64) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO api (id, workspace_id, name, slug, base_url, hosts, auth_type, auth_header_name,
                          credential, credential_key_id, usage_format, cost_model, price_version,
                          timeout_ms, forward_cookies, stream_cost_comment, is_active, created_at,
                          updated_at, feed_version, catalogue_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                $20, $21)",
        api.id,
        api.workspace_id,
        &api.name,
        &api.slug,
        &api.base_url,
        &api.hosts,
        api.auth_type.as_str(),
        api.auth_header_name.as_deref(),
        api.credential.as_ref().map(|sealed| sealed.text.as_str()),
        api.credential.as_ref().map(|sealed| sealed.key_id.as_str()),
        api.usage_format.as_str(),
        api.cost_model.as_ref().map(cost_model::to_json),
        &api.price_version,
        i32::try_from(api.timeout_ms).unwrap_or(i32::MAX),
        api.forward_cookies,
        api.stream_cost_comment,
        api.is_active,
        api.created_at,
        api.updated_at,
        feed_version,
        api.catalogue_version.as_deref()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Transaction<'_, Postgres>, api: &Api, feed_version: i64) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE api SET name = $3, slug = $4, base_url = $5, hosts = $6, auth_type = $7,
                        auth_header_name = $8, credential = $9, credential_key_id = $10,
                        usage_format = $11, cost_model = $12, price_version = $13, timeout_ms = $14,
                        forward_cookies = $15, stream_cost_comment = $16, is_active = $17,
                        updated_at = $18, feed_version = $19, catalogue_version = $20
         WHERE workspace_id = $1 AND id = $2",
        api.workspace_id,
        api.id,
        &api.name,
        &api.slug,
        &api.base_url,
        &api.hosts,
        api.auth_type.as_str(),
        api.auth_header_name.as_deref(),
        api.credential.as_ref().map(|sealed| sealed.text.as_str()),
        api.credential.as_ref().map(|sealed| sealed.key_id.as_str()),
        api.usage_format.as_str(),
        api.cost_model.as_ref().map(cost_model::to_json),
        &api.price_version,
        i32::try_from(api.timeout_ms).unwrap_or(i32::MAX),
        api.forward_cookies,
        api.stream_cost_comment,
        api.is_active,
        api.updated_at,
        feed_version,
        api.catalogue_version.as_deref()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes an API and with it the rules on it; gives those rules' ids. `None`: there is no such API.
pub async fn delete(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Vec<Uuid>>, DbError> {
    let rules: Vec<Uuid> = sqlx::query_scalar!(
        "DELETE FROM rule WHERE workspace_id = $1 AND api_id = $2 RETURNING id",
        workspace_id,
        id
    )
    .fetch_all(&mut **tx)
    .await?;
    let done = sqlx::query!(
        "DELETE FROM api WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok((done.rows_affected() == 1).then_some(rules))
}

/// Which APIs; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In name or slug, whatever the case.
    pub name: Option<String>,
    pub is_active: Option<bool>,
}

/// A workspace's APIs, oldest first.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Api>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, slug, base_url, hosts, auth_type, auth_header_name, credential,
                credential_key_id, usage_format, cost_model, price_version, catalogue_version, timeout_ms,
                forward_cookies, stream_cost_comment, is_active, created_at, updated_at
         FROM api
         WHERE workspace_id = $1
           AND ($2::text IS NULL OR position(lower($2) IN lower(name)) > 0 OR position(lower($2) IN slug) > 0)
           AND ($3::boolean IS NULL OR is_active = $3)
           AND ($4::timestamptz IS NULL OR (created_at, id) > ($4, $5::uuid))
         ORDER BY created_at, id
         LIMIT $6",
        workspace_id,
        filter.name.as_deref(),
        filter.is_active,
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Api::try_from).collect()
}

pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Api>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, slug, base_url, hosts, auth_type, auth_header_name, credential,
                credential_key_id, usage_format, cost_model, price_version, catalogue_version, timeout_ms,
                forward_cookies, stream_cost_comment, is_active, created_at, updated_at
         FROM api
         WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(Api::try_from).transpose()
}

pub async fn by_slug(db: &mut PgConnection, workspace_id: Uuid, slug: &str) -> Result<Option<Api>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, slug, base_url, hosts, auth_type, auth_header_name, credential,
                credential_key_id, usage_format, cost_model, price_version, catalogue_version, timeout_ms,
                forward_cookies, stream_cost_comment, is_active, created_at, updated_at
         FROM api
         WHERE workspace_id = $1 AND slug = $2",
        workspace_id,
        slug
    )
    .fetch_optional(db)
    .await?;
    row.map(Api::try_from).transpose()
}

/// The same under a lock, for a change that must not be lost.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Api>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, name, slug, base_url, hosts, auth_type, auth_header_name, credential,
                credential_key_id, usage_format, cost_model, price_version, catalogue_version, timeout_ms,
                forward_cookies, stream_cost_comment, is_active, created_at, updated_at
         FROM api
         WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Api::try_from).transpose()
}

/// Gives every API of the workspace that follows the catalogue these prices; what they have already stays untold.
pub async fn reprice(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    model: &CostModel,
    catalogue_version: &str,
    now: DateTime<Utc>,
    feed_version: i64,
) -> Result<(), DbError> {
    let price_version = cost_model::price_version(Some(model));
    sqlx::query!(
        "UPDATE api SET cost_model = $2, price_version = $3, catalogue_version = $4, updated_at = $5,
                        feed_version = $6
         WHERE workspace_id = $1 AND catalogue_version IS NOT NULL AND price_version <> $3",
        workspace_id,
        cost_model::to_json(model),
        &price_version,
        catalogue_version,
        now,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE api SET catalogue_version = $2
         WHERE workspace_id = $1 AND catalogue_version IS NOT NULL AND price_version = $3",
        workspace_id,
        catalogue_version,
        &price_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Workspaces with APIs that an older catalogue priced.
pub async fn workspaces_behind_catalogue(db: &PgPool, version: &str) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT workspace_id FROM api WHERE catalogue_version < $1",
        version
    )
    .fetch_all(db)
    .await?)
}

/// How many of these ids are APIs of the workspace.
pub async fn count_of(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    ids: &[Uuid],
) -> Result<usize, DbError> {
    let count: i64 = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM api WHERE workspace_id = $1 AND id = ANY ($2)",
        workspace_id,
        ids
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The slug of another API of the workspace with one of these hosts.
pub async fn with_host(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
    hosts: &[String],
) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT slug FROM api WHERE workspace_id = $1 AND id <> $2 AND hosts && $3 ORDER BY slug LIMIT 1",
        workspace_id,
        id,
        hosts
    )
    .fetch_optional(&mut **tx)
    .await?)
}
