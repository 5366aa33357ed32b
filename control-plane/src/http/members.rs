//! `/api/workspaces/{id}/members`, and the transfer of ownership. Every change is decided under the workspace's lock, on
//! roles read there: of two at once, the second sees what the first did (CA-03).

use super::error::ApiError;
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId};
use super::page::{self, NoFilter, Paged, Paging};
use super::permission::{self, Permission};
use super::text;
use crate::audit::Entry;
use crate::db::member::{self, Member};
use crate::db::{access_token, invitation, workspace};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::list::List;
use rateguard_api::member as body;
use rateguard_api::name::{AuditAction, Role};
use sqlx::{Postgres, Transaction};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show_one, update, remove))
        .routes(routes!(transfer))
}

const BEYOND_YOUR_ROLE: ApiError = ApiError::Forbidden("only an owner may do that to an owner or make one");

/// Lists the members, who joined first first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/members",
    tag = "Members",
    operation_id = "listMembers",
    params(Paging),
    responses((status = 200, body = List<body::Member>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged {
        page,
        filter: NoFilter {},
    }: Paged<NoFilter>,
) -> Result<Json<List<body::Member>>, ApiError> {
    access.require(Permission::Read)?;
    let members = member::list(&mut *access.read(&state).await?, access.workspace_id(), &page).await?;
    let position = |member: &Member| (member.created_at, member.user_id);
    Ok(Json(page::list(&members, &page, position, show)))
}

/// Shows a member
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/members/{id}",
    tag = "Members",
    operation_id = "showMember",
    responses((status = 200, body = body::Member))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Member>, ApiError> {
    access.require(Permission::Read)?;
    let found = member::by_id(&mut *access.read(&state).await?, access.workspace_id(), id).await?;
    Ok(Tagged(show(&found.ok_or(ApiError::NotFound("member"))?)))
}

/// Changes a member's role
///
/// Owners give any role, admins all but `OWNER`. A workspace keeps an owner: 409.
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/members/{id}",
    tag = "Members",
    operation_id = "updateMember",
    params(IfMatchParam),
    request_body = body::UpdateMember,
    responses((status = 200, body = body::Member))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::UpdateMember>,
) -> Result<Tagged<body::Member>, ApiError> {
    access.require(Permission::WriteMembers)?;
    let mut tx = access.write(&state).await?;
    let present = Present::lock(&mut tx, &access).await?;
    let mut changed = present.member(&mut tx, id).await?;
    let before = show(&changed);
    if_match.check(&before)?;
    present.may_manage(changed.role)?;
    present.may_manage(body.role)?;
    if changed.role == Role::Owner && body.role != Role::Owner {
        present.keeps_an_owner(&mut tx).await?;
    }
    set_role(&state, &mut tx, present.workspace_id, &mut changed, body.role).await?;
    let shown = show(&changed);
    let entry = Entry::new(AuditAction::MemberUpdate, present.workspace_id, id, &shown.email);
    tx.commit(entry.before(&before).after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Removes a member, or leaves
///
/// Anybody may leave; removing others is for those who manage members. Their pending invitations and their personal
/// access tokens end with it.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/members/{id}",
    tag = "Members",
    operation_id = "removeMember",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn remove(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    let leaves = id == access.user_id();
    if leaves {
        access.require_session()?;
    } else {
        access.require(Permission::WriteMembers)?;
    }
    let mut tx = access.write(&state).await?;
    let present = Present::lock(&mut tx, &access).await?;
    let gone = present.member(&mut tx, id).await?;
    let before = show(&gone);
    if_match.check(&before)?;
    if !leaves {
        present.may_manage(gone.role)?;
    }
    if gone.role == Role::Owner {
        present.keeps_an_owner(&mut tx).await?;
    }
    let (workspace_id, now) = (present.workspace_id, state.now());
    invitation::revoke_of_inviter(&mut tx, workspace_id, id, &[], now).await?;
    access_token::revoke_of_user(&mut tx, workspace_id, id, now).await?;
    member::delete(&mut tx, workspace_id, id).await?;
    let entry = Entry::new(AuditAction::MemberRemove, workspace_id, id, &gone.email);
    tx.commit(entry.before(&before)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a member the owner and you an admin
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/transfer-ownership",
    tag = "Members",
    operation_id = "transferOwnership",
    request_body = body::TransferOwnership,
    responses((status = 200, body = body::Member))
)]
async fn transfer(
    State(state): State<AppState>,
    access: Access,
    Body(body): Body<body::TransferOwnership>,
) -> Result<Json<body::Member>, ApiError> {
    access.require(Permission::TransferOwnership)?;
    access.require_session()?;
    let heir = Uuid::try_parse(&body.member_id)
        .map_err(|_| ApiError::invalid("memberId", "must be a member's id"))?;
    if heir == access.user_id() {
        return Err(ApiError::invalid("memberId", "must be another member"));
    }
    let mut tx = access.write(&state).await?;
    let present = Present::lock(&mut tx, &access).await?;
    if present.role != Role::Owner {
        return Err(BEYOND_YOUR_ROLE);
    }
    let Some(mut heir) = member::by_id(&mut tx, present.workspace_id, heir).await? else {
        return Err(ApiError::invalid("memberId", "must be a member's id"));
    };
    let before = show(&heir);
    let mut giver = present.member(&mut tx, access.user_id()).await?;
    set_role(&state, &mut tx, present.workspace_id, &mut heir, Role::Owner).await?;
    set_role(&state, &mut tx, present.workspace_id, &mut giver, Role::Admin).await?;
    let shown = show(&heir);
    let entry = Entry::new(
        AuditAction::WorkspaceTransfer,
        present.workspace_id,
        heir.user_id,
        &shown.email,
    );
    tx.commit(entry.before(&before).after(&shown)).await?;
    Ok(Json(shown))
}

/// Who the caller is while nobody else can change the members.
pub(super) struct Present {
    pub workspace_id: Uuid,
    pub role: Role,
}

impl Present {
    pub(super) async fn lock(tx: &mut Transaction<'_, Postgres>, access: &Access) -> Result<Self, ApiError> {
        let workspace_id = access.workspace_id();
        let no_more = || ApiError::NotFound("workspace");
        if !workspace::lock(tx, workspace_id).await? {
            return Err(no_more());
        }
        let caller = member::by_id(tx, workspace_id, access.user_id()).await?;
        Ok(Self {
            workspace_id,
            role: access.caller.bounded(caller.ok_or_else(no_more)?.role),
        })
    }

    async fn member(&self, tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<Member, ApiError> {
        member::by_id(tx, self.workspace_id, id)
            .await?
            .ok_or(ApiError::NotFound("member"))
    }

    /// 403 unless the caller may give or take this role.
    pub(super) fn may_manage(&self, role: Role) -> Result<(), ApiError> {
        if permission::managed_by(self.role).contains(&role) {
            Ok(())
        } else {
            Err(BEYOND_YOUR_ROLE)
        }
    }

    /// 409 if an owner who goes is the last.
    async fn keeps_an_owner(&self, tx: &mut Transaction<'_, Postgres>) -> Result<(), ApiError> {
        if member::owner_count(tx, self.workspace_id).await? > 1 {
            return Ok(());
        }
        Err(ApiError::Conflict {
            field: "role",
            message: "a workspace keeps an owner; make another member owner first".to_owned(),
        })
    }
}

async fn set_role(
    state: &AppState,
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    member: &mut Member,
    role: Role,
) -> Result<(), ApiError> {
    member::set_role(tx, workspace_id, member.user_id, role).await?;
    let kept = permission::managed_by(role);
    invitation::revoke_of_inviter(tx, workspace_id, member.user_id, kept, state.now()).await?;
    member.role = role;
    Ok(())
}

fn show(member: &Member) -> body::Member {
    let Member {
        user_id,
        email,
        name,
        role,
        created_at,
    } = member;
    body::Member {
        id: user_id.to_string(),
        email: email.clone(),
        name: name.clone(),
        role: *role,
        created_at: text::timestamp(*created_at),
    }
}
