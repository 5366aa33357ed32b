//! `/api/workspaces/{id}/keys`. The key itself is answered once; stored are its hash and its first characters.

use super::apis::parse_ids;
use super::budgets;
use super::capacity;
use super::error::{ApiError, Faults};
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId, OptionalBody};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::Entry;
use crate::db::api_key::{self, Key};
use crate::db::budget;
use crate::db::capacity::Counted;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::{DbError, api};
use crate::entropy;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound, Utc};
use rateguard_api::key as body;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, BudgetSubjectType, Environment, KeyStatus};
use rateguard_model::api_key::{self as key_format, ApiKey};
use rateguard_model::digest::Digest;
use serde::Deserialize;
use sqlx::{Postgres, Transaction};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show_one, update, delete))
        .routes(routes!(revoke))
        .routes(routes!(rotate))
}

const LIST_MAX: usize = 100;
const PATTERN_BYTES_MAX: usize = 200;
const TAGS_MAX: usize = 16;
const TAG_NAME_BYTES_MAX: usize = 64;
const TAG_VALUE_BYTES_MAX: usize = 256;
/// 30 days.
const OVERLAP_S_MAX: u32 = 30 * 24 * 3600;

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeyFilter {
    /// In the name, whatever the case.
    name: Option<String>,
    /// The first characters, as the list shows them.
    prefix: Option<String>,
    status: Option<KeyStatus>,
    environment: Option<Environment>,
    /// The keys that may use this API: those that name it, and those that name none.
    api_id: Option<String>,
}

/// Lists the keys, oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/keys",
    tag = "Keys",
    operation_id = "listKeys",
    params(Paging, KeyFilter),
    responses((status = 200, body = List<body::Key>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<KeyFilter>,
) -> Result<Json<List<body::Key>>, ApiError> {
    access.require(Permission::Read)?;
    let now = state.now();
    let filter = api_key::Filter {
        name: page::text("name", filter.name)?,
        prefix: page::text("prefix", filter.prefix)?,
        status: filter.status,
        environment: filter.environment,
        api_id: page::id("apiId", filter.api_id.as_deref())?,
    };
    let keys = api_key::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        &filter,
        now,
        &page,
    )
    .await?;
    let position = |key: &Key| (key.created_at, key.id);
    Ok(Json(page::list(&keys, &page, position, |key| show(key, now))))
}

/// Shows a key
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/keys/{id}",
    tag = "Keys",
    operation_id = "showKey",
    responses((status = 200, body = body::Key))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Key>, ApiError> {
    access.require(Permission::Read)?;
    let key = api_key::by_id(&mut *access.read(&state).await?, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("key"))?;
    Ok(Tagged(show(&key, state.now())))
}

