//! `/api/workspaces/{id}/rules`.

mod check;
mod test;

use super::capacity;
use super::error::ApiError;
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId, OptionalBody};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use crate::audit::Entry;
use crate::db::api;
use crate::db::capacity::Counted;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::rule::{self, Rule};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, Mode};
use rateguard_api::rule as body;
use rateguard_model::quota::is_partition;
use serde::Deserialize;
use sqlx::{Postgres, Transaction};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show_one, update, delete))
        .routes(routes!(reset))
        .routes(routes!(test::test))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RuleFilter {
    /// In the name, whatever the case.
    name: Option<String>,
    /// The rules on this API: those that name it, and those on every API.
    api_id: Option<String>,
    enabled: Option<bool>,
    mode: Option<Mode>,
}

/// Lists the rules, oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/rules",
    tag = "Rules",
    operation_id = "listRules",
    params(Paging, RuleFilter),
    responses((status = 200, body = List<body::Rule>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<RuleFilter>,
) -> Result<Json<List<body::Rule>>, ApiError> {
    access.require(Permission::Read)?;
    let filter = rule::Filter {
        name: page::text("name", filter.name)?,
        api_id: page::id("apiId", filter.api_id.as_deref())?,
        enabled: filter.enabled,
        mode: filter.mode,
    };
    let rules = rule::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        &filter,
        &page,
    )
    .await?;
    let position = |rule: &Rule| (rule.created_at, rule.id);
    Ok(Json(page::list(&rules, &page, position, check::show)))
}

/// Shows a rule
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/rules/{id}",
    tag = "Rules",
    operation_id = "showRule",
    responses((status = 200, body = body::Rule))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Rule>, ApiError> {
    access.require(Permission::Read)?;
    let rule = rule::by_id(&mut *access.read(&state).await?, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    Ok(Tagged(check::show(&rule)))
}

/// Makes a rule
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/rules",
    tag = "Rules",
    operation_id = "createRule",
    params(IdempotencyKey),
    request_body = body::CreateRule,
    responses((status = 201, body = body::Rule))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateRule>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteRules)?;
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
    let values = check::check(&body, access.membership.workspace.failure_mode)?;
    let rule = values.into_rule(state.new_id(), access.workspace_id(), 1, now, now);
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    capacity::require(&state, &mut tx, rule.workspace_id, Counted::Rules).await?;
    refuse_foreign_api(&mut tx, &rule).await?;
    rule::insert(&mut tx, &rule, feed_version).await?;
    let shown = check::show(&rule);
    let entry = entry(AuditAction::RuleCreate, &rule).after(&shown);
    creation.commit(tx, entry, &shown).await
}

fn entry(action: AuditAction, rule: &Rule) -> Entry {
    Entry::new(action, rule.workspace_id, rule.id, &rule.name)
}

/// Changes a rule, which starts its buckets anew
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/rules/{id}",
    tag = "Rules",
    operation_id = "updateRule",
    params(IfMatchParam),
    request_body = body::UpdateRule,
    responses((status = 200, body = body::Rule))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::UpdateRule>,
) -> Result<Tagged<body::Rule>, ApiError> {
    access.require(Permission::WriteRules)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let old = rule::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    let before = check::show(&old);
    if_match.check(&before)?;
    let values = check::check(
        &check::changed(&old, body),
        access.membership.workspace.failure_mode,
    )?;
    let rule = values.into_rule(
        id,
        workspace_id,
        old.version.saturating_add(1),
        old.created_at,
        state.now(),
    );
    refuse_foreign_api(&mut tx, &rule).await?;
    rule::update(&mut tx, &rule, feed_version).await?;
    if old.enabled && !rule.enabled {
        feed::insert_removal(&mut tx, removal(&rule, feed_version, &state)).await?;
    }
    let shown = check::show(&rule);
    let entry = entry(AuditAction::RuleUpdate, &rule).before(&before);
    tx.commit(entry.after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Deletes a rule
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/rules/{id}",
    tag = "Rules",
    operation_id = "deleteRule",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteRules)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let version = feed::next_version(&mut tx).await?;
    let rule = rule::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    let before = check::show(&rule);
    if_match.check(&before)?;
    rule::delete(&mut tx, workspace_id, id).await?;
    feed::insert_removal(&mut tx, removal(&rule, version, &state)).await?;
    tx.commit(entry(AuditAction::RuleDelete, &rule).before(&before))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn removal(rule: &Rule, version: i64, state: &AppState) -> Removal {
    Removal {
        version,
        resource_type: ResourceType::Rule,
        resource_id: rule.id,
        workspace_id: Some(rule.workspace_id),
        removed_at: state.now(),
    }
}

/// Empties a rule's buckets, all of them or one subject's
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/rules/{id}/reset",
    tag = "Rules",
    operation_id = "resetRule",
    request_body = Option<body::ResetRule>,
    responses((status = 200, body = body::RuleReset))
)]
async fn reset(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    OptionalBody(body): OptionalBody<body::ResetRule>,
) -> Result<Json<body::RuleReset>, ApiError> {
    access.require(Permission::WriteRules)?;
    if body
        .subject
        .as_deref()
        .is_some_and(|subject| !is_partition(subject))
    {
        return Err(ApiError::invalid(
            "subject",
            "must be at most 200 of a-z, A-Z, 0-9, `.`, `_`, `:` and `-`",
        ));
    }
    let workspace_id = access.workspace_id();
    let rule = rule::by_id(&mut *access.read(&state).await?, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    let subject_given = body.subject.is_some();
    let tx = access.write(&state).await?;
    let entry = entry(AuditAction::RuleReset, &rule).after(&body);
    let buckets_removed = state.limits.reset(workspace_id, rule.id, body.subject).await?;
    tx.commit(entry).await?;
    tracing::info!(
        workspace.id = %workspace_id,
        rule.id = %rule.id,
        user.id = %access.user_id(),
        subject_given,
        buckets_removed,
        "rule reset"
    );
    Ok(Json(body::RuleReset { buckets_removed }))
}

async fn refuse_foreign_api(tx: &mut Transaction<'_, Postgres>, rule: &Rule) -> Result<(), ApiError> {
    let Some(api_id) = rule.api_id else { return Ok(()) };
    if api::count_of(tx, rule.workspace_id, &[api_id]).await? == 1 {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "apiId",
            "must be the id of an API of this workspace",
        ))
    }
}
