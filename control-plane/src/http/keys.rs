//! `/api/workspaces/{id}/keys`. The key itself is answered once; stored are its hash and its first characters.

use super::apis::parse_ids;
use super::error::{ApiError, Faults};
use super::extract::{Access, Body, ItemId, OptionalBody};
use super::permission::Permission;
use super::text;
use crate::db::api_key::{self, Key};
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::{DbError, api};
use crate::entropy;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, SubsecRound, Utc};
use rateguard_api::key as body;
use rateguard_api::list::List;
use rateguard_api::name::{Environment, KeyStatus};
use rateguard_model::api_key::{self as key_format, ApiKey};
use rateguard_model::digest::Digest;
use sqlx::{Postgres, Transaction};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/workspaces/{workspace_id}/keys", get(list).post(create))
        .route(
            "/api/workspaces/{workspace_id}/keys/{id}",
            get(show_one).patch(update).delete(delete),
        )
        .route("/api/workspaces/{workspace_id}/keys/{id}/revoke", post(revoke))
        .route("/api/workspaces/{workspace_id}/keys/{id}/rotate", post(rotate))
}

const LIST_MAX: usize = 100;
const PATTERN_BYTES_MAX: usize = 200;
const TAGS_MAX: usize = 16;
const TAG_NAME_BYTES_MAX: usize = 64;
const TAG_VALUE_BYTES_MAX: usize = 256;
/// 30 days.
const OVERLAP_S_MAX: u32 = 30 * 24 * 3600;

async fn list(State(state): State<AppState>, access: Access) -> Result<Json<List<body::Key>>, ApiError> {
    access.require(Permission::Read)?;
    let keys = api_key::list(&state.db, access.workspace_id()).await?;
    let now = state.now();
    Ok(Json(List::whole(keys.iter().map(|key| show(key, now)).collect())))
}

async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Json<body::Key>, ApiError> {
    access.require(Permission::Read)?;
    let key = api_key::by_id(&state.db, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("key"))?;
    Ok(Json(show(&key, state.now())))
}

async fn create(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::CreateKey>,
) -> Result<(StatusCode, Json<body::KeyWithSecret>), ApiError> {
    access.require(Permission::WriteKeys)?;
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
    let mut tx = state.db.begin().await?;
    let feed_version = feed::next_version(&mut tx).await?;
    refuse_foreign_apis(&mut tx, &key).await?;
    api_key::insert(&mut tx, &key, feed_version).await?;
    api_key::insert_secret(&mut tx, key.id, secret.digest, now).await?;
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        Json(body::KeyWithSecret {
            record: show(&key, now),
            key: secret.text,
        }),
    ))
}

async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    Body(body): Body<body::UpdateKey>,
) -> Result<Json<body::Key>, ApiError> {
    access.require(Permission::WriteKeys)?;
    let now = state.now();
    let mut tx = state.db.begin().await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    refuse_revoked(&key)?;
    apply(&mut key, body, now)?;
    refuse_foreign_apis(&mut tx, &key).await?;
    key.updated_at = now;
    api_key::update(&mut tx, &key, feed_version).await?;
    tx.commit().await?;
    Ok(Json(show(&key, now)))
}

/// Final. Revoking twice is revoking once.
async fn revoke(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Json<body::Key>, ApiError> {
    access.require(Permission::WriteKeys)?;
    let now = state.now();
    let mut tx = state.db.begin().await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    if key.revoked_at.is_none() {
        key.revoked_at = Some(now);
        key.updated_at = now;
        api_key::update(&mut tx, &key, feed_version).await?;
        tx.commit().await?;
    }
    Ok(Json(show(&key, now)))
}

/// A new secret under the same id; the old one stays valid for the overlap that was asked for.
async fn rotate(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    OptionalBody(body): OptionalBody<body::RotateKey>,
) -> Result<Json<body::KeyWithSecret>, ApiError> {
    access.require(Permission::WriteKeys)?;
    if body.overlap_seconds > OVERLAP_S_MAX {
        return Err(ApiError::invalid("overlapSeconds", "must be 0 to 2592000"));
    }
    let now = state.now();
    let mut tx = state.db.begin().await?;
    let (mut key, feed_version) = locked(&mut tx, &access, id).await?;
    refuse_revoked(&key)?;
    let secret = NewSecret::generate(&state, key.environment);
    let not_after = now + Duration::from_secs(body.overlap_seconds.into());
    api_key::end_secrets(&mut tx, key.workspace_id, id, now, not_after).await?;
    api_key::insert_secret(&mut tx, id, secret.digest, now).await?;
    key.prefix = secret.prefix;
    key.updated_at = now;
    api_key::update(&mut tx, &key, feed_version).await?;
    tx.commit().await?;
    Ok(Json(body::KeyWithSecret {
        record: show(&key, now),
        key: secret.text,
    }))
}

async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteKeys)?;
    let workspace_id = access.workspace_id();
    let now = state.now();
    let mut tx = state.db.begin().await?;
    let version = feed::next_version(&mut tx).await?;
    if !api_key::delete(&mut tx, workspace_id, id, now, version).await? {
        return Err(ApiError::NotFound("key"));
    }
    let removal = Removal {
        version,
        resource_type: ResourceType::Key,
        resource_id: id,
        workspace_id: Some(workspace_id),
        removed_at: now,
    };
    feed::insert_removal(&mut tx, removal).await?;
    tx.commit().await?;
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
