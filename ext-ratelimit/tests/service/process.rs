//! The program itself: what it prints, how it is probed, how it ends.

use crate::harness::*;
use rateguard_ext_ratelimit::config::Config;
use rateguard_wire::v1;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SERVICE: &str = "rateguard.v1.LimitService";

#[tokio::test]
async fn health_and_reflection_answer_without_a_token() {
    let service = Service::start(Config::for_testing(OWN_TOKEN)).await;
    let mut health = HealthClient::new(service.channel.clone());
    for name in ["", SERVICE] {
        let answer = health
            .check(HealthCheckRequest { service: name.into() })
            .await
            .expect("known")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    let mut reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
        service.channel.clone(),
    );
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            tonic_reflection::pb::v1::server_reflection_request::MessageRequest::FileContainingSymbol(
                SERVICE.into(),
            ),
        ),
    };
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("answers")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    assert!(answer.message_response.is_some_and(|m| matches!(
        m,
        tonic_reflection::pb::v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)
    )));
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let service = Service::start(Config::for_testing(OWN_TOKEN)).await;
    let mut client = tonic::client::Grpc::new(service.channel.clone());
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<v1::ReserveRequest, v1::ReserveResponse>::default();
    let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
        .parse()
        .expect("a path");
    let status = client
        .unary::<v1::ReserveRequest, v1::ReserveResponse, _>(
            tonic::Request::new(reserve(1, Vec::new())),
            path,
            codec,
        )
        .await
        .expect_err("unknown");
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn the_http_port_tells_health_readiness_and_metrics() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    assert_eq!(service.get("/health").await.0, 200);
    let (code, ready) = service.get("/ready").await;
    assert_eq!(code, 200);
    for part in [
        r#""status":"ok""#,
        r#""timestamp":"2"#,
        r#""redis":"up""#,
        r#""control_plane":"up""#,
    ] {
        assert!(ready.contains(part), "{ready}");
    }
    service
        .client()
        .reserve(call(reserve(1, vec![rule(1, 5, v1::FailureMode::FailOpen)])))
        .await
        .expect("ok");
    assert!(
        service
            .metric(r#"rateguard_limits_reserves_total{outcome="admitted"}"#)
            .await
            >= 1.0
    );
    assert!(
        service
            .metric("rateguard_limits_reserve_duration_seconds_count")
            .await
            >= 1.0
    );
    assert!(service.metric("rateguard_limits_live_workers").await >= 1.0);
    // O4: no id, token or workspace in a metric.
    let (_, text) = service.get("/metrics").await;
    assert!(!text.contains("rgdp_") && !text.contains("11111111-"), "{text}");
}

#[tokio::test]
async fn ro_04_at_shutdown_a_call_in_flight_finishes() {
    let redis = Redis::start(&[]);
    let plane = ControlPlane::start().await;
    let service = Service::governed_with(&redis, &plane, |c| c.redis_timeout = Duration::from_secs(10)).await;
    let mut client = service.client();
    client
        .reserve(call(reserve(1, vec![rule(1, 5, v1::FailureMode::FailClosed)])))
        .await
        .expect("warm");
    redis.signal("-STOP");
    let request = reserve(2, vec![rule(1, 5, v1::FailureMode::FailClosed)]);
    let request = v1::ReserveRequest {
        worker_id: 2,
        ..request
    };
    let in_flight = tokio::spawn(async move { client.reserve(call(request)).await });
    until("the call has arrived", || async {
        service.metric("rateguard_limits_live_workers").await >= 2.0
    })
    .await;
    let stopping = tokio::spawn(service.server.shutdown());
    redis.signal("-CONT");
    let answer = in_flight.await.expect("joined").expect("finished").into_inner();
    assert_eq!(answer.outcome(), v1::Outcome::Admitted);
    tokio::time::timeout(Duration::from_secs(5), stopping)
        .await
        .expect("in time")
        .expect("stopped");
}

#[tokio::test]
async fn the_program_says_where_it_listens_and_ends_on_sigterm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rateguard-ext-ratelimit"))
        .env_clear()
        .env("RATEGUARD_ENV", "development")
        .env("GRPC_LISTEN_ADDR", "127.0.0.1:0")
        .env("HTTP_LISTEN_ADDR", "127.0.0.1:0")
        .env("DATA_PLANE_TOKEN", OWN_TOKEN)
        .env("LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let line = lines
        .find(|l| l.contains("listening grpc=127.0.0.1:"))
        .expect("the line");
    assert!(
        line.contains(" http=127.0.0.1:") && !line.contains("rgdp_"),
        "{line}"
    );
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill")
            .success()
    );
    // Drain the log, so that the child cannot block on it.
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().all(|l| !l.contains("rgdp_")), "{rest:?}");
    assert!(child.wait().expect("ends").success());
}

/// What the program logs until it listens, on this Redis.
fn log_of_start(redis: &Redis) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rateguard-ext-ratelimit"))
        .env_clear()
        .env("RATEGUARD_ENV", "development")
        .env("GRPC_LISTEN_ADDR", "127.0.0.1:0")
        .env("HTTP_LISTEN_ADDR", "127.0.0.1:0")
        .env("DATA_PLANE_TOKEN", OWN_TOKEN)
        .env("REDIS_URL", redis.url())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let lines = BufReader::new(child.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let mut log = String::new();
    for line in lines {
        log.push_str(&line);
        if line.contains("listening grpc=") {
            break;
        }
    }
    child.kill().expect("running");
    child.wait().expect("ended");
    log
}

#[test]
fn rl_13_the_start_warns_of_a_redis_that_may_forget() {
    let forgetful = Redis::start(&["--maxmemory-policy", "volatile-lru"]);
    let log = log_of_start(&forgetful);
    assert!(
        log.contains("volatile-lru") && log.contains("no append-only file"),
        "{log}"
    );
    let log = log_of_start(&Redis::durable());
    assert!(
        log.contains("listening") && !log.contains("noeviction") && !log.contains("append-only"),
        "{log}"
    );
}

#[test]
fn a_wrong_configuration_ends_the_program_before_it_listens() {
    for (name, value) in [
        ("GRPC_LISTEN_ADDR", "0.0.0.0:0"),
        ("REDIS_URL", "http://nowhere"),
        ("DATA_PLANE_TOKEN", "secret-but-short"),
        ("CONTROL_PLANE_URL", "http://10.1.2.3:3000"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_rateguard-ext-ratelimit"))
            .env_clear()
            .env("GRPC_LISTEN_ADDR", "127.0.0.1:0")
            .env("HTTP_LISTEN_ADDR", "127.0.0.1:0")
            .env("CONTROL_PLANE_URL", "http://127.0.0.1:9")
            .env("DATA_PLANE_TOKEN", OWN_TOKEN)
            .env(name, value)
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}");
        assert!(text.contains(name), "{name}: {text}");
        assert!(
            !text.contains("listening") && !text.contains("secret-but-short"),
            "{text}"
        );
    }
}
