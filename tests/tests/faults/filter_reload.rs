//! A filter that panics: one request fails, none gets through, the worker is back at once.

use crate::{eventually, governed};
use rateguard_tests::scene::Answer;
use rateguard_tests::stack::{FilterBuild, Part, Stack};
use std::time::Duration;

#[tokio::test]
async fn dp_06_a_panic_fails_its_own_request_and_the_snapshot_survives() {
    let stack = Stack::builder()
        .filter(FilterBuild::FaultInjection)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    // The snapshot must come back from shared data: nobody else can give one.
    stack.kill(Part::ControlPlane);
    for round in 0..4 {
        let panic = scene
            .chat(&key)
            .header("x-rateguard-test-panic", "1")
            .header("x-test-id", "dp-06");
        let answer = Answer::try_of(panic).await;
        assert!(
            answer.as_ref().map_or(true, |a| a.status >= 500),
            "round {round}: {answer:?}"
        );
        eventually("served again", Duration::from_secs(6), async || {
            Answer::try_of(scene.chat(&key))
                .await
                .is_ok_and(|a| a.status == 200)
        })
        .await;
    }
    assert!(
        stack.stub().log().of_test("dp-06").is_empty(),
        "a panicking request reached the upstream"
    );
    let reloads = stack.envoy_stats("wasm.*reload").await.unwrap();
    assert!(
        reloads
            .iter()
            .any(|(name, count)| name.contains("success") && *count >= 1),
        "{reloads:?}"
    );
    // A request without a key never slips through: refused, or failed by a worker whose VM is still being reloaded.
    // "Served again" may have been the other worker, so both get their time.
    let mut refused_in_a_row = 0;
    eventually("every worker refuses", Duration::from_secs(10), async || {
        let url = format!("{}/proxy/openai/v1/chat/completions", stack.gateway_url());
        let answer = Answer::of(stack.client().post(url).header("x-test-id", "dp-06")).await;
        assert!(answer.status == 401 || answer.status >= 500, "{answer:?}");
        refused_in_a_row = if answer.status == 401 {
            refused_in_a_row + 1
        } else {
            0
        };
        refused_in_a_row >= 8
    })
    .await;
    assert!(stack.stub().log().of_test("dp-06").is_empty());
}
