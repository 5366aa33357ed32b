//! The table of SPEC 1.8, each row provoked through Envoy: status, code, type, body shape, headers.

use crate::{bare_scene, scene, stack, stub};
use chrono::Utc;
use rateguard_tests::scene::{Answer, Key, chat_body};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Status, code, type, one shape, one id in body and header, no secret in it.
fn assert_error(answer: &Answer, status: u16, code: &str, kind: &str) -> Value {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (status, code),
        "{} {:#?}",
        answer.text,
        answer.headers
    );
    let body = answer.json();
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], kind, "{body}");
    assert!(
        body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()),
        "{body}"
    );
    assert!(body["error"].get("param").is_some_and(Value::is_null), "{body}");
    assert!(body["error"]["details"].is_object(), "{body}");
    let id = body["requestId"].as_str().expect("requestId");
    assert_eq!(answer.header("x-rateguard-request-id"), id);
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(
        !answer.text.contains("canary") && !answer.text.contains("rg_live_"),
        "{}",
        answer.text
    );
    body
}

#[tokio::test]
async fn e400_validation_error() {
    let (scene, key) = scene().await;
    let path = "/proxy/openai/v1/chat/completions";
    let malformed = scene
        .request(Method::POST, path, &key)
        .header("content-type", "application/json")
        .body("{\"model\":");
    assert_error(
        &Answer::of(malformed).await,
        400,
        "validation_error",
        "invalid_request_error",
    );
    let two_keys = scene
        .chat(&key)
        .header("x-api-key", "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF");
    assert_error(
        &Answer::of(two_keys).await,
        400,
        "validation_error",
        "invalid_request_error",
    );
    for path in ["/proxy/openai/v1/a%00b", "/proxy/openai/v1/a%5cb"] {
        let answer = Answer::of(scene.request(Method::GET, path, &key)).await;
        assert_error(&answer, 400, "validation_error", "invalid_request_error");
    }
}

#[tokio::test]
async fn e401_invalid_api_key() {
    let (scene, key) = scene().await;
    let unknown = Key {
        id: String::new(),
        secret: "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF".into(),
    };
    let first = Answer::of(scene.chat(&unknown)).await;
    let body = assert_error(&first, 401, "invalid_api_key", "authentication_error");
    let mut mistyped = key.clone();
    mistyped.secret.replace_range(10..12, "zz");
    let second = assert_error(
        &Answer::of(scene.chat(&mistyped)).await,
        401,
        "invalid_api_key",
        "authentication_error",
    );
    assert_eq!(body["error"], second["error"], "the text tells nothing about why");
}

#[tokio::test]
async fn e402_budget_exceeded() {
    let scene = bare_scene().await;
    scene.hard_budget(json!(0.01)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    // 50 tokens of output alone are estimated at 0.1 cents.
    let answer = Answer::of(scene.chat(&key)).await;
    let body = assert_error(&answer, 402, "budget_exceeded", "billing_error");
    assert_eq!(answer.header("x-should-retry"), "false");
    for field in ["budget", "used", "reserved", "limit", "resetsAt"] {
        assert!(
            body["error"]["details"].get(field).is_some(),
            "no {field}: {body}"
        );
    }
    assert_eq!(answer.header("x-rateguard-budget-limit"), "0.01");
}

#[tokio::test]
async fn e403_forbidden_inactive_model() {
    let scene = bare_scene().await;
    let inactive = json!({"name": "off", "slug": "off", "baseUrl": stub(stack().await).url(), "authType": "NONE", "isActive": false});
    let off = scene.api(inactive).await.unwrap();
    let key = scene.key(json!({"allowedModels": ["gpt-4o*"]})).await.unwrap();
    let elsewhere = scene.key(json!({"allowedApiIds": [off]})).await.unwrap();
    scene.in_force().await.unwrap();
    let inactive = Answer::of(scene.request(Method::GET, "/proxy/off/x", &key)).await;
    assert_error(&inactive, 403, "api_inactive", "permission_error");
    let forbidden = Answer::of(scene.chat(&elsewhere)).await;
    assert_error(&forbidden, 403, "forbidden", "permission_error");
    let mut body = chat_body(false);
    body["model"] = json!("gpt-3.5-turbo");
    let path = "/proxy/openai/v1/chat/completions";
    let model = Answer::of(scene.request(Method::POST, path, &key).json(&body)).await;
    assert_error(&model, 403, "model_not_allowed", "permission_error");
}

#[expect(clippy::disallowed_methods, reason = "the key expires by the real clock")]
#[tokio::test]
async fn e403_expired_api_key() {
    let scene = bare_scene().await;
    let key = scene.key(json!({})).await.unwrap();
    let soon = (Utc::now() + chrono::Duration::seconds(2)).to_rfc3339();
    scene
        .rest(
            Method::PATCH,
            &format!("/keys/{}", key.id),
            &json!({"expiresAt": soon}),
        )
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut answer = Answer::of(scene.chat(&key)).await;
    while answer.status == 200 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = Answer::of(scene.chat(&key)).await;
    }
    assert_error(&answer, 403, "expired_api_key", "permission_error");
}

