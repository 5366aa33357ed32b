//! Usage of the two formats, JSON and stream, priced the same (SPEC 1.6).

use crate::{bare_scene, scene, stack, stub};
use rateguard_tests::scene::Answer;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn openai_prompt_tokens_include_the_cached_ones() {
    let (scene, key) = scene().await;
    let request = scene.chat(&key).header(
        "x-stub-usage",
        "prompt=1000,completion=500,cached=400,reasoning=100",
    );
    let answer = Answer::of(request).await;
    assert_eq!(answer.header("x-rateguard-tokens-input"), "1000");
    assert_eq!(answer.header("x-rateguard-tokens-output"), "500");
    assert_eq!(answer.header("x-rateguard-cost-cents"), "2");
}

#[tokio::test]
async fn anthropic_input_tokens_exclude_the_cached_ones() {
    let (scene, key) = scene().await;
    // The stub reports 600 fresh and 400 cached.
    let answer = Answer::of(
        scene
            .message(&key, false)
            .header("x-stub-usage", "prompt=1000,completion=500,cached=400"),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-rateguard-tokens-input"), "1000");
    // 600 at 1 cent, 400 at 0.1, 500 at 2, per 1 000.
    assert_eq!(answer.header("x-rateguard-cost-cents"), "1.64");
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated_not_free() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat(&key).header("x-stub-usage", "none")).await;
    assert_eq!(answer.status, 200);
    let cost: f64 = answer.header("x-rateguard-cost-cents").parse().unwrap();
    assert!(cost > 0.0);
}

#[tokio::test]
async fn dp_13_an_answer_over_the_hold_limit_streams_whole() {
    let (scene, key) = scene().await;
    for chunked in [false, true] {
        let mut request = scene
            .chat(&key)
            .header("x-stub-pad-bytes", (64 << 20).to_string());
        if chunked {
            request = request.header("x-stub-chunked", "1");
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.len() > 64 << 20, "{} bytes", answer.text.len());
        assert!(
            answer.json()["usage"]["total_tokens"].is_number(),
            "the whole body arrived"
        );
        assert_eq!(
            answer.header("x-rateguard-cost-cents"),
            "",
            "too late for a header"
        );
    }
}

#[tokio::test]
async fn requests_that_cost_nothing_say_so() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat(&key).header("x-stub-status", "500")).await;
    assert_eq!(
        (answer.status, answer.header("x-rateguard-cost-cents")),
        (500, "0")
    );
    assert_eq!(
        answer.json()["error"]["type"],
        json!("server_error"),
        "the provider's own body"
    );
}

#[tokio::test]
async fn a_catalogue_api_costs_what_the_catalogue_says_and_the_workspace_before_it() {
    let scene = bare_scene().await;
    let upstream = format!("http://{}", stub(stack().await).addr());
    scene
        .api(
            json!({"name": "Catalogue", "slug": "catalogue", "baseUrl": upstream, "authType": "BEARER",
                    "credential": "sk-upstream-canary", "costModel": {"type": "CATALOGUE"}}),
        )
        .await
        .unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let cost = async |model: &str| {
        let body =
            json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9000});
        let request = scene
            .request(Method::POST, "/proxy/catalogue/v1/chat/completions", &key)
            .header("x-stub-usage", "prompt=10000,completion=5000,cached=4000")
            .json(&body);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text);
        answer.header("x-rateguard-cost-cents").to_owned()
    };
    // 6 000 at 0.15, 4 000 at 0.075, 5 000 at 0.60 dollars a million.
    assert_eq!(cost("gpt-4o-mini-2024-07-18").await, "0.42");
    // 6 000 at 2.50, 4 000 at 1.25, 5 000 at 10.
    assert_eq!(cost("gpt-4o-2024-08-06").await, "7");
    let own = json!({"model": "gpt-4o-mini*",
                     "prices": {"inputCostPer1kTokens": 1, "outputCostPer1kTokens": 2}});
    scene.rest(Method::POST, "/prices", &own).await.unwrap();
    scene.in_force().await.unwrap();
    assert_eq!(cost("gpt-4o-mini-2024-07-18").await, "20");
    assert_eq!(cost("gpt-4o-2024-08-06").await, "7");
}
