//! `/health`, `/ready`, `/metrics`, and the page at `/` until the console exists.

use super::error::ApiError;
use super::text;
use crate::db;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::time::Duration;

const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(placeholder))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether the process answers.
async fn health(State(state): State<AppState>) -> Json<serde_json::Value> {
    Json(json!({ "status": "ok", "timestamp": text::timestamp(state.now()) }))
}

/// Whether it can do its work. Without the limit service everything but costs and resets works.
async fn ready(State(state): State<AppState>) -> Response {
    let answer = tokio::time::timeout(DATABASE_TIMEOUT, db::feed::current_version(&state.db)).await;
    let database = matches!(answer, Ok(Ok(_)));
    let limits = if state.limits.is_configured() {
        "configured"
    } else {
        "not configured"
    };
    let status = if database { "ok" } else { "unavailable" };
    let body = json!({
        "status": status,
        "timestamp": text::timestamp(state.now()),
        "services": { "database": status, "limits": limits },
    });
    let code = if database {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(body)).into_response()
}

async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let text = state.metrics.encode().map_err(ApiError::internal)?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

async fn placeholder() -> impl IntoResponse {
    let policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";
    (
        [(header::CONTENT_SECURITY_POLICY, policy)],
        Html(include_str!("placeholder.html")),
    )
}
