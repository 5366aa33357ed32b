//! The workspace's monthly budget: `PATCH …/budget`, `GET …/costs`.

use super::budgets;
use super::error::{ApiError, Faults};
use super::extract::{Access, Body, Caller};
use super::permission::Permission;
use super::text;
use crate::audit::{Entry, Origin};
use crate::db::budget::{self, Budget};
use crate::db::feed::{self, Removal, ResourceType};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use chrono_tz::Tz;
use rateguard_api::budget as body;
use rateguard_api::decimal::{Centi, Cents};
use rateguard_api::name::{AuditAction, BudgetSubjectType, BudgetWindow, FailureMode};
use rateguard_model::budget::BudgetStatus;
use rateguard_model::money::{NANO_USD_MAX, NanoUsd};
use rateguard_model::window::{Bounds, CalendarUnit, Window};
use rateguard_wire::v1::BudgetState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(update))
        .routes(routes!(costs))
        .routes(routes!(own_costs))
}

/// Sets, changes or removes the monthly budget
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/budget",
    tag = "Budgets",
    operation_id = "updateMonthlyBudget",
    request_body = body::UpdateBudget,
    responses((status = 200, body = body::MonthlyBudget))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::UpdateBudget>,
) -> Result<Json<body::MonthlyBudget>, ApiError> {
    access.require(Permission::WriteBudget)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let version = feed::next_version(&mut tx).await?;
    let old = budget::monthly_for_update(&mut tx, workspace_id).await?;
    if body.monthly_budget_cents == Some(None) {
        if body.auto_shutoff.is_some() {
            return Err(ApiError::invalid(
                "autoShutoff",
                "does not go with removing the budget",
            ));
        }
        if let Some(old) = old {
            budget::delete(&mut tx, workspace_id, old.id).await?;
            let removal = Removal {
                version,
                resource_type: ResourceType::Budget,
                resource_id: old.id,
                workspace_id: Some(workspace_id),
                removed_at: state.now(),
            };
            feed::insert_removal(&mut tx, removal).await?;
            let entry = Entry::new(AuditAction::BudgetDelete, workspace_id, old.id, &old.name);
            tx.commit(entry.before(&show_monthly(&old))).await?;
        }
        return Ok(Json(body::MonthlyBudget {
            monthly_budget_cents: None,
            auto_shutoff: false,
        }));
    }
    let before = old.as_ref().map(show_monthly);
    let budget = changed(&state, &access, old, &body)?;
    budget::upsert_monthly(&mut tx, &budget, version).await?;
    let shown = show_monthly(&budget);
    let entry = |action| Entry::new(action, workspace_id, budget.id, &budget.name).after(&shown);
    let entry = match before {
        Some(before) => entry(AuditAction::BudgetUpdate).before(&before),
        None => entry(AuditAction::BudgetCreate),
    };
    tx.commit(entry).await?;
    Ok(Json(shown))
}

fn show_monthly(budget: &Budget) -> body::MonthlyBudget {
    body::MonthlyBudget {
        monthly_budget_cents: Some(Cents(budget.limit)),
        auto_shutoff: budget.auto_shutoff,
    }
}

fn changed(
    state: &AppState,
    access: &Access,
    old: Option<Budget>,
    body: &body::UpdateBudget,
) -> Result<Budget, ApiError> {
    let mut faults = Faults::default();
    let given = body.monthly_budget_cents.flatten().map(|cents| cents.0);
    let limit = match given.or(old.as_ref().map(|budget| budget.limit)) {
        Some(limit) if (1..=NANO_USD_MAX).contains(&limit.0) => limit,
        Some(limit) => {
            faults.invalid(
                "monthlyBudgetCents",
                "must be above 0 and at most 900719925.4740991; null removes it",
            );
            limit
        }
        None => {
            faults.invalid("monthlyBudgetCents", "is missing: there is no budget yet");
            NanoUsd::ZERO
        }
    };
    faults.finish(())?;
    let now = state.now();
    let auto_shutoff = body
        .auto_shutoff
        .or(old.as_ref().map(|budget| budget.auto_shutoff))
        .unwrap_or(false);
    let failure_mode = default_failure_mode(access.membership.workspace.failure_mode, auto_shutoff);
    let fresh = Budget {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        version: 1,
        name: "Monthly budget".to_owned(),
        subject_type: BudgetSubjectType::Workspace,
        subject: String::new(),
        window: BudgetWindow::Month,
        limit,
        auto_shutoff,
        failure_mode,
        created_at: now,
        updated_at: now,
    };
    Ok(match old {
        Some(old) => Budget {
            limit,
            auto_shutoff,
            failure_mode,
            updated_at: now,
            ..old
        },
        None => fresh,
    })
}

