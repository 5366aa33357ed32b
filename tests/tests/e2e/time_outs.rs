//! `timeoutMs` of an API: the whole of a held answer, the first byte of a stream, never a running stream (SPEC 1.2).

use crate::{bare_scene, stack, stub};
use rateguard_tests::scene::{Answer, Key, Scene, chat_body};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

/// An API whose answers are held for their usage, with a second of time, under a budget.
async fn hasty() -> (Scene<'static>, Key) {
    let scene = bare_scene().await;
    scene
        .api(json!({
            "name": "hasty", "slug": "hasty", "baseUrl": stub(stack().await).url(), "authType": "NONE", "timeoutMs": 1000,
            "costModel": {"type": "PER_TOKEN", "models": [
                {"model": "*", "inputCostPer1kTokens": "1", "outputCostPer1kTokens": "2"},
            ]},
        }))
        .await
        .unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    (scene, key)
}

fn chat(scene: &Scene<'_>, key: &Key, stream: bool) -> reqwest::RequestBuilder {
    scene
        .request(Method::POST, "/proxy/hasty/v1/chat/completions", key)
        .json(&chat_body(stream))
}

#[tokio::test]
async fn a_held_answer_that_dribbles_is_a_504_and_charged_as_estimated() {
    let (scene, key) = hasty().await;
    // Its headers come at once, its body would take minutes.
    let dribbling = chat(&scene, &key, false)
        .header("x-test-id", "dribbling")
        .header("x-stub-pad-bytes", "1000")
        .header("x-stub-chunk-bytes", "5")
        .header("x-stub-chunk-delay-ms", "400");
    let start = Instant::now();
    let answer = Answer::of(dribbling).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream_timeout"),
        "{} {:#?}",
        answer.text,
        answer.headers
    );
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert_eq!(
        answer.json()["requestId"],
        answer.header("x-rateguard-request-id")
    );
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(!answer.text.contains("chat.completion"), "{}", answer.text);
    let aborted = stub(stack().await)
        .log()
        .wait(Duration::from_secs(10), |log| {
            log.iter()
                .find(|r| r.header("x-test-id") == Some("dribbling"))
                .and_then(|r| r.aborted_at)
        })
        .await;
    assert!(aborted.is_some(), "the upstream goes on working for nobody");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) && costs["currentSpendCents"].as_f64().unwrap() > 0.0 {
            break;
        }
        assert!(Instant::now() < end, "{costs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The worker serves on, the same connection included: what it answers next is whole.
    for _ in 0..4 {
        assert_eq!(Answer::of(chat(&scene, &key, false)).await.status, 200);
    }
}

#[tokio::test]
async fn a_held_answer_within_its_time_and_a_stream_beyond_it_are_whole() {
    let (scene, key) = hasty().await;
    let held = chat(&scene, &key, false)
        .header("x-stub-chunk-bytes", "200")
        .header("x-stub-chunk-delay-ms", "50");
    let held = Answer::of(held).await;
    assert_eq!(held.status, 200, "{}", held.text);
    assert_ne!(held.header("x-rateguard-cost-cents"), "");
    let start = Instant::now();
    let streamed = chat(&scene, &key, true).header("x-stub-chunk-delay-ms", "300");
    let streamed = Answer::of(streamed).await;
    assert_eq!(streamed.status, 200);
    assert!(streamed.text.ends_with("data: [DONE]\n\n"), "{}", streamed.text);
    assert!(
        start.elapsed() > Duration::from_millis(1_500),
        "it did run beyond its API's time"
    );
}
