//! `/api/workspaces/{id}/apis`.

pub(super) mod cost_model;
mod upstream;

use super::capacity;
use super::error::{ApiError, Faults};
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::Entry;
use crate::db::api::{self, Api};
use crate::db::budget;
use crate::db::capacity::Counted;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::{DbError, cost_model as stored_cost_model};
use crate::prices;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::api as body;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, BudgetSubjectType, CostModelType, UsageFormat};
use serde::Deserialize;
use sqlx::{Postgres, Transaction};
use upstream::CredentialChange;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show_one, update, delete))
}

const TIMEOUT_MS_DEFAULT: u32 = 30_000;
/// One hour.
const TIMEOUT_MS_MAX: u32 = 3_600_000;

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ApiFilter {
    /// In the name or the slug, whatever the case.
    name: Option<String>,
    is_active: Option<bool>,
}

/// Lists the APIs, oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/apis",
    tag = "APIs",
    operation_id = "listApis",
    params(Paging, ApiFilter),
    responses((status = 200, body = List<body::Api>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<ApiFilter>,
) -> Result<Json<List<body::Api>>, ApiError> {
    access.require(Permission::Read)?;
    let filter = api::Filter {
        name: page::text("name", filter.name)?,
        is_active: filter.is_active,
    };
    let apis = api::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        &filter,
        &page,
    )
    .await?;
    Ok(Json(page::list(
        &apis,
        &page,
        |api| (api.created_at, api.id),
        show,
    )))
}

/// Shows an API
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/apis/{id}",
    tag = "APIs",
    operation_id = "showApi",
    responses((status = 200, body = body::Api))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Api>, ApiError> {
    access.require(Permission::Read)?;
    let api = api::by_id(&mut *access.read(&state).await?, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("API"))?;
    Ok(Tagged(show(&api)))
}

/// Makes an API
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/apis",
    tag = "APIs",
    operation_id = "createApi",
    params(IdempotencyKey),
    request_body = body::CreateApi,
    responses((status = 201, body = body::Api))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateApi>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteApis)?;
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
    let mut api = Api {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        name: String::new(),
        slug: text::slug_from(&body.name, "api"),
        base_url: String::new(),
        hosts: Vec::new(),
        auth_type: body.auth_type,
        auth_header_name: None,
        credential: None,
        usage_format: UsageFormat::Auto,
        cost_model: None,
        price_version: stored_cost_model::price_version(None),
        catalogue_version: None,
        timeout_ms: TIMEOUT_MS_DEFAULT,
        forward_cookies: false,
        stream_cost_comment: false,
        is_active: true,
        created_at: now,
        updated_at: now,
    };
    let change = body::UpdateApi {
        name: Some(body.name),
        slug: body.slug,
        base_url: Some(body.base_url),
        hosts: Some(body.hosts),
        auth_type: Some(body.auth_type),
        auth_header_name: Some(body.auth_header_name),
        credential: body.credential.map(Some),
        usage_format: body.usage_format,
        cost_model: Some(body.cost_model),
        timeout_ms: body.timeout_ms,
        forward_cookies: Some(body.forward_cookies),
        stream_cost_comment: Some(body.stream_cost_comment),
        is_active: body.is_active,
    };
    apply(&state, &mut api, change).await?;
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    capacity::require(&state, &mut tx, api.workspace_id, Counted::Apis).await?;
    refuse_taken_hosts(&mut tx, &api).await?;
    price(&mut tx, &mut api).await?;
    api::insert(&mut tx, &api, feed_version)
        .await
        .map_err(slug_taken)?;
    let shown = show(&api);
    let entry = Entry::new(AuditAction::ApiCreate, api.workspace_id, api.id, &api.name).after(&shown);
    creation.commit(tx, entry, &shown).await
}

