//! Changed request bodies on kept-alive connections: no surplus byte reaches the next request (DESIGN fact 5).

use crate::{scene, stack, stub};
use rateguard_tests::scene::Answer;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn dp_10_an_injected_body_leaves_the_upstream_connection_intact() {
    let (scene, key) = scene().await;
    let path = "/proxy/openai/v1/chat/completions";
    // Text that would be a request of its own, had the length stayed what it was.
    let smuggled = "x\r\n\r\nGET /admin HTTP/1.1\r\nhost: upstream\r\n\r\n";
    for round in 0..10 {
        let body = json!({"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": smuggled}]});
        let request = scene
            .request(Method::POST, path, &key)
            .header("x-test-id", "dp-10");
        assert_eq!(Answer::of(request.json(&body)).await.status, 200, "round {round}");
        let plain = scene.chat(&key).header("x-test-id", "dp-10");
        assert_eq!(Answer::of(plain).await.status, 200, "round {round}");
    }
    let log = stub(stack().await).log();
    let received = log.of_test("dp-10");
    assert_eq!(received.len(), 20);
    let mut connections: Vec<u64> = received.iter().map(|r| r.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert!(
        connections.len() < 20,
        "connections were kept alive, or this proves nothing"
    );
    assert!(
        log.all().iter().all(|r| r.target != "/admin"),
        "a request was smuggled"
    );
    for request in &received {
        let body: Value = serde_json::from_slice(&request.body).expect("a whole JSON body");
        if body["stream"] == json!(true) {
            assert_eq!(body["messages"][0]["content"], smuggled);
            assert_eq!(
                request.header("content-length"),
                None,
                "its length was not known when the head went out"
            );
        }
    }
}

#[tokio::test]
async fn everything_but_the_injection_passes_byte_for_byte() {
    let (scene, key) = scene().await;
    let path = "/proxy/openai/v1/chat/completions";
    let body = "{ \"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\\ud83d\\ude00 \u{1f600}\"}],\n \"stream\" : true , \"model\":\"gpt-4o-mini\",\"seed\":1e3 }";
    let request = scene
        .request(Method::POST, path, &key)
        .header("x-test-id", "bytes")
        .header("content-type", "application/json");
    assert_eq!(Answer::of(request.body(body)).await.status, 200);
    let sent = stub(stack().await).log().of_test("bytes").pop().unwrap().body;
    let sent = String::from_utf8(sent).unwrap();
    let at = sent.find("\"stream_options\"").expect("injected");
    let without = sent.replacen("\"stream_options\":{\"include_usage\":true}", "", 1);
    let squeezed = |s: &str| s.replace([',', ' ', '\n'], "");
    assert_eq!(squeezed(&without), squeezed(body), "at {at}: {sent}");

    let plain = "{\"model\":\"gpt-4o-mini\", \"stream\":false,\"messages\":[ ] }";
    let request = scene
        .request(Method::POST, path, &key)
        .header("x-test-id", "plain")
        .header("content-type", "application/json");
    assert_eq!(Answer::of(request.body(plain)).await.status, 200);
    assert_eq!(
        stub(stack().await).log().of_test("plain").pop().unwrap().body,
        plain.as_bytes()
    );
}
