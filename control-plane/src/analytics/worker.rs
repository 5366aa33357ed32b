//! The analytics worker: the consumer with what it needs, alone or inside `serve --all`.

use super::consume::{self, Context};
use super::reconcile::{self, Reconciler};
use super::source::SourceError;
use super::source::kafka::KafkaSource;
use super::source::redis::RedisSource;
use super::{Endpoint, Reader};
use crate::clock::{Clock, SystemClock};
use crate::config::{EventBus, Limits};
use crate::entropy::{self, SystemEntropy};
use crate::limits::LimitsClient;
use crate::state::AppState;
use crate::telemetry::{Gauges, Metrics};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that reads events.
pub struct Worker {
    endpoint: Endpoint,
    bus: EventBus,
    limits: LimitsClient,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Tells this process from every other.
    name: String,
}

impl Worker {
    /// For a process of its own.
    /// Must be called on a Tokio runtime.
    pub fn new(endpoint: Endpoint, bus: EventBus, limits: &Limits) -> Self {
        Self {
            endpoint,
            bus,
            limits: LimitsClient::new(limits),
            name: entropy::uuid_v7(SystemClock.now_ms(), &SystemEntropy).to_string(),
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
        }
    }

    /// Consumes until told to stop, and then until what was read is stored or given back.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let context = Context {
            endpoint: self.endpoint.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.analytics().clone(),
            active: Arc::default(),
        };
        let reconciler = Reconciler::new(
            Reader::new(&self.endpoint),
            self.limits.clone(),
            context.active.clone(),
            context.metrics.clone(),
        );
        let reconciling = tokio::spawn(reconciler.run(reconcile::INTERVAL, shutdown.clone()));
        if let Err(error) = self.consume(context, shutdown).await {
            tracing::error!(error = %error.0, "events cannot be consumed");
        }
        reconciling.abort();
    }

    async fn consume(&self, context: Context, shutdown: watch::Receiver<bool>) -> Result<(), SourceError> {
        match &self.bus {
            EventBus::Kafka(kafka) => {
                let source = KafkaSource::new(&kafka.brokers, &kafka.topic)?;
                consume::run(source, context, shutdown).await;
            }
            EventBus::Redis(url) => {
                let source = RedisSource::new(url.expose(), &self.name)?;
                consume::run(source, context, shutdown).await;
            }
        }
        Ok(())
    }

    /// `/health`, `/ready`, `/metrics` of a process that does nothing else.
    pub fn probes(&self) -> Router {
        let state = Probes {
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        Router::new()
            .route("/health", get(async || Json(json!({ "status": "ok" }))))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(state)
    }
}

/// The worker of `serve --all`; nothing where it was not asked for or has nothing to read or to write to.
pub async fn run_if(is_wanted: bool, state: AppState, shutdown: watch::Receiver<bool>) {
    if !is_wanted {
        return;
    }
    let (Some(endpoint), Some(bus)) = (state.config.clickhouse.clone(), state.config.events.clone()) else {
        tracing::info!("no CLICKHOUSE_URL, or no bus of events: nothing is consumed here");
        return;
    };
    let worker = Worker {
        endpoint,
        bus,
        limits: state.limits.clone(),
        name: state.new_id().to_string(),
        clock: state.clock.clone(),
        metrics: state.metrics.clone(),
    };
    worker.run(shutdown).await;
}

#[derive(Clone)]
struct Probes {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// Ready also while ClickHouse is away: nothing is lost, and a restart would not help.
async fn ready(State(probes): State<Probes>) -> Json<serde_json::Value> {
    let (status, clickhouse) = if probes.metrics.analytics().is_failing() {
        ("degraded", "unavailable")
    } else {
        ("ok", "ok")
    };
    let timestamp = probes
        .clock
        .now()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    Json(json!({ "status": status, "timestamp": timestamp, "services": { "clickhouse": clickhouse } }))
}

async fn metrics(State(probes): State<Probes>) -> Response {
    probes.metrics.analytics().refresh(probes.clock.now_ms());
    match probes.metrics.encode(Gauges::default()) {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
