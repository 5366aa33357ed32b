//! One governed request through every real part: what `./dev up` prints must work.

use rateguard_tests::stack::{Part, Stack, UNKNOWN_KEY};
use serde_json::{Value, json};

fn chat() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
}

#[tokio::test]
async fn the_printed_curl_is_answered_with_cost_and_limits() {
    let stack = Stack::start().await.unwrap();
    let answer = stack
        .client()
        .post(format!(
            "{}/proxy/openai/v1/chat/completions",
            stack.gateway_url()
        ))
        .bearer_auth(&stack.seed().api_key)
        .header("x-stub-usage", "prompt=1000,completion=500")
        .header("x-test-id", "smoke")
        .json(&chat())
        .send()
        .await
        .unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(status, 200, "{headers:#?}\n{text}");
    for name in [
        "x-rateguard-request-id",
        "x-rateguard-cost-cents",
        "x-rateguard-tokens-input",
        "x-rateguard-tokens-output",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-rateguard-budget-used",
        "x-rateguard-budget-limit",
        "x-rateguard-budget-remaining",
    ] {
        assert!(headers.contains_key(name), "no {name} in {headers:#?}");
    }
    assert!(!headers.contains_key("x-rateguard-degraded"), "{headers:#?}");
    let number = |name: &str| headers[name].to_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(headers["x-rateguard-tokens-input"], "1000");
    assert_eq!(headers["x-rateguard-tokens-output"], "500");
    assert!(number("x-rateguard-cost-cents") > 0.0);
    assert_eq!(headers["x-rateguard-budget-limit"], "10000");
    assert!(number("x-rateguard-budget-used") >= number("x-rateguard-cost-cents"));

    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["usage"]["total_tokens"], 1500);
    let reached = stack.stub().log().of_test("smoke");
    let [received] = reached.as_slice() else {
        panic!("{} requests reached the upstream", reached.len())
    };
    let request_id = headers["x-rateguard-request-id"].to_str().unwrap();
    assert_eq!(received.request_id(), Some(request_id));
    let secret = stack.seed().api_key.as_bytes();
    for (name, value) in &received.headers {
        assert!(
            !value.windows(secret.len()).any(|part| part == secret),
            "the key reached the upstream in {name}"
        );
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_before_the_upstream() {
    let stack = Stack::start().await.unwrap();
    let answer = stack
        .client()
        .post(format!(
            "{}/proxy/openai/v1/chat/completions",
            stack.gateway_url()
        ))
        .bearer_auth(UNKNOWN_KEY)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "invalid_api_key", "{body}");
    assert!(stack.stub().log().is_empty());
}

#[tokio::test]
async fn a_restarted_envoy_is_ready_again() {
    let stack = Stack::start().await.unwrap();
    stack.kill(Part::Envoy);
    assert!(stack.pid(Part::Envoy).is_none());
    stack.restart(Part::Envoy).await.unwrap();
    let answer = stack
        .client()
        .post(format!(
            "{}/proxy/openai/v1/chat/completions",
            stack.gateway_url()
        ))
        .bearer_auth(&stack.seed().api_key)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}
