//! Streams: bytes go on at once, usage is the same however they are cut, the chunk nobody asked for is hidden.

use crate::{scene, stack, stub};
use futures_util::StreamExt as _;
use rateguard_tests::scene::{Answer, Scene};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A raw streamed chat completion that accepts trailers; the whole answer as text.
async fn with_trailers(scene: &Scene<'_>, secret: &str, more: &str) -> String {
    let body = rateguard_tests::scene::chat_body(true).to_string();
    let head = format!(
        "POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {secret}\r\nte: trailers\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(scene.stack.addresses().gateway).await.unwrap();
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn usage_is_asked_for_and_its_chunk_hidden_from_a_client_that_did_not_ask() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat_stream(&key).header("x-test-id", "hidden")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    assert!(!answer.text.contains("\"choices\":[]"), "{}", answer.text);
    let received = stub(stack().await).log().of_test("hidden").pop().unwrap();
    let sent: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(sent["stream_options"], json!({"include_usage": true}));
    assert_eq!(sent["model"], "gpt-4o-mini");
}

#[tokio::test]
async fn a_client_that_asked_gets_its_usage_chunk() {
    let (scene, key) = scene().await;
    let mut body = rateguard_tests::scene::chat_body(true);
    body["stream_options"] = json!({"include_usage": true});
    let request = scene
        .request(reqwest::Method::POST, "/proxy/openai/v1/chat/completions", &key)
        .json(&body);
    let answer = Answer::of(request).await;
    assert!(
        answer.text.contains("\"choices\":[],\"usage\":{"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn up_01_the_same_cost_however_the_stream_is_cut() {
    let (scene, key) = scene().await;
    let mut trailers = Vec::new();
    for chunk_bytes in ["1", "2", "3", "7", "64", "100000"] {
        let more =
            format!("x-stub-usage: prompt=1000,completion=500\r\nx-stub-chunk-bytes: {chunk_bytes}\r\n");
        let answer = with_trailers(&scene, &key.secret, &more).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let lower = answer.to_lowercase();
        trailers.push(
            lower
                .lines()
                .filter(|l| l.starts_with("x-rateguard-cost-cents:"))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    }
    for found in &trailers {
        assert_eq!(found, &["x-rateguard-cost-cents: 2"], "{trailers:?}");
    }
}

#[tokio::test]
async fn chunks_are_passed_on_as_they_come() {
    let (scene, key) = scene().await;
    let request = scene
        .chat_stream(&key)
        .header("x-stub-chunk-delay-ms", "300")
        .header("x-stub-words", "4");
    let response = request.send().await.unwrap();
    let start = Instant::now();
    let mut arrivals = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
        arrivals.push(start.elapsed());
    }
    // Seven events, 300 ms apart: buffered they would all come at the end.
    assert!(arrivals.len() >= 5, "{arrivals:?}");
    let (first, last) = (arrivals.first().unwrap(), arrivals.last().unwrap());
    assert!(
        last.saturating_sub(*first) > Duration::from_secs(1),
        "{arrivals:?}"
    );
}

#[tokio::test]
async fn anthropic_streams_do_not_add_overlapping_usage() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    let request = scene
        .message(&key, true)
        .header("x-stub-usage", "prompt=1000,completion=500,cached=400");
    let answer = Answer::of(request).await;
    assert!(answer.text.contains("event: message_stop"), "{}", answer.text);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) && costs["currentSpendCents"] != json!(0) {
            assert_eq!(costs["currentSpendCents"], json!(1.64));
            return;
        }
        assert!(Instant::now() < end, "{costs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn dp_15_a_client_that_leaves_resets_the_upstream_and_is_billed_for_what_it_saw() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    // Before the answer, and in the middle of a stream.
    let waiting = scene
        .chat(&key)
        .header("x-test-id", "dp-15-wait")
        .header("x-stub-delay-ms", "60000");
    let streaming = scene
        .chat_stream(&key)
        .header("x-test-id", "dp-15-stream")
        .header("x-stub-chunk-delay-ms", "200");
    let streaming = streaming.header("x-stub-words", "1000");
    for (id, request) in [("dp-15-wait", waiting), ("dp-15-stream", streaming)] {
        let sent = tokio::spawn(request.timeout(Duration::from_millis(1_200)).send());
        let left = match sent.await.unwrap() {
            Ok(response) => response.text().await.is_err(),
            Err(_) => true,
        };
        assert!(left, "the client timed out");
        let gone = Instant::now();
        let find = |log: &[rateguard_tests::stub::Received]| {
            log.iter()
                .find(|r| r.header("x-test-id") == Some(id))
                .and_then(|r| r.aborted_at)
        };
        let aborted = stub(stack().await)
            .log()
            .wait(Duration::from_secs(10), find)
            .await;
        let aborted = aborted.unwrap_or_else(|| panic!("{id}: the upstream never noticed"));
        // A second when the machine is idle; both answers would take minutes.
        let after = aborted.saturating_duration_since(gone);
        println!("{id}: the upstream's stream was reset after {after:?}");
        assert!(after < Duration::from_secs(10), "{id}: {after:?}");
    }
    // Nothing stays reserved, and what was streamed is not free.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) && costs["currentSpendCents"].as_f64().unwrap() > 0.0 {
            return;
        }
        assert!(Instant::now() < end, "{costs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn dp_15_a_client_that_leaves_while_it_sends_its_body_costs_nothing() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    let closed = async || {
        let stats = scene
            .stack
            .envoy_stats("rateguard_requests_client_closed_total")
            .await
            .unwrap();
        stats.values().sum::<u64>()
    };
    let before = closed().await;
    let head = format!(
        "POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\n\
         x-test-id: dp-15-body\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"model\":",
        key.secret
    );
    let mut leaving = TcpStream::connect(scene.stack.addresses().gateway).await.unwrap();
    leaving.write_all(head.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_millis(300), leaving.read_u8())
        .await
        .expect_err("no answer before the body is whole");
    drop(leaving);
    let end = Instant::now() + Duration::from_secs(10);
    while closed().await <= before {
        assert!(Instant::now() < end, "the filter never noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let costs = scene.costs().await.unwrap();
    assert_eq!(
        (&costs["reservedCents"], &costs["currentSpendCents"]),
        (&json!(0), &json!(0)),
        "{costs}"
    );
    assert!(stub(stack().await).log().of_test("dp-15-body").is_empty());
}

#[tokio::test]
async fn up_10_a_truncated_stream_is_billed_and_flagged() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    for fault in ["truncate", "reset-mid", "chunk-error"] {
        let answer = Answer::try_of(scene.chat_stream(&key).header("x-stub-fault", fault)).await;
        assert!(
            answer.is_err() || answer.is_ok_and(|a| !a.text.contains("[DONE]")),
            "{fault}"
        );
    }
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) && costs["currentSpendCents"].as_f64().unwrap() > 0.0 {
            return;
        }
        assert!(Instant::now() < end, "{costs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
