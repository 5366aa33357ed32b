//! The control plane away, and answers that only look like it.

use crate::{eventually, governed};
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::Answer;
use rateguard_tests::stack::{Link, Part, Stack};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn cp_01_traffic_goes_on_and_the_snapshots_age_is_seen() {
    let stack = Stack::start().await.expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    stack.kill(Part::ControlPlane);
    for _ in 0..20 {
        assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    }
    eventually(
        "the age of the snapshot grows",
        Duration::from_secs(30),
        async || {
            stack
                .envoy_stats("snapshot_age")
                .await
                .is_ok_and(|s| s.values().any(|age| *age >= 2))
        },
    )
    .await;
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
}

#[tokio::test]
async fn cp_02_a_fresh_envoy_without_configuration_is_not_ready_never_open() {
    let stack = Stack::start().await.expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    stack.kill(Part::ControlPlane);
    stack.kill(Part::Envoy);
    stack.launch(Part::Envoy).expect("Envoy starts");
    let mut last = None;
    eventually("Envoy listens", Duration::from_secs(30), async || {
        last = Answer::try_of(scene.chat(&key).header("x-test-id", "cp-02"))
            .await
            .ok();
        last.is_some()
    })
    .await;
    let answer = last.expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "not_ready"),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("retry-after"), "1");
    let url = stack.gateway_url();
    assert_eq!(
        Answer::of(stack.client().get(format!("{url}/ready")))
            .await
            .status,
        503
    );
    assert_eq!(
        Answer::of(stack.client().get(format!("{url}/health")))
            .await
            .status,
        200
    );
    assert!(stack.stub().log().of_test("cp-02").is_empty());

    stack
        .launch(Part::ControlPlane)
        .expect("the control plane starts");
    eventually("served again", Duration::from_secs(30), async || {
        Answer::of(scene.chat(&key)).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn cp_06_a_half_open_poll_is_given_up_and_repeated() {
    let stack = Stack::builder()
        .proxied(Link::EnvoyToControlPlane)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    let proxy = stack.proxy(Link::EnvoyToControlPlane);
    proxy.set(Wire::Swallow);
    scene
        .rest(
            reqwest::Method::POST,
            &format!("/keys/{}/revoke", key.id),
            &json!({}),
        )
        .await
        .unwrap();
    assert_eq!(
        Answer::of(scene.chat(&key)).await.status,
        200,
        "served on the last good snapshot"
    );
    proxy.set(Wire::Pass);
    // The poll that hangs on the forgotten connection ends by its own time-out, 30 s, and the next one goes through.
    eventually("the revocation arrives", Duration::from_secs(60), async || {
        Answer::of(scene.chat(&key)).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn cp_07_envoys_own_503_is_no_snapshot() {
    let stack = Stack::builder()
        .proxied(Link::EnvoyToControlPlane)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    // Refused and reset connections become 503s that Envoy itself answers the poll with.
    stack.proxy(Link::EnvoyToControlPlane).set(Wire::Reset);
    eventually("polls have failed", Duration::from_secs(30), async || {
        stack
            .envoy_stats("poll_failures_total")
            .await
            .is_ok_and(|s| s.values().sum::<u64>() >= 3)
    })
    .await;
    for _ in 0..10 {
        assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    }
    stack.proxy(Link::EnvoyToControlPlane).set(Wire::Pass);
    let fresh = scene.key(json!({})).await.unwrap();
    eventually("the feed goes on", Duration::from_secs(30), async || {
        Answer::of(scene.chat(&fresh)).await.status == 200
    })
    .await;
}
