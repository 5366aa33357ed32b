//! `/api/workspaces/{id}/budgets`: budgets of the workspace, of an API, of a key; by the hour, day, week, month, or for
//! good. `PATCH …/budget` is the short form of one of them.

use super::budget::default_failure_mode;
use super::capacity;
use super::error::{ApiError, Faults};
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::Entry;
use crate::db::api_key::{self, Key};
use crate::db::budget::{self, Budget};
use crate::db::capacity::Counted;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::workspace::Workspace;
use crate::db::{DbError, api};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::budget as body;
use rateguard_api::decimal::Cents;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, BudgetSubjectType, BudgetWindow, FailureMode};
use rateguard_model::enforced;
use rateguard_model::money::{NANO_USD_MAX, NanoUsd};
use serde::Deserialize;
use sqlx::{Postgres, Transaction};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show_one, update, delete))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BudgetFilter {
    subject_type: Option<BudgetSubjectType>,
    /// The id of an API or a key.
    subject_id: Option<String>,
    window: Option<BudgetWindow>,
}

/// Lists the budgets, oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/budgets",
    tag = "Budgets",
    operation_id = "listBudgets",
    params(Paging, BudgetFilter),
    responses((status = 200, body = List<body::Budget>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<BudgetFilter>,
) -> Result<Json<List<body::Budget>>, ApiError> {
    access.require(Permission::Read)?;
    let filter = budget::Filter {
        subject_type: filter.subject_type,
        subject: page::id("subjectId", filter.subject_id.as_deref())?,
        window: filter.window,
    };
    let budgets = budget::page(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        &filter,
        &page,
    )
    .await?;
    let position = |budget: &Budget| (budget.created_at, budget.id);
    Ok(Json(page::list(&budgets, &page, position, show)))
}

/// Shows a budget
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/budgets/{id}",
    tag = "Budgets",
    operation_id = "showBudget",
    responses((status = 200, body = body::Budget))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Budget>, ApiError> {
    access.require(Permission::Read)?;
    let budget = budget::by_id(&mut *access.read(&state).await?, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("budget"))?;
    Ok(Tagged(show(&budget)))
}

/// Makes a budget
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/budgets",
    tag = "Budgets",
    operation_id = "createBudget",
    params(IdempotencyKey),
    request_body = body::CreateBudget,
    responses((status = 201, body = body::Budget))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateBudget>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteBudget)?;
    let creation = Creation {
        state: &state,
        user_id: access.user_id(),
        workspace_id: access.workspace_id(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
    let budget = checked(&state, &access, &body)?;
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    capacity::require(&state, &mut tx, budget.workspace_id, Counted::Budgets).await?;
    refuse_foreign_subject(&mut tx, &budget).await?;
    budget::insert(&mut tx, &budget, feed_version)
        .await
        .map_err(subject_taken)?;
    let shown = show(&budget);
    let entry = entry(AuditAction::BudgetCreate, &budget).after(&shown);
    creation.commit(tx, entry, &shown).await
}

/// Changes a budget; what was spent stays spent
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/budgets/{id}",
    tag = "Budgets",
    operation_id = "updateBudget",
    params(IfMatchParam),
    request_body = body::ChangeBudget,
    responses((status = 200, body = body::Budget))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::ChangeBudget>,
) -> Result<Tagged<body::Budget>, ApiError> {
    access.require(Permission::WriteBudget)?;
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let mut budget = budget::for_update(&mut tx, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("budget"))?;
    let before = show(&budget);
    if_match.check(&before)?;
    apply(&access, &mut budget, &body)?;
    budget.updated_at = state.now();
    budget::update(&mut tx, &budget, feed_version).await?;
    let shown = show(&budget);
    let entry = entry(AuditAction::BudgetUpdate, &budget).before(&before);
    tx.commit(entry.after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Deletes a budget
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/budgets/{id}",
    tag = "Budgets",
    operation_id = "deleteBudget",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteBudget)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let version = feed::next_version(&mut tx).await?;
    let budget = budget::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("budget"))?;
    let before = show(&budget);
    if_match.check(&before)?;
    budget::delete(&mut tx, workspace_id, id).await?;
    let removal = Removal {
        version,
        resource_type: ResourceType::Budget,
        resource_id: id,
        workspace_id: Some(workspace_id),
        removed_at: state.now(),
    };
    feed::insert_removal(&mut tx, removal).await?;
    tx.commit(entry(AuditAction::BudgetDelete, &budget).before(&before))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn entry(action: AuditAction, budget: &Budget) -> Entry {
    Entry::new(action, budget.workspace_id, budget.id, &budget.name)
}

/// A new budget. Every field at fault is reported at once.
fn checked(state: &AppState, access: &Access, body: &body::CreateBudget) -> Result<Budget, ApiError> {
    let mut faults = Faults::default();
    let (subject_type, subject) = match &body.subject {
        Some(subject) => check_subject(&mut faults, subject),
        None => (BudgetSubjectType::Workspace, String::new()),
    };
    let window = window(&mut faults, "window", body.window.unwrap_or(BudgetWindow::Month));
    refuse_unsupported(&mut faults, body.thresholds.is_some(), body.top_up.is_some());
    let default = default_failure_mode(access.membership.workspace.failure_mode, body.auto_shutoff);
    let now = state.now();
    let budget = Budget {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        version: 1,
        name: text::name(&mut faults, "name", &body.name),
        subject_type,
        subject,
        window,
        limit: limit(&mut faults, "limitCents", body.limit_cents),
        auto_shutoff: body.auto_shutoff,
        failure_mode: body.failure_mode.unwrap_or(default),
        created_at: now,
        updated_at: now,
    };
    check_failure_mode(&mut faults, &budget);
    faults.finish(budget)
}

