//! The listener's routes: REST, the configuration feed, Envoy's clusters, probes.

use crate::state::AppState;
use crate::{feed, xds};
use axum::Router;

/// Everything that the program serves.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(feed::routes())
        .merge(xds::routes())
        .with_state(state)
}
