//! A trace of the client's reaches the limit service, which tells a collector of its part in it.

use crate::eventually;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rateguard_tests::scene::{Answer, Scene};
use rateguard_tests::stack::Stack;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

const SOUND: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const MALFORMED: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

/// All that was exported, uncompressed protobuf: ids are in it byte for byte.
type Exported = Arc<Mutex<Vec<u8>>>;

/// An OTLP collector over gRPC that keeps what it gets.
async fn collector() -> (SocketAddr, Exported) {
    let exported = Exported::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::clone(&exported);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let kept = Arc::clone(&kept);
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    kept.lock().unwrap().extend_from_slice(&body);
                    Ok::<_, Infallible>(accepted())
                }
            });
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    (address, exported)
}

/// An empty message, and status 0.
fn accepted() -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send> {
    let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
    let body = Full::new(Bytes::from_static(&[0; 5]))
        .with_trailers(async move { Some(Ok(trailers.into_iter().collect())) });
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap()
}

fn contains(exported: &Exported, trace_id: &str) -> bool {
    let id = u128::from_str_radix(trace_id, 16).unwrap().to_be_bytes();
    let exported = exported.lock().unwrap();
    memchr::memmem::find(&exported, &id).is_some()
}

#[tokio::test]
async fn a_clients_trace_goes_on_in_the_limit_service_and_a_malformed_one_does_not() {
    let (address, exported) = collector().await;
    let stack = Stack::builder()
        .limits_env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        // Batches of spans wait for nothing.
        .limits_env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await
        .expect("the Stack starts");
    // A workspace each: the first request of one is always asked for, never drawn from a lease.
    for (trace_id, flags) in [(MALFORMED, "01-more"), (SOUND, "01")] {
        let scene = Scene::new(&stack).await.unwrap();
        scene.openai(stack.stub().addr()).await.unwrap();
        scene.requests_per_workspace(1_000).await.unwrap();
        let key = scene.key(json!({})).await.unwrap();
        scene.in_force().await.unwrap();
        let parent = format!("00-{trace_id}-00f067aa0ba902b7-{flags}");
        let request = scene.chat(&key).header("traceparent", parent);
        assert_eq!(Answer::of(request).await.status, 200);
    }
    eventually("exported", Duration::from_secs(30), async || {
        contains(&exported, SOUND)
    })
    .await;
    assert!(
        !contains(&exported, MALFORMED),
        "a malformed context was passed on"
    );
}
