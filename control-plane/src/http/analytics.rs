//! `/api/workspaces/{id}/analytics/…`, and `/api/analytics/…` for the token's workspace: SPEC 5.

mod charts;
mod costs;
mod events;
mod export;
mod parameters;
mod show;
pub mod tail;

use super::error::ApiError;
use super::extract::{Access, Caller};
use super::permission::Permission;
use crate::analytics::Reader;
use crate::audit::Origin;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(charts::routes())
        .merge(costs::routes())
        .merge(events::routes())
        .merge(export::routes())
}

/// The workspace of the caller's token, for routes that name none.
struct Own(Access);

impl FromRequestParts<AppState> for Own {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let Ok(origin) = Origin::from_request_parts(parts, state).await;
        let workspace_id = caller.0.workspace_id().ok_or(ApiError::NotFound("workspace"))?;
        Access::to(state, caller, origin, workspace_id).await.map(Self)
    }
}

/// What answers, for whoever may read.
fn reader<'a>(state: &'a AppState, access: &Access) -> Result<&'a Reader, ApiError> {
    access.require(Permission::Read)?;
    state.analytics.as_ref().ok_or(ApiError::NotConfigured(
        "analytics are not set up: the operator sets CLICKHOUSE_URL",
    ))
}
