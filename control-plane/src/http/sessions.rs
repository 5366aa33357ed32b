//! `/api/auth/sessions`: where one is signed in.

use super::error::ApiError;
use super::extract::{ItemId, SignedIn};
use super::text;
use crate::db::session::{self, Session};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use rateguard_api::auth as body;
use rateguard_api::list::List;
use uuid::Uuid;

/// Sessions listed: the ones used last.
const LIST_MAX: i64 = 200;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/auth/sessions", get(list).delete(revoke_others))
        .route("/api/auth/sessions/{id}", delete(revoke))
}

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

/// Ends one, the caller's own too.
async fn revoke(
    State(state): State<AppState>,
    signed_in: SignedIn,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.db.begin().await?;
    if !session::revoke_of_user(&mut tx, signed_in.user_id, id, state.now()).await? {
        return Err(ApiError::NotFound("session"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all but the caller's own.
async fn revoke_others(State(state): State<AppState>, signed_in: SignedIn) -> Result<StatusCode, ApiError> {
    let mut tx = state.db.begin().await?;
    session::revoke_others(
        &mut tx,
        signed_in.user_id,
        Some(signed_in.session_id),
        state.now(),
    )
    .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
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