/// Makes a key; the answer is the only one that holds the key itself
///
/// It gets the workspace's `defaultKeyBudget`, where there is one.
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/keys",
    tag = "Keys",
    operation_id = "createKey",
    params(IdempotencyKey),
    request_body = body::CreateKey,
    responses((status = 201, body = body::KeyWithSecret))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateKey>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteKeys)?;
    let creation = Creation {
        state: &state,
        user_id: access.user_id(),
        workspace_id: access.workspace_id(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
    let now = state.now();
    let environment = body.environment.unwrap_or(Environment::Live);
    let secret = NewSecret::generate(&state, environment);
    let mut key = Key {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        name: String::new(),
        environment,
        prefix: secret.prefix,
        is_active: true,
        revoked_at: None,
        expires_at: None,
        allowed_api_ids: Vec::new(),
        allowed_models: Vec::new(),
        tags: BTreeMap::new(),
        owner_id: Some(access.user_id()),
        last_used_at: None,
        created_at: now,
        updated_at: now,
    };
    let change = body::UpdateKey {
        name: Some(body.name),
        is_active: None,
        expires_at: Some(body.expires_at),
        allowed_api_ids: Some(body.allowed_api_ids),
        allowed_models: Some(body.allowed_models),
        tags: Some(body.tags),
    };
    apply(&mut key, change, now)?;
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    capacity::require(&state, &mut tx, key.workspace_id, Counted::Keys).await?;
    refuse_foreign_apis(&mut tx, &key).await?;
    api_key::insert(&mut tx, &key, feed_version).await?;
    api_key::insert_secret(&mut tx, key.id, secret.digest, now).await?;
    if let Some(budget) = budgets::of_new_key(state.new_id(), &access.membership.workspace, &key) {
        capacity::require(&state, &mut tx, key.workspace_id, Counted::Budgets).await?;
        budget::insert(&mut tx, &budget, feed_version).await?;
    }
    let record = show(&key, now);
    let entry = entry(AuditAction::KeyCreate, &key).after(&record);
    let answer = body::KeyWithSecret {
        record,
        key: secret.text,
    };
    creation.commit(tx, entry, &answer).await
}

fn entry(action: AuditAction, key: &Key) -> Entry {
    Entry::new(action, key.workspace_id, key.id, &key.name)
}

/// Changes a key, suspends it or takes that back
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/keys/{id}",
    tag = "Keys",
    operation_id = "updateKey",
    params(IfMatchParam),
    request_body = body::UpdateKey,
    responses((status = 200, body = body::Key))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::UpdateKey>,
) -> Result<Tagged<body::Key>, ApiError> {
    access.require(Permission::WriteKeys)?;
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    let before = show(&key, now);
    if_match.check(&before)?;
    refuse_revoked(&key)?;
    apply(&mut key, body, now)?;
    refuse_foreign_apis(&mut tx, &key).await?;
    key.updated_at = now;
    api_key::update(&mut tx, &key, feed_version).await?;
    let shown = show(&key, now);
    let entry = entry(AuditAction::KeyUpdate, &key).before(&before);
    tx.commit(entry.after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Revokes a key
///
/// Final. Revoking twice is revoking once.
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/keys/{id}/revoke",
    tag = "Keys",
    operation_id = "revokeKey",
    params(IfMatchParam),
    responses((status = 200, body = body::Key))
)]
async fn revoke(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<Tagged<body::Key>, ApiError> {
    access.require(Permission::WriteKeys)?;
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    let before = show(&key, now);
    if_match.check(&before)?;
    if key.revoked_at.is_none() {
        key.revoked_at = Some(now);
        key.updated_at = now;
        api_key::update(&mut tx, &key, feed_version).await?;
        let entry = entry(AuditAction::KeyRevoke, &key).before(&before);
        tx.commit(entry.after(&show(&key, now))).await?;
    }
    Ok(Tagged(show(&key, now)))
}

/// Gives a key a new secret
///
/// The id stays; the old secret stays valid for the overlap that was asked for. The answer is the only one that holds
/// the key itself.
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/keys/{id}/rotate",
    tag = "Keys",
    operation_id = "rotateKey",
    params(IfMatchParam),
    request_body = Option<body::RotateKey>,
    responses((status = 200, body = body::KeyWithSecret))
)]
async fn rotate(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    OptionalBody(body): OptionalBody<body::RotateKey>,
) -> Result<Tagged<body::KeyWithSecret>, ApiError> {
    access.require(Permission::WriteKeys)?;
    if body.overlap_seconds > OVERLAP_S_MAX {
        return Err(ApiError::invalid("overlapSeconds", "must be 0 to 2592000"));
    }
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    let before = show(&key, now);
    if_match.check(&before)?;
    refuse_revoked(&key)?;
    let secret = NewSecret::generate(&state, key.environment);
    let not_after = now + Duration::from_secs(body.overlap_seconds.into());
    api_key::end_secrets(&mut tx, key.workspace_id, id, now, not_after).await?;
    api_key::insert_secret(&mut tx, id, secret.digest, now).await?;
    key.prefix = secret.prefix;
    key.updated_at = now;
    api_key::update(&mut tx, &key, feed_version).await?;
    let record = show(&key, now);
    let entry = entry(AuditAction::KeyRotate, &key).before(&before);
    tx.commit(entry.after(&record)).await?;
    Ok(Tagged(body::KeyWithSecret {
        record,
        key: secret.text,
    }))
}

/// Deletes a key: revoked, and shown no more; budgets of its own go with it
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/keys/{id}",
    tag = "Keys",
    operation_id = "deleteKey",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteKeys)?;
    let workspace_id = access.workspace_id();
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let (key, version) = locked(&mut tx, &access, id).await?;
    let before = show(&key, now);
    if_match.check(&before)?;
    api_key::delete(&mut tx, workspace_id, id, now, version).await?;
    let removal = Removal {
        version,
        resource_type: ResourceType::Key,
        resource_id: id,
        workspace_id: Some(workspace_id),
        removed_at: now,
    };
    feed::insert_removal(&mut tx, removal).await?;
    for budget_id in budget::delete_of(&mut tx, workspace_id, BudgetSubjectType::Key, id).await? {
        let removal = Removal {
            version,
            resource_type: ResourceType::Budget,
            resource_id: budget_id,
            workspace_id: Some(workspace_id),
            removed_at: now,
        };
        feed::insert_removal(&mut tx, removal).await?;
    }
    tx.commit(entry(AuditAction::KeyDelete, &key).before(&before))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The key under a lock, and the version of its change.
async fn locked(
    tx: &mut Transaction<'_, Postgres>,
    access: &Access,
    id: uuid::Uuid,
) -> Result<(Key, i64), ApiError> {
    let feed_version = feed::next_version(tx).await?;
    let key = api_key::for_update(tx, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("key"))?;
    Ok((key, feed_version))
}

