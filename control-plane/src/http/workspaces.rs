//! `/api/workspaces`.

use super::error::{ApiError, Faults};
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, Caller, SignedIn};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, NoFilter, Paged, Paging};
use super::permission::{self, Permission};
use super::{budgets, text};
use crate::audit::{Actor, Entry, Origin, Write};
use crate::auth::account;
use crate::auth::identity::Identity;
use crate::db::feed::{self, Removal, ResourceType};
use crate::db::workspace::{self, DefaultKeyBudget, Membership, Workspace};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use rateguard_api::decimal::Cents;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, FailureMode, Role};
use rateguard_api::workspace as body;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show_one, update, delete))
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
        default_key_budget,
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
            default_key_budget: default_key_budget.map(|budget| body::DefaultKeyBudget {
                limit_cents: Cents(budget.limit),
                window: budget.window,
                auto_shutoff: budget.auto_shutoff,
            }),
        },
        role: *role,
        created_at: text::timestamp(*created_at),
        updated_at: text::timestamp(*updated_at),
    }
}

/// Lists the workspaces that you are in
#[utoipa::path(
    get,
    path = "/api/workspaces",
    tag = "Workspaces",
    operation_id = "listWorkspaces",
    params(Paging),
    responses((status = 200, body = List<body::Workspace>))
)]
async fn list(
    State(state): State<AppState>,
    Caller(identity): Caller,
    Paged {
        page,
        filter: NoFilter {},
    }: Paged<NoFilter>,
) -> Result<Json<List<body::Workspace>>, ApiError> {
    let mut memberships = reached(&state, identity).await?;
    memberships.sort_unstable_by_key(position);
    if let Some(after) = &page.after {
        memberships.retain(|membership| position(membership) > (after.at, after.id));
    }
    Ok(Json(page::list(&memberships, &page, position, show)))
}

/// Oldest first. Nobody is in so many that reading all of them for a page would cost more than asking for a part.
fn position(membership: &Membership) -> (DateTime<Utc>, Uuid) {
    (membership.workspace.created_at, membership.workspace.id)
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

/// Makes a workspace that you own
#[utoipa::path(
    post,
    path = "/api/workspaces",
    tag = "Workspaces",
    operation_id = "createWorkspace",
    params(IdempotencyKey),
    request_body = body::CreateWorkspace,
    responses((status = 201, body = body::Workspace), (status = 403))
)]
async fn create(
    State(state): State<AppState>,
    signed_in: SignedIn,
    origin: Origin,
    Creating { body, once }: Creating<body::CreateWorkspace>,
) -> Result<Created, ApiError> {
    let creation = Creation {
        state: &state,
        user_id: signed_in.user_id,
        workspace_id: Uuid::nil(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
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
    let mut tx = Write::begin(
        &state,
        Actor::session(signed_in.user_id, signed_in.session_id, origin),
    )
    .await?;
    let workspace =
        account::insert_workspace(&state, &mut tx, new, signed_in.user_id, body.slug.is_none()).await?;
    let entry = Entry::new(
        AuditAction::WorkspaceCreate,
        workspace.id,
        workspace.id,
        &workspace.name,
    );
    let shown = show(&Membership {
        workspace,
        role: Role::Owner,
    });
    creation.commit(tx, entry.after(&shown), &shown).await
}

/// Shows a workspace
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}",
    tag = "Workspaces",
    operation_id = "showWorkspace",
    responses((status = 200, body = body::Workspace))
)]
async fn show_one(access: Access) -> Tagged<body::Workspace> {
    Tagged(show(&access.membership))
}

/// Changes a workspace
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}",
    tag = "Workspaces",
    operation_id = "updateWorkspace",
    params(IfMatchParam),
    request_body = body::UpdateWorkspace,
    responses((status = 200, body = body::Workspace))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    if_match: IfMatch,
    Body(body): Body<body::UpdateWorkspace>,
) -> Result<Tagged<body::Workspace>, ApiError> {
    access.require(Permission::WriteWorkspace)?;
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let mut membership = workspace::for_update(&mut tx, access.workspace_id(), access.user_id())
        .await?
        .ok_or(ApiError::NotFound("workspace"))?;
    let before = show(&membership);
    if_match.check(&before)?;
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
    let shown = show(&membership);
    let id = access.workspace_id();
    let entry = Entry::new(AuditAction::WorkspaceUpdate, id, id, &shown.name);
    tx.commit(entry.before(&before).after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Deletes a workspace and everything in it
///
/// Its keys are refused as soon as the feed has told.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}",
    tag = "Workspaces",
    operation_id = "deleteWorkspace",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::DeleteWorkspace)?;
    let id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let version = feed::next_version(&mut tx).await?;
    let membership = workspace::for_update(&mut tx, id, access.user_id())
        .await?
        .filter(|membership| permission::allows(membership.role, Permission::DeleteWorkspace))
        .ok_or(ApiError::NotFound("workspace"))?;
    let before = show(&membership);
    if_match.check(&before)?;
    workspace::delete(&mut tx, id).await?;
    let removal = Removal {
        version,
        resource_type: ResourceType::Workspace,
        resource_id: id,
        workspace_id: Some(id),
        removed_at: state.now(),
    };
    feed::insert_removal(&mut tx, removal).await?;
    let entry = Entry::new(AuditAction::WorkspaceDelete, id, id, &before.name);
    tx.commit(entry.before(&before)).await?;
    Ok(StatusCode::NO_CONTENT)
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
    if let Some(wanted) = default_key_budget {
        workspace.default_key_budget = wanted.map(|wanted| DefaultKeyBudget {
            limit: budgets::limit(faults, "settings.defaultKeyBudget.limitCents", wanted.limit_cents),
            window: budgets::window(faults, "settings.defaultKeyBudget.window", wanted.window),
            auto_shutoff: wanted.auto_shutoff,
        });
    }
}
