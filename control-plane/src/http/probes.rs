//! `/health`, `/ready`, `/metrics`.

use super::error::ApiError;
use super::text;
use crate::state::AppState;
use crate::telemetry::Gauges;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether the process answers.
async fn health(State(state): State<AppState>) -> Json<serde_json::Value> {
    Json(json!({ "status": "ok", "timestamp": text::timestamp(state.now()) }))
}

/// Whether it can do its work. Without the limit service everything but costs and resets works: 200 `degraded`.
async fn ready(State(state): State<AppState>) -> Response {
    let readiness = state.probes.readiness(&state.db, &state.limits).await;
    let body = json!({
        "status": readiness.status(),
        "timestamp": text::timestamp(state.now()),
        "services": { "database": readiness.database.as_str(), "limits": readiness.limits.as_str() },
    });
    let code = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(body)).into_response()
}

async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let gauges = Gauges {
        connections: state.db.size(),
        connections_idle: u32::try_from(state.db.num_idle()).unwrap_or(u32::MAX),
        connections_max: state.db.options().get_max_connections(),
        polls_hanging: state.feed.polls_hanging(),
        feed_version: state.feed.position().map(|position| position.version),
    };
    state.metrics.analytics().refresh(state.clock.now_ms());
    let text = state.metrics.encode(gauges).map_err(ApiError::internal)?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
