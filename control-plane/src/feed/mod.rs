//! What data planes ask: the configuration feed, `POST /v1/config:poll` (SPEC 3.3), and what was spent.
//!
//! One in-memory image per replica answers every poll; [`sync`] keeps it fresh. A poll holds no database connection
//! and is answered while Postgres is away.

mod hub;
pub mod inventory;
pub mod key_uses;
mod page;
mod poll;
mod spend;
pub mod sync;
pub mod version;

pub use hub::{AuthError, Caller, Hub};
pub use sync::run;

use crate::state::AppState;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;

/// Longest body of a poll in bytes: 1 000 key uses are 30 kB.
const BODY_BYTES_MAX: usize = 256 * 1024;

pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/config:poll", post(poll::poll))
        .route("/v1/spend:query", post(spend::query))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}