/// Of a budget that is made without one.
pub(super) fn default_failure_mode(of_workspace: FailureMode, auto_shutoff: bool) -> FailureMode {
    match (of_workspace, auto_shutoff) {
        (FailureMode::FailClosed, true) => FailureMode::FailClosed,
        (_, true) => FailureMode::BoundedOpen,
        (_, false) => FailureMode::FailOpen,
    }
}

/// Shows what has been spent of each budget
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/costs",
    tag = "Costs",
    operation_id = "showCosts",
    responses((status = 200, body = body::Costs))
)]
async fn costs(State(state): State<AppState>, access: Access) -> Result<Json<body::Costs>, ApiError> {
    access.require(Permission::Read)?;
    let budgets = budget::list(&mut *access.read(&state).await?, access.workspace_id()).await?;
    let states = if budgets.is_empty() {
        Vec::new()
    } else {
        state.limits.budget_status(access.workspace_id()).await?
    };
    let time_zone = access.membership.workspace.time_zone;
    let now_ms = state.clock.now_ms();
    let statuses = budgets
        .iter()
        .map(|budget| {
            let found = states.iter().find(|s| s.budget_id == budget.id.as_bytes());
            project(budget, found, time_zone, now_ms)
        })
        .collect();
    Ok(Json(summarise(statuses)))
}

/// Shows the same for the token's workspace
#[utoipa::path(
    get,
    path = "/api/costs",
    tag = "Costs",
    operation_id = "showOwnCosts",
    responses((status = 200, body = body::Costs), (status = 404))
)]
async fn own_costs(
    State(state): State<AppState>,
    caller: Caller,
    origin: Origin,
) -> Result<Json<body::Costs>, ApiError> {
    let workspace_id = caller.0.workspace_id().ok_or(ApiError::NotFound("workspace"))?;
    let access = Access::to(&state, caller, origin, workspace_id).await?;
    costs(State(state), access).await
}

/// A budget that the limit service has not seen yet has spent nothing.
fn project(budget: &Budget, state: Option<&BudgetState>, time_zone: Tz, now_ms: i64) -> body::BudgetStatus {
    let (spent, reserved, bounds) = match state {
        Some(state) => {
            let end_ms = if state.window_end_ms == 0 {
                i64::MAX
            } else {
                state.window_end_ms
            };
            (
                state.spent,
                state.reserved,
                Bounds {
                    start_ms: state.window_start_ms,
                    end_ms,
                },
            )
        }
        None => (0, 0, window(budget.window, time_zone).bounds(now_ms)),
    };
    let status = BudgetStatus::compute(budget.limit, NanoUsd(spent), NanoUsd(reserved), bounds, now_ms);
    let instant = |ms| DateTime::from_timestamp_millis(ms).map(text::timestamp);
    body::BudgetStatus {
        id: budget.id.to_string(),
        name: budget.name.clone(),
        subject: budgets::show_subject(budget),
        window: budget.window,
        auto_shutoff: budget.auto_shutoff,
        budget_cents: Cents(status.limit),
        current_spend_cents: Cents(status.spent),
        reserved_cents: Cents(status.reserved),
        remaining_cents: Cents(status.remaining),
        percent_used: Centi(status.percent_used_centi.into()),
        daily_rate_cents: Cents(status.daily_rate),
        projected_cents: Cents(status.projected),
        window_start: instant(bounds.start_ms).unwrap_or_default(),
        window_end: if bounds.end_ms == i64::MAX {
            None
        } else {
            instant(bounds.end_ms)
        },
    }
}

fn window(window: BudgetWindow, time_zone: Tz) -> Window {
    let calendar = |unit| Window::Calendar { unit, time_zone };
    match window {
        BudgetWindow::Hour => calendar(CalendarUnit::Hour),
        BudgetWindow::Day => calendar(CalendarUnit::Day),
        BudgetWindow::Week => calendar(CalendarUnit::Week),
        BudgetWindow::Month => calendar(CalendarUnit::Month),
        BudgetWindow::Total => Window::Total,
    }
}

/// The monthly budget's figures first, then every budget's.
fn summarise(budgets: Vec<body::BudgetStatus>) -> body::Costs {
    let month = budgets.iter().find(|budget| {
        budget.subject.kind == BudgetSubjectType::Workspace && budget.window == BudgetWindow::Month
    });
    body::Costs {
        current_spend_cents: month.map(|b| b.current_spend_cents),
        reserved_cents: month.map(|b| b.reserved_cents),
        budget_cents: month.map(|b| b.budget_cents),
        percent_used: month.map(|b| b.percent_used),
        remaining_cents: month.map(|b| b.remaining_cents),
        daily_rate_cents: month.map(|b| b.daily_rate_cents),
        projected_month_end_cents: month.map(|b| b.projected_cents),
        auto_shutoff: month.is_some_and(|b| b.auto_shutoff),
        budgets,
    }
}