/// Changes an API
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/apis/{id}",
    tag = "APIs",
    operation_id = "updateApi",
    params(IfMatchParam),
    request_body = body::UpdateApi,
    responses((status = 200, body = body::Api))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::UpdateApi>,
) -> Result<Tagged<body::Api>, ApiError> {
    access.require(Permission::WriteApis)?;
    let workspace_id = access.workspace_id();
    // Checked before the lock is taken: resolving a host may take seconds.
    let seen = api::by_id(&mut *access.read(&state).await?, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("API"))?;
    let mut api = seen.clone();
    apply(&state, &mut api, body).await?;
    api.updated_at = state.now();
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let current = api::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("API"))?;
    let before = show(&current);
    if_match.check(&before)?;
    // A rotation of the master key seals the credential anew and leaves the rest, its time too: that is nobody's edit.
    let resealed = Api {
        credential: current.credential.clone(),
        ..seen.clone()
    };
    if current != resealed {
        return Err(ApiError::Conflict {
            field: "",
            message: "somebody else changed this API at the same time; read it again".to_owned(),
        });
    }
    if api.credential == seen.credential {
        api.credential = current.credential;
    }
    refuse_taken_hosts(&mut tx, &api).await?;
    price(&mut tx, &mut api).await?;
    api::update(&mut tx, &api, feed_version)
        .await
        .map_err(slug_taken)?;
    let shown = show(&api);
    let entry = Entry::new(AuditAction::ApiUpdate, workspace_id, id, &api.name);
    tx.commit(entry.before(&before).after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Deletes an API, with the rules and budgets on it
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/apis/{id}",
    tag = "APIs",
    operation_id = "deleteApi",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteApis)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let version = feed::next_version(&mut tx).await?;
    let api = api::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("API"))?;
    let before = show(&api);
    if_match.check(&before)?;
    let rules = api::delete(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("API"))?;
    let removed = |resource_type, resource_id| Removal {
        version,
        resource_type,
        resource_id,
        workspace_id: Some(workspace_id),
        removed_at: state.now(),
    };
    for budget_id in budget::delete_of(&mut tx, workspace_id, BudgetSubjectType::Api, id).await? {
        feed::insert_removal(&mut tx, removed(ResourceType::Budget, budget_id)).await?;
    }
    for rule_id in rules {
        feed::insert_removal(&mut tx, removed(ResourceType::Rule, rule_id)).await?;
    }
    feed::insert_removal(&mut tx, removed(ResourceType::Api, id)).await?;
    let entry = Entry::new(AuditAction::ApiDelete, workspace_id, id, &api.name);
    tx.commit(entry.before(&before)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks a change and puts it into the API. Every field at fault is reported at once.
async fn apply(state: &AppState, api: &mut Api, change: body::UpdateApi) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    if let Some(name) = &change.name {
        api.name = text::name(&mut faults, "name", name);
    }
    if let Some(slug) = &change.slug {
        api.slug = text::slug(&mut faults, "slug", slug);
    }
    if let Some(hosts) = &change.hosts {
        api.hosts = upstream::hosts(&mut faults, hosts);
    }
    if let Some(timeout_ms) = change.timeout_ms {
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            faults.invalid("timeoutMs", "must be 1 to 3600000");
        }
        api.timeout_ms = timeout_ms;
    }
    if let Some(model) = change.cost_model {
        let catalogue = model
            .as_ref()
            .is_some_and(|model| model.kind == CostModelType::Catalogue);
        api.cost_model = model.and_then(|model| cost_model::check(&mut faults, &model));
        api.price_version = stored_cost_model::price_version(api.cost_model.as_ref());
        // Priced under the lock, where the workspace's own prices stand still.
        api.catalogue_version = catalogue.then(String::new);
    }
    api.usage_format = change.usage_format.unwrap_or(api.usage_format);
    api.forward_cookies = change.forward_cookies.unwrap_or(api.forward_cookies);
    api.stream_cost_comment = change.stream_cost_comment.unwrap_or(api.stream_cost_comment);
    api.is_active = change.is_active.unwrap_or(api.is_active);
    let moved = match &change.base_url {
        Some(base_url) => upstream::base_url(&mut faults, state, api, base_url).await,
        None => false,
    };
    let auth = upstream::AuthChange {
        auth_type: change.auth_type,
        header_name: change.auth_header_name,
        credential: change.credential,
        moved,
    };
    let credential = upstream::auth(&mut faults, api, auth);
    faults.finish(())?;
    match credential {
        CredentialChange::Keep => {}
        CredentialChange::Clear => api.credential = None,
        CredentialChange::Set(plain) => {
            let sealed = state
                .keyring
                .seal(api.workspace_id, api.id, &plain, state.entropy.as_ref());
            api.credential = Some(sealed.map_err(ApiError::internal)?);
        }
    }
    Ok(())
}

/// Gives an API that follows the catalogue its prices.
async fn price(tx: &mut Transaction<'_, Postgres>, api: &mut Api) -> Result<(), ApiError> {
    if api.catalogue_version.is_some() {
        prices::apply(tx, api).await?;
    }
    Ok(())
}

/// Two APIs with one host could not be told apart.
async fn refuse_taken_hosts(tx: &mut Transaction<'_, Postgres>, api: &Api) -> Result<(), ApiError> {
    match api::with_host(tx, api.workspace_id, api.id, &api.hosts).await? {
        None => Ok(()),
        Some(slug) => Err(ApiError::Conflict {
            field: "hosts",
            message: format!("the API `{slug}` has one of these hosts already"),
        }),
    }
}

fn slug_taken(error: DbError) -> ApiError {
    if error.constraint() == Some(api::SLUG_KEY) {
        ApiError::Conflict {
            field: "slug",
            message: "another API of this workspace has this slug".to_owned(),
        }
    } else {
        error.into()
    }
}

fn show(api: &Api) -> body::Api {
    body::Api {
        id: api.id.to_string(),
        name: api.name.clone(),
        slug: api.slug.clone(),
        base_url: api.base_url.clone(),
        hosts: api.hosts.clone(),
        auth_type: api.auth_type,
        auth_header_name: api.auth_header_name.clone(),
        has_credential: api.credential.is_some(),
        usage_format: api.usage_format,
        cost_model: match api.catalogue_version {
            Some(_) => Some(cost_model::show_catalogue()),
            None => api.cost_model.as_ref().map(cost_model::show),
        },
        price_version: api.price_version.clone(),
        timeout_ms: api.timeout_ms,
        forward_cookies: api.forward_cookies,
        stream_cost_comment: api.stream_cost_comment,
        is_active: api.is_active,
        created_at: text::timestamp(api.created_at),
        updated_at: text::timestamp(api.updated_at),
    }
}

/// The ids of a body as APIs of the workspace; every other id is a fault of the field.
pub(super) fn parse_ids(faults: &mut Faults, field: &str, texts: &[String]) -> Vec<Uuid> {
    let mut ids = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Uuid::try_parse(text) {
            Ok(id) if ids.contains(&id) => faults.invalid(format!("{field}[{index}]"), "is there twice"),
            Ok(id) => ids.push(id),
            Err(_) => faults.invalid(format!("{field}[{index}]"), "must be the id of an API"),
        }
    }
    ids
}
