//! `/api/workspaces/{id}/rules`.

mod check;

use super::error::ApiError;
use super::extract::{Access, Body, ItemId, OptionalBody};
use super::permission::Permission;
use crate::db::api;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::rule::{self, Rule};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use rateguard_api::list::List;
use rateguard_api::rule as body;
use rateguard_model::quota::is_partition;
use sqlx::{Postgres, Transaction};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/workspaces/{workspace_id}/rules", get(list).post(create))
        .route(
            "/api/workspaces/{workspace_id}/rules/{id}",
            get(show_one).patch(update).delete(delete),
        )
        .route("/api/workspaces/{workspace_id}/rules/{id}/reset", post(reset))
}

async fn list(State(state): State<AppState>, access: Access) -> Result<Json<List<body::Rule>>, ApiError> {
    access.require(Permission::Read)?;
    let rules = rule::list(&state.db, access.workspace_id()).await?;
    Ok(Json(List::whole(rules.iter().map(check::show).collect())))
}

async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Json<body::Rule>, ApiError> {
    access.require(Permission::Read)?;
    let rule = rule::by_id(&state.db, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    Ok(Json(check::show(&rule)))
}

async fn create(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::CreateRule>,
) -> Result<(StatusCode, Json<body::Rule>), ApiError> {
    access.require(Permission::WriteRules)?;
    let now = state.now();
    let values = check::check(&body, access.membership.workspace.failure_mode)?;
    let rule = values.into_rule(state.new_id(), access.workspace_id(), 1, now, now);
    let mut tx = state.db.begin().await?;
    let feed_version = feed::next_version(&mut tx).await?;
    refuse_foreign_api(&mut tx, &rule).await?;
    rule::insert(&mut tx, &rule, feed_version).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(check::show(&rule))))
}

async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    Body(body): Body<body::UpdateRule>,
) -> Result<Json<body::Rule>, ApiError> {
    access.require(Permission::WriteRules)?;
    let workspace_id = access.workspace_id();
    let mut tx = state.db.begin().await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let old = rule::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
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
    tx.commit().await?;
    Ok(Json(check::show(&rule)))
}

async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteRules)?;
    let workspace_id = access.workspace_id();
    let mut tx = state.db.begin().await?;
    let version = feed::next_version(&mut tx).await?;
    let rule = rule::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    rule::delete(&mut tx, workspace_id, id).await?;
    feed::insert_removal(&mut tx, removal(&rule, version, &state)).await?;
    tx.commit().await?;
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

/// Empties the rule's buckets, all of them or one subject's.
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
    let rule = rule::by_id(&state.db, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("rule"))?;
    let subject_given = body.subject.is_some();
    let buckets_removed = state.limits.reset(workspace_id, rule.id, body.subject).await?;
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