fn refuse_revoked(key: &Key) -> Result<(), ApiError> {
    match key.revoked_at {
        None => Ok(()),
        Some(_) => Err(ApiError::Conflict {
            field: "",
            message: "the key is revoked, which is final".to_owned(),
        }),
    }
}

async fn refuse_foreign_apis(tx: &mut Transaction<'_, Postgres>, key: &Key) -> Result<(), ApiError> {
    let known: Result<usize, DbError> = api::count_of(tx, key.workspace_id, &key.allowed_api_ids).await;
    if known? == key.allowed_api_ids.len() {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "allowedApiIds",
            "must be ids of APIs of this workspace",
        ))
    }
}

/// A new key's text, and what is stored of it.
struct NewSecret {
    text: String,
    prefix: String,
    digest: Digest,
}

impl NewSecret {
    fn generate(state: &AppState, environment: Environment) -> Self {
        let text = key_format::generate(environment.into(), entropy::key_digits(state.entropy.as_ref()));
        let prefix = text.chars().take(ApiKey::DISPLAY_PREFIX_LEN).collect();
        let digest = Digest::of(text.as_bytes());
        Self { text, prefix, digest }
    }
}

fn apply(key: &mut Key, change: body::UpdateKey, now: DateTime<Utc>) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    let body::UpdateKey {
        name,
        is_active,
        expires_at,
        allowed_api_ids,
        allowed_models,
        tags,
    } = change;
    if let Some(name) = name {
        key.name = text::name(&mut faults, "name", &name);
    }
    key.is_active = is_active.unwrap_or(key.is_active);
    match expires_at {
        Some(Some(text)) => key.expires_at = expiry(&mut faults, &text, now),
        Some(None) => key.expires_at = None,
        None => {}
    }
    if let Some(ids) = allowed_api_ids {
        if ids.len() > LIST_MAX {
            faults.invalid("allowedApiIds", "must have at most 100 entries");
        }
        key.allowed_api_ids = parse_ids(&mut faults, "allowedApiIds", &ids);
    }
    if let Some(models) = allowed_models {
        check_models(&mut faults, &models);
        key.allowed_models = models;
    }
    if let Some(tags) = tags {
        check_tags(&mut faults, &tags);
        key.tags = tags;
    }
    faults.finish(())
}

fn expiry(faults: &mut Faults, text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc).trunc_subsecs(3));
    match parsed {
        Ok(at) if at > now => Some(at),
        Ok(_) => {
            faults.invalid("expiresAt", "must be in the future");
            None
        }
        Err(_) => {
            faults.invalid("expiresAt", "must be an RFC 3339 time, e.g. 2030-01-31T00:00:00Z");
            None
        }
    }
}

fn check_models(faults: &mut Faults, models: &[String]) {
    if models.len() > LIST_MAX {
        faults.invalid("allowedModels", "must have at most 100 entries");
    }
    for (index, model) in models.iter().enumerate() {
        if !(1..=PATTERN_BYTES_MAX).contains(&model.len()) || !model.bytes().all(|b| b.is_ascii_graphic()) {
            faults.invalid(
                format!("allowedModels[{index}]"),
                "must be 1 to 200 visible ASCII characters",
            );
        }
    }
}

fn check_tags(faults: &mut Faults, tags: &BTreeMap<String, String>) {
    if tags.len() > TAGS_MAX {
        faults.invalid("tags", "must have at most 16 entries");
    }
    for (name, value) in tags {
        let name_ok = (1..=TAG_NAME_BYTES_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let value_ok = (1..=TAG_VALUE_BYTES_MAX).contains(&value.len())
            && !value.chars().any(|c| c.is_control() || c == ',');
        if !name_ok {
            faults.invalid("tags", "names must be 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`");
        } else if !value_ok {
            faults.invalid(
                format!("tags.{name}"),
                "must be 1 to 256 bytes without commas and control characters",
            );
        }
    }
}

fn show(key: &Key, now: DateTime<Utc>) -> body::Key {
    let status = if key.revoked_at.is_some() {
        KeyStatus::Revoked
    } else if key.expires_at.is_some_and(|at| at <= now) {
        KeyStatus::Expired
    } else if key.is_active {
        KeyStatus::Active
    } else {
        KeyStatus::Suspended
    };
    body::Key {
        id: key.id.to_string(),
        name: key.name.clone(),
        environment: key.environment,
        prefix: key.prefix.clone(),
        status,
        is_active: key.is_active,
        revoked_at: key.revoked_at.map(text::timestamp),
        expires_at: key.expires_at.map(text::timestamp),
        allowed_api_ids: key.allowed_api_ids.iter().map(ToString::to_string).collect(),
        allowed_models: key.allowed_models.clone(),
        tags: key.tags.clone(),
        owner_id: key.owner_id.map(|id| id.to_string()),
        last_used_at: key.last_used_at.map(text::timestamp),
        created_at: text::timestamp(key.created_at),
        updated_at: text::timestamp(key.updated_at),
    }
}
