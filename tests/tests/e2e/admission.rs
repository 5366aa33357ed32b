//! Nothing reaches the upstream before it is admitted, and exactly as much is admitted as fits.

use crate::{bare_scene, scene, stack, stub, use_up};
use rateguard_tests::load::Shot;
use rateguard_tests::scene::{Answer, Scene, chat_body};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn dp_03_a_refused_body_never_reaches_the_upstream() {
    let scene = bare_scene().await;
    scene.requests_per_workspace(1).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    use_up(&scene, &key).await;
    let path = "/proxy/openai/v1/chat/completions";
    let body = chat_body(false).to_string();
    // No body, one piece, many pieces of unknown length.
    let none = scene.request(Method::GET, "/proxy/openai/v1/models", &key);
    let whole = scene
        .request(Method::POST, path, &key)
        .header("content-type", "application/json")
        .body(body.clone());
    let pieces: Vec<Result<String, std::io::Error>> = body.chars().map(|c| Ok(c.to_string())).collect();
    let pieces = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let many = scene
        .request(Method::POST, path, &key)
        .header("content-type", "application/json")
        .body(pieces);
    for request in [none, whole, many] {
        let answer = Answer::of(request.header("x-test-id", "dp-03")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "rate_limited"),
            "{}",
            answer.text
        );
    }
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let request = http2
        .post(format!("{}{path}", scene.stack.gateway_url()))
        .bearer_auth(&key.secret);
    let answer = Answer::of(request.header("x-test-id", "dp-03").json(&chat_body(false))).await;
    assert_eq!(answer.status, 429);
    assert!(stub(stack().await).log().of_test("dp-03").is_empty());
}

#[tokio::test]
async fn dp_12_a_body_over_the_listeners_buffer_is_413_before_any_reservation() {
    let (scene, key) = scene().await;
    scene.flat(stub(stack().await).addr(), "1").await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    let request = scene
        .request(Method::POST, "/proxy/flat/upload", &key)
        .header("x-test-id", "dp-12");
    let body = vec![b'x'; 64 << 20];
    // Envoy may close while the client still sends: then there is an answer or a broken connection, but no upstream.
    if let Ok(answer) = Answer::try_of(request.body(body)).await {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "request_too_large"),
            "{}",
            answer.text
        );
    }
    assert!(stub(stack().await).log().of_test("dp-12").is_empty());
    assert_eq!(scene.costs().await.unwrap()["reservedCents"], json!(0));
}

#[tokio::test]
async fn a_thousand_at_once_on_a_budget_for_a_hundred_admits_exactly_a_hundred() {
    let stack = stack().await;
    let scene = Scene::new(stack).await.unwrap();
    scene.flat(stub(stack).addr(), "1").await.unwrap();
    scene.hard_budget(json!(100)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let degraded = stack.envoy_stats("rateguard.*degraded").await.unwrap();

    let authorization = format!("Bearer {}", key.secret);
    let shot = Shot::post(
        "/proxy/flat/x",
        &[("authorization", &authorization), ("x-test-id", &key.id)],
        "",
    );
    let outcome = shot.fire(stack.addresses().gateway, 1000, 1000).await.unwrap();
    assert_eq!(
        (outcome.count(200), outcome.count(402)),
        (100, 900),
        "{:?}",
        outcome.statuses
    );
    assert_eq!(stub(stack).log().of_test(&key.id).len(), 100);
    assert_eq!(
        stack.envoy_stats("rateguard.*degraded").await.unwrap(),
        degraded,
        "0 degraded"
    );
}
