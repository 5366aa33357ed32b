//! `/api/gateway`: where applications call, for snippets and the console's test call.

use super::extract::Caller;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use rateguard_api::gateway as body;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Shows where applications call
#[utoipa::path(
    get,
    path = "/api/gateway",
    tag = "Workspaces",
    operation_id = "showGateway",
    responses((status = 200, body = body::Gateway))
)]
async fn show(State(state): State<AppState>, _caller: Caller) -> Json<body::Gateway> {
    Json(body::Gateway {
        url: state.config.gateway_public_url.clone(),
    })
}
