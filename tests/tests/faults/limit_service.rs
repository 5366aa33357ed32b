//! The limit service slow, gone or lying.

use crate::{BUSY, eventually, governed};
use rateguard_tests::fault_server::{GrpcFault, GrpcFaultServer};
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::{Answer, Scene};
use rateguard_tests::stack::{Link, Part, Stack, background};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn dp_01_no_byte_upstream_before_admission() {
    let stack = Stack::builder()
        .proxied(Link::EnvoyToLimits)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    stack
        .proxy(Link::EnvoyToLimits)
        .set(Wire::Delay(Duration::from_millis(700)));
    let answer = tokio::spawn(Answer::of(scene.chat(&key).header("x-test-id", "dp-01")));
    // Watched all the while: the upstream's log stays empty until the decision can have come.
    let early = stack
        .stub()
        .log()
        .wait_for_test("dp-01", Duration::from_millis(600))
        .await;
    assert!(early.is_none(), "{early:?}");
    assert_eq!(answer.await.unwrap().status, 200);
    assert_eq!(stack.stub().log().of_test("dp-01").len(), 1);
}

#[tokio::test]
async fn dp_16_a_faulty_limit_service_means_the_failure_mode_within_the_deadline() {
    for fault in [
        GrpcFault::Slow,
        GrpcFault::Rst,
        GrpcFault::GoAway,
        GrpcFault::Http1,
        GrpcFault::GarbageProtobuf,
        GrpcFault::EmptyMessage,
        GrpcFault::Internal,
    ] {
        let server = background()
            .spawn(GrpcFaultServer::start(fault))
            .await
            .unwrap()
            .unwrap();
        let stack = Stack::builder()
            .redirected(Link::EnvoyToLimits, server.addr())
            .reserve_timeout_ms(300)
            .start()
            .await
            .expect("the Stack starts");
        let scene = Scene::new(&stack).await.unwrap();
        scene.openai(stack.stub().addr()).await.unwrap();
        scene.flat(stack.stub().addr(), "1").await.unwrap();
        scene
            .rule(json!({
                "algorithm": "TOKEN_BUCKET", "bucketSize": 5, "refillRate": "1", "scopes": [{"type": "PER_KEY"}],
                "endpoint": "/v1/**", "failureMode": "FAIL_OPEN",
            }))
            .await
            .unwrap();
        scene
            .rule(json!({
                "algorithm": "TOKEN_BUCKET", "bucketSize": 5, "refillRate": "1", "scopes": [{"type": "PER_KEY"}],
                "endpoint": "/closed", "failureMode": "FAIL_CLOSED",
            }))
            .await
            .unwrap();
        let key = scene.key(json!({})).await.unwrap();
        scene.in_force().await.unwrap();

        let start = Instant::now();
        let open = Answer::of(scene.chat(&key)).await;
        assert_eq!(
            (open.status, open.header("x-rateguard-degraded")),
            (200, "true"),
            "{fault:?}: {}",
            open.text
        );
        // Its deadline, not the two minutes of the upstream.
        assert!(
            start.elapsed() < Duration::from_millis(300) + BUSY,
            "{fault:?}: {:?}",
            start.elapsed()
        );
        let closed = Answer::of(scene.request(reqwest::Method::GET, "/proxy/flat/closed", &key)).await;
        assert_eq!(
            (closed.status, closed.code().as_str()),
            (503, "not_ready"),
            "{fault:?}: {}",
            closed.text
        );
        assert_eq!(closed.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn dp_16_a_hard_budget_is_bounded_while_the_service_is_away() {
    let stack = Stack::builder()
        .reserve_timeout_ms(300)
        .workers(1)
        .start()
        .await
        .expect("the Stack starts");
    let scene = Scene::new(&stack).await.unwrap();
    scene.flat(stack.stub().addr(), "1").await.unwrap();
    scene.hard_budget(json!(20)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let seen = Answer::of(scene.flat_request(&key)).await;
    assert_eq!(
        (seen.status, seen.header("x-rateguard-budget-remaining")),
        (200, "19")
    );
    stack.kill(Part::Limits);
    let mut admitted = 0;
    for _ in 0..40 {
        match Answer::of(scene.flat_request(&key)).await.status {
            200 => admitted += 1,
            402 => {}
            other => panic!("{other}"),
        }
    }
    assert!(
        (1..=19).contains(&admitted),
        "{admitted} of the 19 that were left"
    );

    // What was spent meanwhile is written when the service is back: nothing is lost.
    stack
        .restart(Part::Limits)
        .await
        .expect("the limit service comes back");
    eventually(
        "the spend of the outage is in the ledger",
        Duration::from_secs(30),
        async || {
            scene.costs().await.is_ok_and(|c| {
                c["currentSpendCents"] == json!(1 + admitted) && c["reservedCents"] == json!(0)
            })
        },
    )
    .await;
}

#[tokio::test]
async fn a_request_that_no_quota_matches_makes_no_call() {
    let stack = Stack::start().await.expect("the Stack starts");
    let scene = Scene::new(&stack).await.unwrap();
    scene.openai(stack.stub().addr()).await.unwrap();
    let elsewhere = json!({
        "algorithm": "TOKEN_BUCKET", "bucketSize": 1, "refillRate": "1", "scopes": [{"type": "PER_KEY"}], "endpoint": "/v2/**",
    });
    scene.rule(elsewhere).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    // Nobody is there to be called: a call would show as degraded.
    stack.kill(Part::Limits);
    for _ in 0..5 {
        let answer = Answer::of(scene.chat(&key)).await;
        assert_eq!(
            (answer.status, answer.header("x-rateguard-degraded")),
            (200, ""),
            "{}",
            answer.text
        );
    }
}
