//! Logs and traces of the native programs.
//!
//! Logs are text or JSON lines. Traces go to an OpenTelemetry collector over OTLP (gRPC) where an endpoint is set;
//! where none is, nothing is exported and a request pays one load of an atomic. The W3C trace context (`traceparent`)
//! comes in with requests and goes on to the next program. Bodies, keys and queries are in neither.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Longest time that a batch of spans may take to be sent.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// What a program wants to be seen of it.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// `service.name` of its spans.
    pub service: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// JSON lines, else text.
    pub json: bool,
    pub output: Output,
    /// As `EnvFilter` reads it; logs and spans. A filter that cannot be read counts as the default.
    pub filter: Option<&'a str>,
    pub default_filter: &'static str,
    /// `http://collector:4317`; none exports nothing.
    pub otlp_endpoint: Option<&'a str>,
}

/// The exporter could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the trace exporter cannot be made; OTEL_EXPORTER_OTLP_ENDPOINT must be of the form http://host:4317"
)]
pub struct StartError(#[from] opentelemetry_otlp::ExporterBuildError);

/// What runs in the background; [`Telemetry::shutdown`] sends what waits.
#[must_use]
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts logging, and exporting where an endpoint is set. Called once, inside a Tokio runtime: the exporter's
/// connection lives on it. A second call (tests in one process) keeps the first logger.
pub fn start(options: Options<'_>) -> Result<Telemetry, StartError> {
    let filter = options.filter.and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(options.default_filter));
    let provider = options
        .otlp_endpoint
        .map(|endpoint| provider(&options, endpoint))
        .transpose()?;
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(options.service)));
    let lines = tracing_subscriber::fmt::layer();
    let lines = match (options.json, options.output) {
        (true, Output::Stdout) => lines.json().flatten_event(true).boxed(),
        (true, Output::Stderr) => lines
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .boxed(),
        (false, Output::Stdout) => lines.boxed(),
        (false, Output::Stderr) => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(is_terminal).with_writer(std::io::stderr).boxed()
        }
    };
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(traces);
    if subscriber.try_init().is_ok() && provider.is_some() {
        EXPORTING.store(true, Ordering::Relaxed);
    }
    Ok(Telemetry(provider))
}

fn provider(options: &Options<'_>, endpoint: &str) -> Result<SdkTracerProvider, StartError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(options.service)
        .with_attribute(KeyValue::new("service.version", options.version))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

impl Telemetry {
    /// Sends what waits. Blocks, at most for one export: call it where blocking is allowed, while the runtime runs.
    pub fn shutdown(self) {
        if let Some(provider) = self.0 {
            // A collector that is away must not keep the program from ending.
            let _ = provider.shutdown_with_timeout(EXPORT_TIMEOUT);
        }
    }
}

/// Whether spans are exported: what costs more than that question is done only then.
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// Makes a new span, not entered yet, a part of the trace that a request came with.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if is_exporting() {
        let context = TraceContextPropagator::new().extract(&Incoming(headers));
        let _ = span.set_parent(context);
    }
}

/// Gives the current span's trace to the next program.
pub fn pass_on(headers: &mut HeaderMap) {
    if is_exporting() {
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Outgoing(headers));
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
