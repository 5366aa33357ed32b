//! HTTP/2 connections, and which gRPC service a path belongs to.
//!
//! hyper is driven directly: tonic's own server puts a router and a stack of layers around every call, and what a
//! Reserve costs is a figure of this product. Deadlines are the methods' business, limits are set here.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;
use tracing::Instrument as _;

/// Streams of one connection; an Envoy worker keeps one connection.
const STREAM_COUNT_MAX: u32 = 4_096;

/// Bytes of all headers of a request.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Small messages by the thousand: large windows save WINDOW_UPDATE frames.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// A peer that does not answer a PING in [`PING_TIMEOUT`] is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `stop` says so, then lets calls in flight finish for at most `drain`.
pub async fn serve<L, H, R>(
    listener: TcpListener,
    dispatch: Dispatch<L, H, R>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) where
    Dispatch<L, H, R>: Route,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, dispatch.clone(), stop.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: wait for some to be closed instead of spinning.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let finished =
        tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "calls in flight were cut off at shutdown"
        );
    }
}

/// Until the server is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

async fn connection<D: Route>(
    stream: TcpStream,
    peer: SocketAddr,
    dispatch: D,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are small: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| dispatch.route(request));
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAM_COUNT_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            // GOAWAY; calls in flight finish.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// The services of the port.
#[derive(Clone)]
pub struct Dispatch<L, H, R> {
    pub limits: L,
    pub health: H,
    pub reflection: R,
}

/// Answers one request.
pub trait Route: Clone + Send + 'static {
    fn route(&self, request: Request<Incoming>) -> Answer;
}

/// What tonic's generated services return: already boxed, so that routing adds no allocation.
type Answer = BoxFuture<Response<Body>, Infallible>;

/// A gRPC service as tonic generates it.
pub trait GrpcService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>
    + NamedService
    + Clone
    + Send
    + 'static
{
}

impl<T> GrpcService for T where
    T: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>
        + NamedService
        + Clone
        + Send
        + 'static
{
}

impl<L: GrpcService, H: GrpcService, R: GrpcService> Route for Dispatch<L, H, R> {
    fn route(&self, request: Request<Incoming>) -> Answer {
        let request = request.map(Body::new);
        if !rateguard_telemetry::is_exporting() {
            return self.answer(request);
        }
        let span = tracing::info_span!("call", rpc.method = request.uri().path());
        rateguard_telemetry::continue_trace(&span, request.headers());
        // What the service does before its future runs belongs to the call too.
        let answer = span.in_scope(|| self.answer(request));
        Box::pin(answer.instrument(span))
    }
}

impl<L: GrpcService, H: GrpcService, R: GrpcService> Dispatch<L, H, R> {
    fn answer(&self, request: Request<Body>) -> Answer {
        // `/package.Service/Method`
        let name = request
            .uri()
            .path()
            .strip_prefix('/')
            .and_then(|p| p.split_once('/'))
            .map(|(name, _)| name);
        match name {
            Some(name) if name == L::NAME => self.limits.clone().call(request),
            Some(name) if name == H::NAME => self.health.clone().call(request),
            Some(name) if name == R::NAME => self.reflection.clone().call(request),
            _ => Box::pin(std::future::ready(Ok(
                Status::unimplemented("no such service").into_http()
            ))),
        }
    }
}
