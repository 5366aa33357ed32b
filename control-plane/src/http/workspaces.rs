//! `/api/workspaces`.

use super::error::{ApiError, Faults};
use super::extract::{Access, Body, Caller, SignedIn};
use super::permission::Permission;
use super::text;
use crate::auth::account;
use crate::auth::identity::Identity;
use crate::db::feed;
use crate::db::workspace::{self, Membership, Workspace};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use rateguard_api::list::List;
use rateguard_api::name::{FailureMode, Role};
use rateguard_api::workspace as body;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/workspaces", get(list).post(create))
        .route("/api/workspaces/{workspace_id}", get(show_one).patch(update))
}

/// A workspace as its member sees it.
pub(super) fn show(membership: &Membership) -> body::Workspace {
    let Membership { workspace, role } = membership;
    let Workspace {
        id,
        slug,
        name,
        time_zone,
        unpriced_model_policy,
        failure_mode,
        created_at,
        updated_at,
    } = workspace;
    body::Workspace {
        id: id.to_string(),
        slug: slug.clone(),
        name: name.clone(),
        settings: body::Settings {
            time_zone: time_zone.name().to_owned(),
            unpriced_model_policy: *unpriced_model_policy,
            failure_mode: *failure_mode,
        },
        role: *role,
        created_at: text::timestamp(*created_at),
        updated_at: text::timestamp(*updated_at),
    }
}

async fn list(
    State(state): State<AppState>,
    Caller(identity): Caller,
) -> Result<Json<List<body::Workspace>>, ApiError> {
    let memberships = reached(&state, identity).await?;
    Ok(Json(List::whole(memberships.iter().map(show).collect())))
}

/// The caller's workspaces, as far as what they showed reaches.
pub(super) async fn reached(state: &AppState, identity: Identity) -> Result<Vec<Membership>, ApiError> {
    let mut memberships = workspace::of_user(&state.db, identity.user_id).await?;
    memberships.retain(|membership| identity.reaches(membership.workspace.id));
    for membership in &mut memberships {
        membership.role = identity.bounded(membership.role);
    }
    Ok(memberships)
}

async fn create(
    State(state): State<AppState>,
    signed_in: SignedIn,
    Body(body): Body<body::CreateWorkspace>,
) -> Result<(StatusCode, Json<body::Workspace>), ApiError> {
    let mut faults = Faults::default();
    let name = text::name(&mut faults, "name", &body.name);
    let slug = match &body.slug {
        Some(given) => text::slug(&mut faults, "slug", given),
        None => text::slug_from(&name, "workspace"),
    };
    let mut new = Workspace {
        id: state.new_id(),
        slug,
        name,
        ..account::empty_workspace(state.now())
    };
    apply_settings(&mut faults, &mut new, body.settings);
    let new = faults.finish(new)?;
    let mut tx = state.db.begin().await?;
    let workspace =
        account::insert_workspace(&state, &mut tx, new, signed_in.user_id, body.slug.is_none()).await?;
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        Json(show(&Membership {
            workspace,
            role: Role::Owner,
        })),
    ))
}

async fn show_one(access: Access) -> Json<body::Workspace> {
    Json(show(&access.membership))
}

async fn update(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::UpdateWorkspace>,
) -> Result<Json<body::Workspace>, ApiError> {
    access.require(Permission::WriteWorkspace)?;
    let mut tx = state.db.begin().await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let mut membership = workspace::for_update(&mut tx, access.workspace_id(), access.user_id())
        .await?
        .ok_or(ApiError::NotFound("workspace"))?;
    let mut faults = Faults::default();
    let changed = &mut membership.workspace;
    if let Some(name) = &body.name {
        changed.name = text::name(&mut faults, "name", name);
    }
    if let Some(slug) = &body.slug {
        changed.slug = text::slug(&mut faults, "slug", slug);
    }
    apply_settings(&mut faults, changed, body.settings);
    changed.updated_at = state.now();
    faults.finish(())?;
    workspace::update(&mut tx, changed, feed_version)
        .await
        .map_err(|error| {
            if error.constraint() == Some(workspace::SLUG_KEY) {
                account::slug_taken()
            } else {
                error.into()
            }
        })?;
    tx.commit().await?;
    Ok(Json(show(&membership)))
}

fn apply_settings(faults: &mut Faults, workspace: &mut Workspace, change: Option<body::SettingsChange>) {
    let Some(change) = change else { return };
    let body::SettingsChange {
        time_zone,
        unpriced_model_policy,
        failure_mode,
        default_key_budget,
    } = change;
    if let Some(name) = time_zone {
        match name.parse() {
            Ok(zone) => workspace.time_zone = zone,
            Err(_) => faults.invalid(
                "settings.timeZone",
                "must be an IANA time zone, e.g. Europe/Berlin",
            ),
        }
    }
    if let Some(policy) = unpriced_model_policy {
        workspace.unpriced_model_policy = policy;
    }
    match failure_mode {
        Some(FailureMode::BoundedOpen) => {
            faults.invalid("settings.failureMode", "must be FAIL_OPEN or FAIL_CLOSED");
        }
        Some(mode) => workspace.failure_mode = mode,
        None => {}
    }
    if default_key_budget.is_some() {
        faults.not_supported(
            "settings.defaultKeyBudget",
            "budgets of keys are not enforced yet",
        );
    }
}
