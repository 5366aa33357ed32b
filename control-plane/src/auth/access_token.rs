//! Personal access tokens: who calls with one. How they are made and ended: `http/access_tokens.rs`.

use super::identity::{Credential, Identity};
use super::opaque;
use crate::db::DbError;
use crate::db::access_token;
use crate::state::AppState;
use chrono::TimeDelta;

/// `lastUsedAt` is written at most this often.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The caller that a presented token names; `None` if it is not in force.
pub async fn identify(state: &AppState, presented: &str) -> Result<Option<Identity>, DbError> {
    let Some(digest) = opaque::digest_of(opaque::ACCESS_TOKEN, presented) else {
        return Ok(None);
    };
    let now = state.now();
    let found = access_token::by_sha256(&state.db, digest.as_bytes()).await?;
    let Some(token) = found.filter(|token| token.is_in_force(now)) else {
        return Ok(None);
    };
    if token.last_used_at.is_none_or(|at| now - at >= TOUCH_INTERVAL) {
        access_token::touch(&state.db, token.workspace_id, token.id, now).await?;
    }
    Ok(Some(Identity {
        user_id: token.user_id,
        credential: Credential::AccessToken {
            id: token.id,
            workspace_id: token.workspace_id,
            role_max: token.role,
        },
    }))
}
