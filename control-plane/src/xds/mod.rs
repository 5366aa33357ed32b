//! Envoy's clusters over REST polling: `POST /v3/discovery:clusters`.

use crate::state::AppState;
use axum::Router;

pub fn routes() -> Router<AppState> {
    Router::new()
}
