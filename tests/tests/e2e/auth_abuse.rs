//! FAULTS group AU: keys and headers made to hurt.

use crate::{scene, stack, stub};
use rateguard_tests::scene::{Answer, chat_body};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status of a request sent as these very bytes.
async fn raw_status(bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(stack().await.addresses().gateway)
        .await
        .unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let line = String::from_utf8_lossy(&answer[..read]).into_owned();
    line.split_whitespace()
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| panic!("no status in {line:?}"))
}

#[tokio::test]
async fn au_01_malformed_keys_are_401_and_no_worker_dies() {
    let (scene, key) = scene().await;
    let reloads = stack().await.envoy_stats("wasm.*(reload|fail)").await.unwrap();
    let path = "/proxy/openai/v1/chat/completions";
    let long = format!("rg_live_{}", "A".repeat(40_000));
    let mut texts = Vec::new();
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "bearer",
        "Bearer\t\t",
        "Basic cmdfOg==",
        "Bearer rg_live_",
        "Bearer rg_",
        "Bearer %s%n%x",
        "Bearer rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnG",
        "Bearer ' OR 1=1 --",
        long.as_str(),
    ] {
        let request = stack()
            .await
            .client()
            .post(format!("{}{path}", stack().await.gateway_url()));
        let answer = Answer::of(request.header("authorization", value).json(&chat_body(false))).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "invalid_api_key"),
            "{value:.60}: {}",
            answer.text
        );
        texts.push(answer.json()["error"].clone());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all of them: {texts:#?}");
    // Lower-case scheme and more than one space are still a key.
    for value in [
        format!("bearer {}", key.secret),
        format!("BEARER   {}", key.secret),
    ] {
        let request = stack()
            .await
            .client()
            .post(format!("{}{path}", stack().await.gateway_url()));
        let answer = Answer::of(request.header("authorization", value).json(&chat_body(false))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let not_utf8 = b"GET /proxy/openai/x HTTP/1.1\r\nhost: g\r\nauthorization: \xff\xfe\r\nx-\xc3\xa9: \xff\r\nconnection: close\r\n\r\n";
    assert!(matches!(raw_status(not_utf8).await, 400 | 401));
    let not_utf8 =
        b"GET /proxy/openai/x HTTP/1.1\r\nhost: g\r\nauthorization: \xff\xfe\r\nconnection: close\r\n\r\n";
    assert_eq!(raw_status(not_utf8).await, 401);
    assert_eq!(
        stack().await.envoy_stats("wasm.*(reload|fail)").await.unwrap(),
        reloads,
        "a VM was lost"
    );
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
}

#[tokio::test]
async fn au_03_revoked_suspended_and_deleted_keys_look_like_unknown_ones() {
    let (scene, _) = scene().await;
    let (revoked, suspended, deleted) = (
        scene.key(json!({})).await.unwrap(),
        scene.key(json!({})).await.unwrap(),
        scene.key(json!({})).await.unwrap(),
    );
    scene.in_force().await.unwrap();
    for key in [&revoked, &suspended, &deleted] {
        assert_eq!(Answer::of(scene.chat(key)).await.status, 200);
    }
    scene
        .rest(Method::POST, &format!("/keys/{}/revoke", revoked.id), &json!({}))
        .await
        .unwrap();
    scene
        .rest(
            Method::PATCH,
            &format!("/keys/{}", suspended.id),
            &json!({"isActive": false}),
        )
        .await
        .unwrap();
    scene
        .rest(Method::DELETE, &format!("/keys/{}", deleted.id), &json!(null))
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    let mut texts = Vec::new();
    for key in [&revoked, &suspended, &deleted] {
        let answer = Answer::of(scene.chat(key)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "invalid_api_key"),
            "{}",
            answer.text
        );
        texts.push(answer.json()["error"].clone());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    // Suspension can be undone; revocation cannot.
    scene
        .rest(
            Method::PATCH,
            &format!("/keys/{}", suspended.id),
            &json!({"isActive": true}),
        )
        .await
        .unwrap();
    scene.in_force().await.unwrap();
    assert_eq!(Answer::of(scene.chat(&suspended)).await.status, 200);
    assert!(
        scene
            .rest(
                Method::PATCH,
                &format!("/keys/{}", revoked.id),
                &json!({"isActive": true})
            )
            .await
            .is_err()
    );
}

#[tokio::test]
async fn au_04_random_keys_reach_neither_limit_service_nor_upstream() {
    let (scene, _) = scene().await;
    let stack = stack().await;
    for i in 0..500_u32 {
        // Half of them have the right form and a wrong checksum, half are anything.
        let secret = if i % 2 == 0 {
            format!("rg_live_{i:032}")
        } else {
            format!("sk-{i}")
        };
        let request = stack.client().post(format!(
            "{}/proxy/openai/v1/chat/completions",
            stack.gateway_url()
        ));
        let request = request
            .bearer_auth(secret)
            .header("x-test-id", "au-04")
            .json(&chat_body(false));
        assert_eq!(Answer::of(request).await.status, 401);
    }
    assert!(stub(stack).log().of_test("au-04").is_empty());
    drop(scene);
}

#[tokio::test]
async fn au_06_hostile_strings_are_inert_in_every_header() {
    let (scene, key) = scene().await;
    for hostile in [
        "'; DROP TABLE api_key; --",
        "{{7*7}}",
        "%0d%0aset-cookie:a=b",
        "redis.call('FLUSHALL')",
        "%s%n",
        "\u{202e}x",
    ] {
        let value = HeaderValue::from_bytes(hostile.as_bytes()).unwrap();
        let request = scene
            .chat(&key)
            .header("x-test-id", "au-06")
            .header("x-custom", value.clone());
        let request = request
            .header("user-agent", value.clone())
            .header("x-rateguard-tags", value);
        let answer = Answer::of(request).await;
        assert!(
            matches!(answer.status, 200 | 400),
            "{hostile}: {} {}",
            answer.status,
            answer.text
        );
        assert!(answer.headers.get("set-cookie").is_none());
    }
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    let log = stack().await.log(rateguard_tests::stack::Part::Envoy).unwrap();
    assert!(
        !log.contains("\nset-cookie"),
        "a header broke out of its log line"
    );
}

#[tokio::test]
async fn au_07_a_client_chooses_no_cluster_workspace_or_address() {
    let (scene, key) = scene().await;
    let request = scene
        .chat(&key)
        .header("x-test-id", "au-07")
        .header("x-rateguard-cluster", "rateguard_control_plane");
    let request = request.header("x-rateguard-workspace", "00000000-0000-0000-0000-000000000000");
    let request = request
        .header("x-rateguard-cost-cents", "0")
        .header("x-envoy-upstream-rq-timeout-ms", "1");
    let request = request
        .header("x-envoy-retry-on", "5xx")
        .header("x-forwarded-for", "10.0.0.1")
        .header("cookie", "a=b");
    let request = request
        .header("forwarded", "for=10.0.0.1")
        .header("x-real-ip", "10.0.0.1")
        .header("via", "1.1 x");
    let answer = Answer::of(request.header("x-stub-delay-ms", "50")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let received = stub(stack().await)
        .log()
        .of_test("au-07")
        .pop()
        .expect("it reached the upstream it should");
    for (name, value) in &received.headers {
        let forbidden = name.starts_with("x-rateguard-")
            || name.starts_with("x-envoy-")
            || name.starts_with("x-forwarded-")
            || ["cookie", "forwarded", "x-real-ip", "via"].contains(&name.as_str());
        assert!(!forbidden, "{name} reached the upstream");
        assert!(
            !value.windows(8).any(|w| w == b"rg_live_"),
            "a key reached the upstream in {name}"
        );
    }
    assert_eq!(
        received.header("authorization"),
        Some("Bearer sk-upstream-canary")
    );
    let underscore = raw_status(
        b"GET /proxy/openai/x HTTP/1.1\r\nhost: g\r\nx_rateguard_cluster: a\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(underscore.await, 400);
}

#[tokio::test]
async fn keys_are_accepted_wherever_an_sdk_puts_them() {
    let (scene, key) = scene().await;
    let url = |query: &str| {
        format!(
            "{}/proxy/openai/v1/chat/completions{query}",
            scene.stack.gateway_url()
        )
    };
    for header in ["x-rateguard-key", "x-api-key", "api-key", "x-goog-api-key"] {
        let request = scene
            .stack
            .client()
            .post(url(""))
            .header(header, &key.secret)
            .json(&chat_body(false));
        assert_eq!(Answer::of(request).await.status, 200, "{header}");
    }
    let query = format!("?alt=a%20b&key={}&z=1", key.secret);
    let request = scene
        .stack
        .client()
        .post(url(&query))
        .header("x-test-id", "query-key")
        .json(&chat_body(false));
    assert_eq!(Answer::of(request).await.status, 200);
    let received = stub(stack().await).log().of_test("query-key").pop().unwrap();
    assert_eq!(
        received.target, "/v1/chat/completions?alt=a%20b&z=1",
        "the rest of the query byte for byte"
    );
    // The same key twice in two places is one candidate.
    let twice = scene.chat(&key).header("x-api-key", &key.secret);
    assert_eq!(Answer::of(twice).await.status, 200);
}
