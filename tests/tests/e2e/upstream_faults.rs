//! FAULTS group UP: answers made to confuse the usage reader, through real Envoy.

use crate::{bare_scene, scene, stack, stub};
use rateguard_tests::scene::Answer;
use serde_json::json;

#[tokio::test]
async fn dp_14_an_upstream_that_breaks_while_its_answer_is_held() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    for fault in ["truncate", "reset-mid"] {
        let answer = Answer::try_of(scene.chat(&key).header("x-stub-fault", fault)).await;
        if let Ok(answer) = answer {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (502, "upstream_error"),
                "{fault}: {}",
                answer.text
            );
        }
    }
    assert_eq!(
        Answer::of(scene.chat(&key)).await.status,
        200,
        "and the next one is served"
    );
}

#[tokio::test]
async fn dp_18_local_replies_are_not_read_as_usage() {
    let scene = bare_scene().await;
    let refused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    scene.flat(refused, "5").await.unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    for _ in 0..3 {
        assert_eq!(Answer::of(scene.flat_request(&key)).await.status, 502);
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) {
            assert_eq!(costs["currentSpendCents"], json!(0), "{costs}");
            return;
        }
        assert!(std::time::Instant::now() < end, "{costs}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_compressed_answer_passes_untouched_and_is_estimated() {
    let (scene, key) = scene().await;
    let request = scene
        .chat(&key)
        .header("accept-encoding", "gzip")
        .header("x-test-id", "gzip");
    let response = request.header("x-stub-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let cost: f64 = response.headers()["x-rateguard-cost-cents"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(cost > 0.0, "estimated, not free");
    assert!(response.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
    let received = stub(stack().await).log().of_test("gzip").pop().unwrap();
    assert!(
        matches!(received.header("accept-encoding"), None | Some("identity")),
        "{:?}",
        received.header("accept-encoding")
    );
}

#[tokio::test]
async fn up_10_a_truncated_json_answer_is_not_free() {
    let (scene, key) = scene().await;
    scene.hard_budget(json!(1000)).await.unwrap();
    scene.in_force().await.unwrap();
    // Too large to be held, so it streams and breaks off.
    let request = scene
        .chat(&key)
        .header("x-stub-pad-bytes", (6 << 20).to_string())
        .header("x-stub-fault", "truncate");
    assert!(Answer::try_of(request).await.is_err());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let costs = scene.costs().await.unwrap();
        if costs["reservedCents"] == json!(0) && costs["currentSpendCents"].as_f64().unwrap() > 0.0 {
            return;
        }
        assert!(std::time::Instant::now() < end, "{costs}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn up_02_up_03_odd_line_ends_pass_unchanged() {
    let (scene, key) = scene().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/providers");
    for provider in ["openai", "anthropic"] {
        for entry in std::fs::read_dir(folder.join(provider)).expect("fixtures") {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_stream = match name.rsplit('.').next() {
                Some("sse") => true,
                Some("json") => false,
                _ => continue,
            };
            let expected = std::fs::read(folder.join(provider).join(&name)).unwrap();
            let request = if provider == "openai" {
                // A client that asks for usage gets every byte of it.
                let mut body = rateguard_tests::scene::chat_body(is_stream);
                body["stream_options"] = json!({"include_usage": true});
                scene
                    .request(reqwest::Method::POST, "/proxy/openai/v1/chat/completions", &key)
                    .json(&body)
            } else {
                scene.message(&key, is_stream)
            };
            let request = request
                .header("x-stub-fixture", format!("{provider}/{name}"))
                .header("x-stub-chunk-bytes", "13");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{name}");
            assert_eq!(response.bytes().await.unwrap(), expected, "{provider}/{name}");
        }
    }
}

#[tokio::test]
async fn ca_07_a_redirect_is_handed_on_and_never_followed() {
    let (scene, key) = scene().await;
    let stub = stub(stack().await);
    // Where a followed redirect would be seen: the stub itself, in place of a metadata service.
    let inside = format!("http://{}/latest/meta-data/ca-07-inside", stub.addr());
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    for status in ["301", "302", "303", "307", "308"] {
        let request = scene
            .chat(&key)
            .header("x-test-id", "ca-07")
            .header("x-stub-status", status)
            .header("x-stub-location", &inside)
            .build()
            .unwrap();
        let answer = client.execute(request).await.unwrap();
        assert_eq!(answer.status().as_str(), status);
        assert_eq!(
            answer.headers()["location"],
            inside.as_str(),
            "as the provider said it"
        );
    }
    let inside = |target: &str| target.contains("ca-07-inside");
    assert!(!stub.log().all().iter().any(|received| inside(&received.target)));
    assert_eq!(stub.log().of_test("ca-07").len(), 5);
}
