//! `/api/auth/sessions`: where one is signed in.

use super::error::ApiError;
use super::extract::{ItemId, SignedIn};
use super::text;
use crate::audit::{Actor, Entry, Origin, Write};
use crate::db::session::{self, Session};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::auth as body;
use rateguard_api::list::List;
use rateguard_api::name::AuditAction;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Sessions listed: the ones used last.
const LIST_MAX: i64 = 200;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, revoke_others))
        .routes(routes!(revoke))
}

/// Lists where you are signed in
#[utoipa::path(
    get,
    path = "/api/auth/sessions",
    tag = "Sign-in",
    operation_id = "listSessions",
    responses((status = 200, body = List<body::Session>), (status = 403))
)]
async fn list(
    State(state): State<AppState>,
    signed_in: SignedIn,
) -> Result<Json<List<body::Session>>, ApiError> {
    let found = session::active_of_user(&state.db, signed_in.user_id, state.now(), LIST_MAX).await?;
    let shown = found
        .into_iter()
        .map(|session| show(session, signed_in.session_id));
    Ok(Json(List::whole(shown.collect())))
}

/// Ends a session, your own too
#[utoipa::path(
    delete,
    path = "/api/auth/sessions/{id}",
    tag = "Sign-in",
    operation_id = "revokeSession",
    responses((status = 204))
)]
async fn revoke(
    State(state): State<AppState>,
    signed_in: SignedIn,
    origin: Origin,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    let mut tx = Write::begin(&state, actor(signed_in, origin)).await?;
    if !session::revoke_of_user(&mut tx, signed_in.user_id, id, state.now()).await? {
        return Err(ApiError::NotFound("session"));
    }
    tx.commit(Entry::outside(AuditAction::SessionEnd, Some(id), "session"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions but your own
#[utoipa::path(
    delete,
    path = "/api/auth/sessions",
    tag = "Sign-in",
    operation_id = "revokeOtherSessions",
    responses((status = 204), (status = 403))
)]
async fn revoke_others(
    State(state): State<AppState>,
    signed_in: SignedIn,
    origin: Origin,
) -> Result<StatusCode, ApiError> {
    let mut tx = Write::begin(&state, actor(signed_in, origin)).await?;
    session::revoke_others(
        &mut tx,
        signed_in.user_id,
        Some(signed_in.session_id),
        state.now(),
    )
    .await?;
    tx.commit(Entry::outside(
        AuditAction::SessionEnd,
        None,
        "all other sessions",
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn actor(signed_in: SignedIn, origin: Origin) -> Actor {
    Actor::session(signed_in.user_id, signed_in.session_id, origin)
}

fn show(session: Session, current: Uuid) -> body::Session {
    let Session {
        id,
        user_id: _,
        workspace_id: _,
        token_hash: _,
        previous_hash: _,
        rotated_at: _,
        created_at,
        last_used_at,
        expires_at,
        revoked_at: _,
        user_agent,
        ip,
    } = session;
    body::Session {
        id: id.to_string(),
        created_at: text::timestamp(created_at),
        last_used_at: text::timestamp(last_used_at),
        expires_at: text::timestamp(expires_at),
        user_agent,
        ip,
        current: id == current,
    }
}
