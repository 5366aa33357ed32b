//! The listener's routes: REST, the configuration feed, Envoy's clusters, probes.

mod access_tokens;
pub mod analytics;
mod apis;
mod assets;
mod audit;
mod auth;
mod budget;
mod budgets;
mod capacity;
pub mod client;
mod data_planes;
pub mod error;
mod etag;
mod extract;
mod gateway;
mod idempotency;
mod invitations;
mod keys;
mod layers;
mod members;
mod openapi;
mod page;
pub mod permission;
mod prices;
mod probes;
mod rules;
mod sessions;
pub mod text;
mod workspaces;

use crate::assets::Console;
use crate::state::AppState;
use crate::{feed, xds};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, Uri};
use axum::middleware;
use axum::response::Response;
use error::ApiError;
use extract::Caller;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

/// Everything that the program serves.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(rest(state.clone()))
        .merge(probes::routes())
        .merge(feed::routes())
        .merge(xds::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), assets::harden))
        .layer(middleware::from_fn_with_state(state.clone(), layers::observe))
        .with_state(state)
}

/// The API that people and programs use; data planes have routes of their own, which may hang.
fn rest(state: AppState) -> Router<AppState> {
    let (routes, document) = OpenApiRouter::with_openapi(openapi::base())
        .merge(auth::routes(state))
        .merge(gateway::routes())
        .merge(workspaces::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(access_tokens::routes())
        .merge(apis::routes())
        .merge(keys::routes())
        .merge(rules::routes())
        .merge(budget::routes())
        .merge(budgets::routes())
        .merge(prices::routes())
        .merge(data_planes::routes())
        .merge(analytics::routes())
        .merge(audit::routes())
        .split_for_parts();
    let document = Arc::new(openapi::Document::complete(&document));
    routes
        .layer(middleware::from_fn_with_state(
            document.clone(),
            openapi::refuse_unknown_query,
        ))
        .layer(DefaultBodyLimit::max(layers::BODY_BYTES_MAX))
        .layer(middleware::from_fn(layers::time_out))
        .layer(middleware::from_fn(layers::no_store))
        .merge(openapi::routes(document))
}

/// The console's files and pages; under `/api` an unknown route is 401 without a session, as a known one is.
async fn no_such_route(
    State(state): State<AppState>,
    caller: Result<Caller, ApiError>,
    method: Method,
    uri: Uri,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(response) = assets::answer(
        Console::embedded(),
        &state.config.gateway_public_url,
        &method,
        &uri,
        request.headers(),
    ) {
        return Ok(response);
    }
    match caller {
        Err(refused) if uri.path().starts_with("/api/") && !uri.path().starts_with("/api/auth/") => {
            Err(refused)
        }
        Ok(_) | Err(_) => Err(ApiError::NotFound("route")),
    }
}

async fn wrong_method() -> ApiError {
    ApiError::MethodNotAllowed
}
