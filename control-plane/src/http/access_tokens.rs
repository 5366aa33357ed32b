//! `/api/workspaces/{id}/access-tokens`: personal access tokens. Made, listed and ended by people, not by tokens: a
//! stolen one can neither multiply nor outlive its revocation.

use super::error::{ApiError, Faults};
use super::extract::{Access, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, NoFilter, Paged, Paging};
use super::permission::{self, Permission};
use super::text;
use crate::audit::Entry;
use crate::auth::opaque;
use crate::db::access_token::{self, AccessToken};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use rateguard_api::access_token as body;
use rateguard_api::list::List;
use rateguard_api::name::AuditAction;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const LIFETIME_DEFAULT: TimeDelta = TimeDelta::days(90);
const LIFETIME_MAX: TimeDelta = TimeDelta::days(366);
/// Tokens in force of a user in a workspace.
const IN_FORCE_MAX: i64 = 50;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Lists personal access tokens, the oldest first
///
/// One's own; those who manage members see everybody's.
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/access-tokens",
    tag = "Access tokens",
    operation_id = "listAccessTokens",
    params(Paging),
    responses((status = 200, body = List<body::AccessToken>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged {
        page,
        filter: NoFilter {},
    }: Paged<NoFilter>,
) -> Result<Json<List<body::AccessToken>>, ApiError> {
    access.require_session()?;
    let of_user = (!manages(&access)).then(|| access.user_id());
    let found = access_token::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        of_user,
        &page,
    )
    .await?;
    let position = |token: &AccessToken| (token.created_at, token.id);
    Ok(Json(page::list(&found, &page, position, show)))
}

fn manages(access: &Access) -> bool {
    permission::allows(access.membership.role, Permission::WriteMembers)
}

/// Makes a personal access token; the answer is the only one that holds it
///
/// Send it as `Authorization: Bearer rgpat_…`. It may what its role and its creator's present role both may; it cannot
/// manage sessions, passwords, ownership or tokens.
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/access-tokens",
    tag = "Access tokens",
    operation_id = "createAccessToken",
    params(IdempotencyKey),
    request_body = body::CreateAccessToken,
    responses((status = 201, body = body::AccessTokenWithSecret))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateAccessToken>,
) -> Result<Created, ApiError> {
    access.require_session()?;
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
    let mut faults = Faults::default();
    let name = text::name(&mut faults, "name", &body.name);
    let expires_at = expiry(&mut faults, body.expires_at.as_deref(), now);
    let (name, expires_at) = faults.finish((name, expires_at))?;
    let own = access.membership.role;
    let role = body.role.unwrap_or(own);
    // The order of roles is from the most powerful down.
    if role < own {
        return Err(ApiError::Forbidden("a token's role is not above your own"));
    }
    let secret = opaque::generate(opaque::ACCESS_TOKEN, state.entropy.as_ref());
    let new = AccessToken {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        user_id: access.user_id(),
        name,
        role,
        created_at: now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    let mut tx = access.write(&state).await?;
    if access_token::count_in_force(&mut tx, new.workspace_id, new.user_id, now).await? >= IN_FORCE_MAX {
        return Err(ApiError::Conflict {
            field: "",
            message: "you have 50 tokens in force here; revoke some first".to_owned(),
        });
    }
    access_token::insert(&mut tx, &new, secret.sha256.as_bytes()).await?;
    let record = show(&new);
    let entry = Entry::new(
        AuditAction::AccessTokenCreate,
        new.workspace_id,
        new.id,
        &new.name,
    )
    .after(&record);
    let answer = body::AccessTokenWithSecret {
        record,
        token: secret.text,
    };
    creation.commit(tx, entry, &answer).await
}

fn expiry(faults: &mut Faults, given: Option<&str>, now: DateTime<Utc>) -> DateTime<Utc> {
    let Some(text) = given else {
        return now + LIFETIME_DEFAULT;
    };
    let Ok(at) = DateTime::parse_from_rfc3339(text) else {
        faults.invalid("expiresAt", "must be an RFC 3339 time");
        return now;
    };
    let at = at.with_timezone(&Utc).trunc_subsecs(3);
    if at <= now {
        faults.invalid("expiresAt", "must be in the future");
    } else if at > now + LIFETIME_MAX {
        faults.invalid("expiresAt", "must be at most 366 days ahead");
    }
    at
}

/// Revokes a personal access token
///
/// Final. One's own; those who manage members revoke everybody's.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/access-tokens/{id}",
    tag = "Access tokens",
    operation_id = "revokeAccessToken",
    responses((status = 204))
)]
async fn revoke(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    access.require_session()?;
    let mut tx = access.write(&state).await?;
    let found = access_token::for_update(&mut tx, access.workspace_id(), id)
        .await?
        .filter(|token| token.revoked_at.is_none())
        .ok_or(ApiError::NotFound("access token"))?;
    if found.user_id != access.user_id() {
        access.require(Permission::WriteMembers)?;
    }
    access_token::revoke(&mut tx, found.workspace_id, id, state.now()).await?;
    let entry = Entry::new(
        AuditAction::AccessTokenRevoke,
        found.workspace_id,
        id,
        &found.name,
    );
    tx.commit(entry.before(&show(&found))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show(token: &AccessToken) -> body::AccessToken {
    let AccessToken {
        id,
        workspace_id: _,
        user_id,
        name,
        role,
        created_at,
        expires_at,
        last_used_at,
        revoked_at,
    } = token;
    body::AccessToken {
        id: id.to_string(),
        name: name.clone(),
        user_id: user_id.to_string(),
        role: *role,
        created_at: text::timestamp(*created_at),
        expires_at: text::timestamp(*expires_at),
        last_used_at: last_used_at.map(text::timestamp),
        revoked_at: revoked_at.map(text::timestamp),
    }
}
