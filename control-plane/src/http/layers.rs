//! What surrounds every request: its id, its log line, its metrics; what surrounds REST: size, time, caching.

use super::error::ApiError;
use crate::entropy;
use crate::state::AppState;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::time::{Duration, Instant};
use tracing::Instrument as _;
use uuid::Uuid;

/// Largest REST body.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// After this a REST request is given up.
pub(super) const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// The id of a request, for whoever handles it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId(pub Uuid);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every request an id of ours, logs its end and counts it. The query and the headers are not logged.
pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut request = request;
    let id = entropy::uuid_v7(state.clock.now_ms(), state.entropy.as_ref());
    request.extensions_mut().insert(RequestId(id));
    let id = id.to_string();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let span = tracing::info_span!("request", request.id = %id, http.method = %method, http.route = %route);
    rateguard_telemetry::continue_trace(&span, request.headers());
    let begun = Instant::now();
    let in_flight = state.metrics.begun();
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let took = begun.elapsed();
    let status = response.status().as_u16();
    state.metrics.answered(&method, &route, status, took);
    let probe = matches!(route.as_str(), "/health" | "/ready" | "/metrics");
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if probe {
            tracing::debug!(http.status = status, took_ms, "answered");
        } else {
            tracing::info!(http.status = status, took_ms, "answered");
        }
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Answers of the API are for the one who asked, now (DS-12).
pub(super) async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Ends a REST request that takes too long.
pub(super) async fn time_out(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable {
            service: "server",
            source: None,
        }
        .into_response(),
    }
}

/// A panic is a fault of ours; its text stays in the log.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that CatchPanicLayer calls"
)]
pub(super) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::Internal(Box::new(Panicked)).into_response()
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct Panicked;
