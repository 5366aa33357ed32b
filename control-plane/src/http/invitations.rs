//! `/api/workspaces/{id}/invitations`: who is invited. The link's token is answered once, and mailed where e-mail is
//! configured; stored is its hash. How it is redeemed: [`redeem`].

pub(super) mod redeem;

use super::error::{ApiError, Faults};
use super::extract::{Access, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::members::Present;
use super::page::{self, NoFilter, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::{Entry, Write};
use crate::auth::opaque;
use crate::db::invitation::{self, Invitation};
use crate::db::member;
use crate::mail::Mail;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use rateguard_api::invitation as body;
use rateguard_api::list::List;
use rateguard_api::name::{AuditAction, InvitationStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a link is good.
const LIFETIME: TimeDelta = TimeDelta::days(7);
/// Pending ones of a workspace: a bound on the mail that one workspace sends.
const PENDING_MAX: i64 = 200;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Lists the invitations, ended ones too, the oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/invitations",
    tag = "Members",
    operation_id = "listInvitations",
    params(Paging),
    responses((status = 200, body = List<body::Invitation>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged {
        page,
        filter: NoFilter {},
    }: Paged<NoFilter>,
) -> Result<Json<List<body::Invitation>>, ApiError> {
    access.require(Permission::Read)?;
    let found = invitation::list(&mut *access.read(&state).await?, access.workspace_id(), &page).await?;
    let now = state.now();
    let position = |one: &Invitation| (one.created_at, one.id);
    Ok(Json(page::list(&found, &page, position, |one| show(one, now))))
}

/// Invites somebody
///
/// The answer is the only one that holds the link; it goes out by e-mail too where that is configured.
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/invitations",
    tag = "Members",
    operation_id = "createInvitation",
    params(IdempotencyKey),
    request_body = body::CreateInvitation,
    responses((status = 201, body = body::InvitationWithLink))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateInvitation>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteMembers)?;
    let creation = Creation {
        state: &state,
        user_id: access.user_id(),
        workspace_id: access.workspace_id(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
    let mut faults = Faults::default();
    let email = text::email(&mut faults, "email", &body.email);
    let email = faults.finish(email)?;
    let token = opaque::generate(opaque::INVITATION, state.entropy.as_ref());
    let now = state.now();
    let new = Invitation {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        email,
        role: body.role,
        invited_by: Some(access.user_id()),
        created_at: now,
        expires_at: now + LIFETIME,
        outcome: None,
    };
    let mut tx = access.write(&state).await?;
    refuse_needless(&mut tx, &access, &new).await?;
    invitation::insert(&mut tx, &new, token.sha256.as_bytes()).await?;
    let record = show(&new, now);
    let entry = Entry::new(
        AuditAction::InvitationCreate,
        new.workspace_id,
        new.id,
        &new.email,
    )
    .after(&record);
    let answer = body::InvitationWithLink {
        record,
        accept_url: format!(
            "{}/accept-invitation#token={}",
            state.config.console_public_url, token.text
        ),
        mailed: state.mail.is_configured(),
    };
    let created = creation.commit(tx, entry, &answer).await?;
    if !created.is_replayed() {
        state.mail.send(mail(&access, &new, &answer.accept_url));
    }
    Ok(created)
}

/// Refuses an invitation that the caller may not make or nobody needs.
async fn refuse_needless(tx: &mut Write, access: &Access, new: &Invitation) -> Result<(), ApiError> {
    let present = Present::lock(tx, access).await?;
    present.may_manage(new.role)?;
    if member::has_email(tx, new.workspace_id, &new.email).await? {
        return Err(taken("is a member already"));
    }
    let (pending, is_pending) = invitation::pending(tx, new.workspace_id, &new.email, new.created_at).await?;
    if is_pending {
        return Err(taken(
            "is invited already; revoke that invitation to send another",
        ));
    }
    if pending >= PENDING_MAX {
        return Err(taken("200 invitations are pending; revoke some first"));
    }
    Ok(())
}

fn taken(message: &str) -> ApiError {
    ApiError::Conflict {
        field: "email",
        message: message.to_owned(),
    }
}

fn mail(access: &Access, invitation: &Invitation, accept_url: &str) -> Mail {
    let workspace = &access.membership.workspace.name;
    Mail {
        to: invitation.email.clone(),
        subject: format!("You are invited to {workspace} on RateGuard"),
        text: format!(
            "You are invited to the workspace {workspace} on RateGuard, as {}.\n\nAccept or decline here, within 7 \
             days:\n{accept_url}\n\nThe link is for you alone. If you expected no invitation, ignore this mail.\n",
            invitation.role
        ),
    }
}

/// Revokes a pending invitation
///
/// Its link is good for nothing from now on.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/invitations/{id}",
    tag = "Members",
    operation_id = "revokeInvitation",
    responses((status = 204))
)]
async fn revoke(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteMembers)?;
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let present = Present::lock(&mut tx, &access).await?;
    let found = invitation::for_update(&mut tx, present.workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("invitation"))?;
    present.may_manage(found.role)?;
    let revoked = InvitationStatus::Revoked;
    if !invitation::end(&mut tx, present.workspace_id, id, revoked, now).await? {
        return Err(ApiError::Conflict {
            field: "status",
            message: "the invitation is not pending any more".to_owned(),
        });
    }
    let entry = Entry::new(
        AuditAction::InvitationRevoke,
        present.workspace_id,
        id,
        &found.email,
    );
    tx.commit(entry.before(&show(&found, now))).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn show(invitation: &Invitation, now: DateTime<Utc>) -> body::Invitation {
    let Invitation {
        id,
        workspace_id: _,
        email,
        role,
        invited_by,
        created_at,
        expires_at,
        outcome: _,
    } = invitation;
    body::Invitation {
        id: id.to_string(),
        email: email.clone(),
        role: *role,
        status: invitation.status(now),
        invited_by: invited_by.map(|id| id.to_string()),
        created_at: text::timestamp(*created_at),
        expires_at: text::timestamp(*expires_at),
    }
}
