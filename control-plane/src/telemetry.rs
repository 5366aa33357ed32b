//! Logs, traces and metrics.

use crate::analytics::consume;
use crate::config::LogFormat;
use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rateguard_telemetry::{Options, Output, StartError, Telemetry};
use std::sync::Arc;
use std::time::Duration;

/// Starts logging to stdout, and exporting traces where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector. Called once.
pub fn start(
    format: LogFormat,
    filter: Option<&str>,
    otlp_endpoint: Option<&str>,
) -> Result<Telemetry, StartError> {
    rateguard_telemetry::start(Options {
        service: "rateguard-control-plane",
        version: env!("CARGO_PKG_VERSION"),
        json: format == LogFormat::Json,
        output: Output::Stdout,
        filter,
        default_filter: "info,sqlx=warn",
        otlp_endpoint,
    })
}

/// Labels of a REST request; all from closed sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    /// The route's pattern, never the path.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    state: &'static str,
}

/// Values read when `/metrics` is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Open connections to the database, idle ones included.
    pub connections: u32,
    pub connections_idle: u32,
    /// What the pool may open.
    pub connections_max: u32,
    pub polls_hanging: u64,
    /// Of this replica's image; `None` before its first reading.
    pub feed_version: Option<i64>,
}

/// What `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    duration: Family<RequestLabels, Histogram>,
    in_flight: Gauge,
    connections: Family<ConnectionLabels, Gauge>,
    connections_max: Gauge,
    polls_hanging: Gauge,
    feed_version: Gauge,
    analytics: Arc<consume::Metrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rateguard_control_plane");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        let duration = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.001, 2.5, 12))) as fn() -> _,
        );
        registry.register_with_unit(
            "request_duration",
            "Time to answer, hanging polls included",
            Unit::Seconds,
            duration.clone(),
        );
        let metrics = Self {
            duration,
            in_flight: Gauge::default(),
            connections: Family::default(),
            connections_max: Gauge::default(),
            polls_hanging: Gauge::default(),
            feed_version: Gauge::default(),
            analytics: Arc::default(),
            registry: Registry::default(),
        };
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge(
            "requests_in_flight",
            "Requests not answered yet",
            &metrics.in_flight,
        );
        gauge(
            "database_connections_max",
            "Database connections that may be open",
            &metrics.connections_max,
        );
        gauge(
            "polls_hanging",
            "Polls waiting for a change",
            &metrics.polls_hanging,
        );
        gauge(
            "feed_version",
            "Version of the feed's image",
            &metrics.feed_version,
        );
        registry.register(
            "database_connections",
            "Open database connections",
            metrics.connections.clone(),
        );
        metrics.analytics.register(&mut registry);
        Self { registry, ..metrics }
    }
}

/// A request that is being answered; counted until dropped, also when its client goes away.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// The consumer's.
    pub fn analytics(&self) -> &Arc<consume::Metrics> {
        &self.analytics
    }

    pub fn begun(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let labels = RequestLabels {
            method,
            route: route.to_owned(),
            status,
        };
        self.duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The OpenMetrics text.
    pub fn encode(&self, gauges: Gauges) -> Result<String, std::fmt::Error> {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let of = |state| self.connections.get_or_create_owned(&ConnectionLabels { state });
        let used = gauges.connections.saturating_sub(gauges.connections_idle);
        set(&of("used"), used.into());
        set(&of("idle"), gauges.connections_idle.into());
        set(&self.connections_max, gauges.connections_max.into());
        set(&self.polls_hanging, gauges.polls_hanging);
        self.feed_version.set(gauges.feed_version.unwrap_or_default());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
