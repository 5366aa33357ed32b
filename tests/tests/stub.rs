//! The stub upstream itself: what the end-to-end tests stand on.

use rateguard_tests::stub::Stub;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

async fn stub() -> Stub {
    Stub::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .expect("a free port")
}

fn chat(stub: &Stub, stream: bool) -> reqwest::RequestBuilder {
    reqwest::Client::new()
        .post(format!("{}/v1/chat/completions", stub.url()))
        .json(&json!({
            "model": "gpt-4o-mini", "stream": stream, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}],
        }))
}

#[tokio::test]
async fn answers_a_completion_with_the_wished_usage() {
    let stub = stub().await;
    let answer = chat(&stub, false)
        .header("x-stub-usage", "prompt=12,completion=7,cached=4")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["usage"]["prompt_tokens"], 12);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
    assert_eq!(
        body["choices"][0]["message"]["content"],
        "Hello! How can I assist"
    );
    assert_eq!(
        stub.log().all()[0].header("content-type"),
        Some("application/json")
    );
}

#[tokio::test]
async fn streams_with_a_usage_chunk_and_done_however_it_is_cut() {
    let stub = stub().await;
    let whole = chat(&stub, true).send().await.unwrap().text().await.unwrap();
    assert!(whole.ends_with("data: [DONE]\n\n"), "{whole}");
    assert!(
        whole.contains("\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,"),
        "{whole}"
    );
    let cut = chat(&stub, true)
        .header("x-stub-chunk-bytes", "7")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(whole, cut);
}

#[tokio::test]
async fn speaks_anthropic_with_named_events() {
    let stub = stub().await;
    let text = reqwest::Client::new()
        .post(format!("{}/v1/messages", stub.url()))
        .header("x-stub-usage", "prompt=30,completion=9,cached=10")
        .json(&json!({"model": "claude-sonnet-4-5", "max_tokens": 10, "stream": true, "messages": []}))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.starts_with("event: message_start\ndata: {"), "{text}");
    assert!(
        text.contains("\"input_tokens\":20") && text.contains("\"cache_read_input_tokens\":10"),
        "{text}"
    );
    assert!(text.contains("\"output_tokens\":9"), "{text}");
}

#[tokio::test]
async fn misbehaves_as_asked() {
    let stub = stub().await;
    for fault in ["reset", "close"] {
        assert!(
            chat(&stub, false)
                .header("x-stub-fault", fault)
                .send()
                .await
                .is_err(),
            "{fault}"
        );
    }
    for fault in ["truncate", "reset-mid"] {
        let answer = chat(&stub, false)
            .header("x-stub-fault", fault)
            .send()
            .await
            .unwrap();
        assert!(answer.text().await.is_err(), "{fault}");
    }
    let answer = chat(&stub, true)
        .header("x-stub-fault", "chunk-error")
        .send()
        .await
        .unwrap();
    assert!(answer.text().await.is_err());
    let gzip = chat(&stub, false)
        .header("x-stub-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(gzip.headers()["content-encoding"], "gzip");
    assert!(gzip.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
    let limited = chat(&stub, false)
        .header("x-stub-status", "429")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            limited.status().as_u16(),
            limited.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "7")
    );
}

#[tokio::test]
async fn notices_a_peer_that_goes_away() {
    let stub = stub().await;
    let request = chat(&stub, false)
        .header("x-stub-delay-ms", "60000")
        .header("x-test-id", "gone");
    assert!(request.timeout(Duration::from_millis(200)).send().await.is_err());
    let aborted = stub.log().wait(Duration::from_secs(5), |log| {
        log.iter()
            .find(|r| r.header("x-test-id") == Some("gone"))
            .and_then(|r| r.aborted_at)
    });
    assert!(aborted.await.is_some());
}