fn check_subject(faults: &mut Faults, subject: &body::BudgetSubject) -> (BudgetSubjectType, String) {
    let kind = subject.kind;
    if !enforced::BUDGET_SUBJECTS.contains(&kind.as_str()) {
        faults.not_supported(
            "subject.type",
            format!("budgets of a {kind} are not enforced yet"),
        );
        return (kind, String::new());
    }
    let foreign = [
        ("name", subject.name.is_some()),
        ("value", subject.value.is_some()),
        ("model", subject.model.is_some()),
        ("id", subject.id.is_some() && kind == BudgetSubjectType::Workspace),
    ];
    for (name, _) in foreign.iter().filter(|(_, present)| *present) {
        faults.invalid(format!("subject.{name}"), format!("does not belong to {kind}"));
    }
    if kind == BudgetSubjectType::Workspace {
        return (kind, String::new());
    }
    if let Some(Ok(id)) = subject.id.as_deref().map(Uuid::try_parse) {
        return (kind, id.to_string());
    }
    faults.invalid("subject.id", format!("must be the id of the {kind}"));
    (kind, String::new())
}

fn refuse_unsupported(faults: &mut Faults, thresholds: bool, top_up: bool) {
    if thresholds {
        faults.not_supported("thresholds", "alerts are not there yet");
    }
    if top_up {
        faults.not_supported("topUp", "top-ups are not there yet");
    }
}

/// The window of the field, if the data plane enforces it.
pub(super) fn window(faults: &mut Faults, field: &str, given: BudgetWindow) -> BudgetWindow {
    if !enforced::BUDGET_WINDOWS.contains(&given.as_str()) {
        faults.not_supported(field, format!("{given} is not enforced yet"));
    }
    given
}

/// The limit of the field.
pub(super) fn limit(faults: &mut Faults, field: &str, given: Cents) -> NanoUsd {
    if !(1..=NANO_USD_MAX).contains(&given.0.0) {
        faults.invalid(field, "must be above 0 and at most 900719925.4740991");
    }
    given.0
}

/// The budget that a new key gets.
pub(super) fn of_new_key(id: Uuid, workspace: &Workspace, key: &Key) -> Option<Budget> {
    let default = workspace.default_key_budget?;
    Some(Budget {
        id,
        workspace_id: workspace.id,
        version: 1,
        name: key.name.clone(),
        subject_type: BudgetSubjectType::Key,
        subject: key.id.to_string(),
        window: default.window,
        limit: default.limit,
        auto_shutoff: default.auto_shutoff,
        failure_mode: default_failure_mode(workspace.failure_mode, default.auto_shutoff),
        created_at: key.created_at,
        updated_at: key.created_at,
    })
}

fn check_failure_mode(faults: &mut Faults, budget: &Budget) {
    if !budget.auto_shutoff && budget.failure_mode != FailureMode::FailOpen {
        faults.invalid(
            "failureMode",
            "must be FAIL_OPEN without autoShutoff: such a budget refuses nothing",
        );
    }
}

fn apply(access: &Access, budget: &mut Budget, change: &body::ChangeBudget) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    if let Some(name) = &change.name {
        budget.name = text::name(&mut faults, "name", name);
    }
    if let Some(cents) = change.limit_cents {
        budget.limit = limit(&mut faults, "limitCents", cents);
    }
    if let Some(auto_shutoff) = change.auto_shutoff
        && auto_shutoff != budget.auto_shutoff
    {
        budget.auto_shutoff = auto_shutoff;
        budget.failure_mode = default_failure_mode(access.membership.workspace.failure_mode, auto_shutoff);
    }
    budget.failure_mode = change.failure_mode.unwrap_or(budget.failure_mode);
    refuse_unsupported(&mut faults, change.thresholds.is_some(), change.top_up.is_some());
    check_failure_mode(&mut faults, budget);
    faults.finish(())
}

async fn refuse_foreign_subject(tx: &mut Transaction<'_, Postgres>, budget: &Budget) -> Result<(), ApiError> {
    let Ok(id) = Uuid::try_parse(&budget.subject) else {
        return Ok(());
    };
    let known = match budget.subject_type {
        BudgetSubjectType::Api => api::count_of(tx, budget.workspace_id, &[id]).await? == 1,
        BudgetSubjectType::Key => api_key::for_update(tx, budget.workspace_id, id).await?.is_some(),
        BudgetSubjectType::Workspace | BudgetSubjectType::Tag | BudgetSubjectType::Model => true,
    };
    if known {
        Ok(())
    } else {
        let message = format!("must be the id of the {} in this workspace", budget.subject_type);
        Err(ApiError::invalid("subject.id", message))
    }
}

fn subject_taken(error: DbError) -> ApiError {
    if error.constraint() == Some(budget::SUBJECT_KEY) {
        ApiError::Conflict {
            field: "window",
            message: "there is a budget of this subject and window already".to_owned(),
        }
    } else {
        error.into()
    }
}

pub(super) fn show_subject(budget: &Budget) -> body::BudgetSubject {
    body::BudgetSubject {
        kind: budget.subject_type,
        id: (!budget.subject.is_empty()).then(|| budget.subject.clone()),
        name: None,
        value: None,
        model: None,
    }
}

fn show(budget: &Budget) -> body::Budget {
    body::Budget {
        id: budget.id.to_string(),
        name: budget.name.clone(),
        subject: show_subject(budget),
        window: budget.window,
        limit_cents: Cents(budget.limit),
        auto_shutoff: budget.auto_shutoff,
        failure_mode: budget.failure_mode,
        created_at: text::timestamp(budget.created_at),
        updated_at: text::timestamp(budget.updated_at),
    }
}
