//! Envoy's clusters over REST polling: `POST /v3/discovery:clusters` (DESIGN fact 16).
//!
//! One cluster per API for the gateway mode, named `api_<uuid>`. Envoy says who it is in `node.metadata.rateguard`:
//! `token`, a data-plane token, and optionally `caFile`, the bundle on Envoy's machine that upstreams are checked with.

pub mod cluster;
mod discovery;
mod guard;
mod recent;

use crate::state::AppState;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

/// Longest body in bytes: Envoy lists its extensions with their types, about 100 kB.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

pub fn routes() -> Router<AppState> {
    let routes = Router::new()
        .route("/v3/discovery:clusters", post(discovery::clusters))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    routes.layer(axum::Extension(recent::Recent::default()))
}
