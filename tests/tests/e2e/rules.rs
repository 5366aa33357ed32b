//! Rules: what they match, whom they count, and that all must admit.

use crate::{bare_scene, stack, stub, use_up};
use rateguard_tests::scene::Answer;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn scopes_count_apart() {
    let scene = bare_scene().await;
    scene
        .rule(json!({"algorithm": "TOKEN_BUCKET", "bucketSize": 1, "refillRate": "0.001", "scopes": [{"type": "PER_KEY"}]}))
        .await
        .unwrap();
    let (one, two) = (
        scene.key(json!({})).await.unwrap(),
        scene.key(json!({})).await.unwrap(),
    );
    scene.in_force().await.unwrap();
    let statuses = [
        Answer::of(scene.chat(&one)).await.status,
        Answer::of(scene.chat(&one)).await.status,
        Answer::of(scene.chat(&two)).await.status,
        // Every scope counts per API.
        Answer::of(scene.message(&one, false)).await.status,
    ];
    assert_eq!(statuses, [200, 429, 200, 200]);
}

#[tokio::test]
async fn a_rule_shared_across_apis_has_one_bucket() {
    let scene = bare_scene().await;
    let rule = json!({
        "algorithm": "TOKEN_BUCKET", "bucketSize": 1, "refillRate": "0.001", "scopes": [{"type": "PER_WORKSPACE"}], "sharedAcrossApis": true,
    });
    scene.rule(rule).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let statuses = [
        Answer::of(scene.chat(&key)).await.status,
        Answer::of(scene.message(&key, false)).await.status,
    ];
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn endpoints_and_methods_select() {
    let scene = bare_scene().await;
    scene.flat(stub(stack().await).addr(), "0").await.unwrap();
    let rule = json!({
        "algorithm": "TOKEN_BUCKET", "bucketSize": 1, "refillRate": "0.001", "scopes": [{"type": "GLOBAL"}],
        "endpoint": "/files/*/content", "methods": ["GET"],
    });
    scene.rule(rule).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let first = Answer::of(scene.request(Method::GET, "/proxy/flat/files/1/content", &key)).await;
    assert_eq!(first.status, 200, "{}", first.text);
    for (method, path, status) in [
        (Method::GET, "/proxy/flat/files/7/content", 429),
        (Method::GET, "/proxy/flat/files/7/content?a=b", 429),
        (Method::POST, "/proxy/flat/files/7/content", 200),
        (Method::GET, "/proxy/flat/files/7", 200),
        (Method::GET, "/proxy/flat/files/7/8/content", 200),
        // %2f is no separator, neither for the pattern nor upstream.
        (Method::GET, "/proxy/flat/files/7%2f8/content", 429),
    ] {
        let answer = Answer::of(scene.request(method.clone(), path, &key)).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn sliding_windows_let_exactly_their_limit_pass_and_open_again() {
    let scene = bare_scene().await;
    let window = Duration::from_secs(2);
    let rule =
        json!({"algorithm": "SLIDING_WINDOW", "limit": 3, "windowMs": 2000, "scopes": [{"type": "PER_IP"}]});
    scene.rule(rule).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let statuses = loop {
        let start = Instant::now();
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(Answer::of(scene.chat(&key)).await.status);
        }
        if start.elapsed() < window {
            break statuses;
        }
        // A machine that took the whole window for five requests has proven nothing yet.
        assert!(Instant::now() < end, "too slow to judge");
        tokio::time::sleep(window).await;
    };
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let end = Instant::now() + Duration::from_secs(10);
    while Answer::of(scene.chat(&key)).await.status != 200 {
        assert!(Instant::now() < end, "the window never opened again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn rl_21_when_one_of_four_refuses_none_is_charged() {
    let scene = bare_scene().await;
    for scope in ["GLOBAL", "PER_KEY", "PER_IP"] {
        let rule = json!({"algorithm": "TOKEN_BUCKET", "bucketSize": 10, "refillRate": "0.001", "scopes": [{"type": scope}]});
        scene.rule(rule).await.unwrap();
    }
    let tight = scene.requests_per_workspace(1).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    use_up(&scene, &key).await;
    for _ in 0..20 {
        assert_eq!(Answer::of(scene.chat(&key)).await.status, 429);
    }
    scene
        .rest(Method::DELETE, &format!("/rules/{tight}"), &json!(null))
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let answer = Answer::of(scene.chat(&key)).await;
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-remaining")),
        (200, "8"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn shadow_rules_never_refuse_and_the_largest_priority_is_reported() {
    let scene = bare_scene().await;
    let base = json!({"algorithm": "TOKEN_BUCKET", "bucketSize": 1, "refillRate": "0.001", "scopes": [{"type": "PER_KEY"}]});
    let with = |more: serde_json::Value| {
        let mut rule = base.clone();
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    scene
        .rule(with(json!({"name": "shadow", "mode": "shadow", "priority": 9})))
        .await
        .unwrap();
    let key = scene.key(json!({})).await.unwrap();
    use_up(&scene, &key).await;
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200, "a shadow rule");
    scene
        .rule(with(json!({"name": "low", "priority": 1})))
        .await
        .unwrap();
    scene
        .rule(with(json!({"name": "high", "priority": 2})))
        .await
        .unwrap();
    use_up(&scene, &key).await;
    let answer = Answer::of(scene.chat(&key)).await;
    assert_eq!(answer.status, 429);
    assert!(
        answer.json()["error"]["details"]["rule"]
            .to_string()
            .contains("high"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn an_edited_rule_starts_a_new_bucket_and_reset_empties_one() {
    let scene = bare_scene().await;
    let rule = scene.requests_per_workspace(1).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 429);
    scene
        .rest(Method::POST, &format!("/rules/{rule}/reset"), &json!({}))
        .await
        .unwrap();
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 429);
    scene
        .rest(
            Method::PATCH,
            &format!("/rules/{rule}"),
            &json!({"bucketSize": 2}),
        )
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let answer = Answer::of(scene.chat(&key)).await;
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-remaining")),
        (200, "1"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn token_rules_hold_the_estimate_and_settle_to_what_was_used() {
    let scene = bare_scene().await;
    let rule = json!({
        "algorithm": "TOKEN_BUCKET", "unit": "TOKENS", "bucketSize": 10_000, "refillRate": "0.001", "scopes": [{"type": "PER_KEY"}],
    });
    scene.rule(rule).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let first = Answer::of(
        scene
            .chat(&key)
            .header("x-stub-usage", "prompt=4000,completion=2000"),
    )
    .await;
    assert_eq!(first.status, 200);
    // 6 000 of 10 000 are gone once the settlement has arrived.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = Answer::of(scene.chat(&key).header("x-stub-usage", "prompt=0,completion=0")).await;
        let remaining: i64 = answer.header("x-ratelimit-remaining").parse().unwrap();
        if remaining <= 4_000 {
            assert!(remaining > 3_000, "{remaining}");
            break;
        }
        assert!(Instant::now() < end, "never settled: {remaining}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
