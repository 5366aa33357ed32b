//! What every response says (SPEC 1.7), and what the gateway answers without a key.

use crate::{bare_scene, scene, stack, stub};
use rateguard_tests::scene::Answer;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_governed_answer_carries_them_all() {
    let scene = bare_scene().await;
    scene.requests_per_workspace(100).await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let answer = Answer::of(scene.chat(&key).header("x-test-id", "headers")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for name in [
        "x-rateguard-request-id",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "ratelimit-policy",
        "ratelimit",
        "x-rateguard-cost-cents",
        "x-rateguard-tokens-input",
        "x-rateguard-tokens-output",
        "x-rateguard-latency-ms",
        "x-rateguard-upstream-latency-ms",
        "x-rateguard-budget-used",
        "x-rateguard-budget-limit",
        "x-rateguard-budget-remaining",
    ] {
        assert_ne!(answer.header(name), "", "no {name}: {:#?}", answer.headers);
    }
    let reset: u64 = answer.header("x-ratelimit-reset").parse().unwrap();
    assert!(reset > 1_700_000_000, "Unix seconds, not {reset}");
    let received = stub(stack().await).log().of_test("headers").pop().unwrap();
    assert_eq!(
        received.request_id(),
        Some(answer.header("x-rateguard-request-id")),
        "one id everywhere"
    );
    assert_eq!(received.target, "/v1/chat/completions");
    assert_eq!(
        received.header("host"),
        Some(stub(stack().await).addr().to_string().as_str())
    );
    // UUIDv7.
    assert_eq!(
        answer.header("x-rateguard-request-id").as_bytes().get(14),
        Some(&b'7')
    );
}

#[tokio::test]
async fn a_clients_request_id_is_not_taken() {
    let (scene, key) = scene().await;
    let mine = "01234567-89ab-7def-8123-456789abcdef";
    let answer = Answer::of(scene.chat(&key).header("x-request-id", mine)).await;
    assert_ne!(answer.header("x-rateguard-request-id"), mine);
}

#[tokio::test]
async fn the_gateway_answers_health_ready_and_preflights_without_a_key() {
    let stack = stack().await;
    for path in ["/health", "/ready"] {
        let answer = Answer::of(stack.client().get(format!("{}{path}", stack.gateway_url()))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let preflight = stack.client().request(
        Method::OPTIONS,
        format!("{}/proxy/openai/v1/chat/completions", stack.gateway_url()),
    );
    let preflight = preflight
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    let answer =
        Answer::of(preflight.header("access-control-request-headers", "authorization,content-type")).await;
    assert_eq!(answer.status, 200, "{:#?}", answer.headers);
    assert_ne!(answer.header("access-control-allow-origin"), "");
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        "",
        "never with credentials"
    );
}

#[tokio::test]
async fn cross_origin_scripts_may_read_our_headers() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat(&key).header("origin", "https://app.example.com")).await;
    assert_eq!(answer.status, 200);
    let exposed = answer.header("access-control-expose-headers").to_lowercase();
    assert!(
        exposed.contains("x-rateguard-cost-cents") && exposed.contains("x-ratelimit-remaining"),
        "{exposed}"
    );
}

#[tokio::test]
async fn head_and_204_have_headers_and_no_body() {
    let scene = bare_scene().await;
    scene.flat(stub(stack().await).addr(), "1").await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let head = Answer::of(scene.request(Method::HEAD, "/proxy/flat/x", &key)).await;
    assert_eq!(
        (head.status, head.header("x-rateguard-cost-cents")),
        (200, "1"),
        "{:#?}",
        head.headers
    );
    let empty = Answer::of(scene.flat_request(&key).header("x-stub-status", "204")).await;
    assert_eq!((empty.status, empty.text.as_str()), (204, ""));
    assert_ne!(empty.header("x-rateguard-request-id"), "");
}