#[tokio::test]
async fn e403_model_not_priced_unless_the_workspace_allows_it() {
    let (scene, key) = scene().await;
    let mut body = chat_body(false);
    body["model"] = json!("o9-preview");
    let request = || {
        scene
            .request(Method::POST, "/proxy/openai/v1/chat/completions", &key)
            .json(&body)
    };
    assert_error(
        &Answer::of(request()).await,
        403,
        "model_not_priced",
        "permission_error",
    );
    scene
        .rest(
            Method::PATCH,
            "",
            &json!({"settings": {"unpricedModelPolicy": "allow"}}),
        )
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let allowed = Answer::of(request()).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text);
}

#[tokio::test]
async fn e404_api_not_found() {
    let (scene, key) = scene().await;
    for path in ["/proxy/nope/v1/x", "/elsewhere", "/proxy/", "/"] {
        let answer = Answer::of(scene.request(Method::GET, path, &key)).await;
        assert_error(&answer, 404, "api_not_found", "not_found_error");
    }
}

#[tokio::test]
async fn e413_request_too_large() {
    let (scene, key) = scene().await;
    let body = format!(
        "{{\"model\":\"gpt-4o-mini\",\"messages\":[],\"pad\":\"{}\"}}",
        "x".repeat(11 << 20)
    );
    let request = scene.request(Method::POST, "/proxy/openai/v1/chat/completions", &key);
    let answer = Answer::of(request.header("content-type", "application/json").body(body)).await;
    assert_error(&answer, 413, "request_too_large", "request_too_large");
}

#[tokio::test]
async fn e429_rate_limited() {
    let scene = bare_scene().await;
    scene.requests_per_workspace(1).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    let answer = Answer::of(scene.chat(&key)).await;
    let body = assert_error(&answer, 429, "rate_limited", "rate_limit_error");
    let retry_after: u64 = answer
        .header("retry-after")
        .parse()
        .expect("Retry-After in whole seconds");
    assert!(
        (900..=1001).contains(&retry_after),
        "one request in 1 000 s, not {retry_after}"
    );
    for field in ["rule", "limit", "remaining", "resetsAt", "retryAfterMs"] {
        assert!(
            body["error"]["details"].get(field).is_some(),
            "no {field}: {body}"
        );
    }
    assert_eq!(
        (
            answer.header("x-ratelimit-limit"),
            answer.header("x-ratelimit-remaining")
        ),
        ("1", "0")
    );
}

#[tokio::test]
async fn e502_upstream_error() {
    let scene = bare_scene().await;
    // A port that nobody listens on: bound, then freed.
    let refused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    scene.flat(refused, "1").await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let answer = Answer::of(scene.flat_request(&key)).await;
    assert_error(&answer, 502, "upstream_error", "api_error");
    for fault in ["reset", "close"] {
        let answer = Answer::of(scene.chat(&key).header("x-stub-fault", fault)).await;
        assert_error(&answer, 502, "upstream_error", "api_error");
    }
}

#[tokio::test]
async fn e504_upstream_timeout() {
    let scene = bare_scene().await;
    let body = json!({"name": "slow", "slug": "slow", "baseUrl": stub(stack().await).url(), "authType": "NONE", "timeoutMs": 1000});
    scene.api(body).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let request = scene
        .request(Method::GET, "/proxy/slow/x", &key)
        .header("x-stub-fault", "hang");
    assert_error(&Answer::of(request).await, 504, "upstream_timeout", "api_error");
}

#[tokio::test]
async fn the_upstreams_own_errors_pass_unchanged_and_cost_nothing() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat(&key).header("x-stub-status", "429")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "7"));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(answer.header("x-rateguard-cost-cents"), "0");
}

#[tokio::test]
async fn dp_25_upgrades_are_forbidden() {
    let (scene, key) = scene().await;
    let upgrade = scene.request(Method::GET, "/proxy/openai/v1/realtime", &key);
    let upgrade = upgrade
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    assert_error(&Answer::of(upgrade).await, 403, "forbidden", "permission_error");
}
