//! Probes and metrics over HTTP: /health, /ready, /metrics.

use crate::clock;
use crate::degraded::Failover;
use crate::feed::Feed;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::restore::{Restorer, SpendState};
use crate::workers::Workers;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;

/// What the answers are made of.
pub struct Probes<P, F> {
    pub ledger: Arc<Failover<P, F>>,
    pub feed: Arc<Feed>,
    pub restorer: Arc<Restorer<P, F>>,
    /// Whether a control plane is configured.
    pub has_control_plane: bool,
    pub workers: Arc<Workers>,
    pub metrics: Arc<Metrics>,
}

/// Body of /ready.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Ready {
    status: &'static str,
    /// RFC 3339, UTC.
    timestamp: String,
    services: Services,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Services {
    redis: &'static str,
    control_plane: &'static str,
    /// `known`; `asked_for`: hard budgets of some workspaces are closed until the ledger of events has answered;
    /// `not_kept`: nobody can be asked, counters that are lost start anew.
    spend: &'static str,
}

pub fn router<P: Ledger, F: Ledger>(probes: Arc<Probes<P, F>>) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready::<P, F>))
        .route("/metrics", get(metrics::<P, F>))
        .with_state(probes)
}

/// 503 only until the first good answer of the feed: before it no data plane's token is known. Redis away is 200
/// `degraded`, since failing open is what the data plane wants then.
async fn ready<P: Ledger, F: Ledger>(State(probes): State<Arc<Probes<P, F>>>) -> impl IntoResponse {
    let redis = match (probes.ledger.has_primary(), probes.ledger.is_degraded()) {
        (false, _) => "memory",
        (true, false) => "up",
        (true, true) => "down",
    };
    let control_plane = match (probes.has_control_plane, probes.feed.is_reachable()) {
        (false, _) => "not_configured",
        (true, true) => "up",
        (true, false) => "down",
    };
    let spend = match probes.restorer.spend_state() {
        SpendState::NotKept => "not_kept",
        SpendState::AskedFor => "asked_for",
        SpendState::Known => "known",
    };
    let (code, status) = if probes.has_control_plane && probes.feed.view().is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else if redis == "down" || control_plane == "down" {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ok")
    };
    let timestamp = chrono::DateTime::from_timestamp_millis(clock::now_ms())
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    (
        code,
        Json(Ready {
            status,
            timestamp,
            services: Services {
                redis,
                control_plane,
                spend,
            },
        }),
    )
}

async fn metrics<P: Ledger, F: Ledger>(State(probes): State<Arc<Probes<P, F>>>) -> impl IntoResponse {
    let metrics = &probes.metrics;
    metrics.live_workers.set(i64::from(probes.workers.everywhere()));
    metrics
        .pending
        .set(i64::try_from(probes.ledger.pending_count()).unwrap_or(i64::MAX));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], metrics.render())
}
