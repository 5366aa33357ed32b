//! Spans reach a collector as part of the caller's trace, and the trace goes on from them.

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use rateguard_telemetry::{Options, Output, continue_trace, is_exporting, pass_on, start};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

// One test: a process has one subscriber.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_joins_the_callers_trace_and_passes_it_on() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let mut sent = HeaderMap::new();
    pass_on(&mut sent);
    assert!(!is_exporting() && sent.is_empty(), "nothing before the start");

    let telemetry = start(Options {
        service: "rateguard-test",
        version: "1.2.3",
        json: true,
        output: Output::Stderr,
        filter: None,
        default_filter: "info",
        otlp_endpoint: Some(&endpoint),
    })
    .unwrap();
    assert!(is_exporting());
    let mut came = HeaderMap::new();
    came.insert("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
    let span = tracing::info_span!("request", http.route = "/api/auth/me");
    continue_trace(&span, &came);
    span.in_scope(|| pass_on(&mut sent));
    drop(span);
    tokio::task::spawn_blocking(|| telemetry.shutdown())
        .await
        .unwrap();

    let export = tokio::time::timeout(DEADLINE, received.recv())
        .await
        .unwrap()
        .unwrap();
    let resource = &export.resource_spans[0];
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(span.name, "request");
    assert_eq!(
        (hex(&span.trace_id), hex(&span.parent_span_id)),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    let passed = sent["traceparent"].to_str().unwrap();
    assert_eq!(passed, format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    let attributes = format!("{:?}", resource.resource.as_ref().unwrap().attributes);
    assert!(
        attributes.contains("rateguard-test") && attributes.contains("1.2.3"),
        "{attributes}"
    );
}
