//! Reservations of answers that take long, of callers that leave, and of an Envoy that dies.

use crate::{BUSY, eventually, gateway_with};
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::{Link, Part, Stack};
use serde_json::{Value, json};
use std::time::Duration;

async fn budgeted(stack: &Stack) -> (Scene<'_>, Key) {
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.openai(stack.stub().addr()).await.expect("an API");
    scene.hard_budget(json!(1000)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    (scene, key)
}

/// Answers whether `/costs` is as wished.
async fn costs(scene: &Scene<'_>, wished: impl Fn(&Value) -> bool) -> bool {
    scene.costs().await.is_ok_and(|costs| wished(&costs))
}

/// A metric of the limit service.
pub(crate) async fn limits_metric(stack: &Stack, name: &str) -> f64 {
    let url = format!("http://{}/metrics", stack.addresses().limits_http);
    let text = Answer::of(stack.client().get(url)).await.text;
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line
        .and_then(|line| line.rsplit_once(' '))
        .map(|(_, value)| value.parse());
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .expect("a number")
}

#[tokio::test]
async fn a_running_stream_keeps_its_reservation_and_one_whose_envoy_died_is_charged() {
    let folder = tempfile::tempdir().unwrap();
    let config = gateway_with(
        &folder,
        r#""reserveTimeoutMs": ${RESERVE_TIMEOUT_MS}"#,
        r#""reserveTimeoutMs": ${RESERVE_TIMEOUT_MS}, "reservationTtlMs": 3000, "renewIntervalMs": 500"#,
    );
    let stack = Stack::builder()
        .envoy_config(&config)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = budgeted(&stack).await;
    let stream = |words: &str| {
        scene
            .chat_stream(&key)
            .header("x-stub-words", words)
            .header("x-stub-chunk-delay-ms", "500")
            .header("x-stub-usage", "prompt=1000,completion=500")
    };
    // Fourteen seconds, with lives of three.
    let answer = tokio::spawn(Answer::of(stream("25")));
    eventually("it is reserved", BUSY, async || {
        costs(&scene, |c| c["reservedCents"] != json!(0)).await
    })
    .await;
    let mut looks = 0;
    while !answer.is_finished() {
        let held = costs(&scene, |c| {
            c["reservedCents"] != json!(0) && c["currentSpendCents"] == json!(0)
        })
        .await;
        // The answer may have come to its end between the two.
        assert!(held || looks > 4, "its reservation is gone while it runs");
        looks += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(looks > 12, "it ran for {looks} looks only");
    assert!(answer.await.unwrap().text.ends_with("data: [DONE]\n\n"));
    eventually("it is settled", BUSY, async || {
        costs(&scene, |c| {
            c["reservedCents"] == json!(0) && c["currentSpendCents"] == json!(2)
        })
        .await
    })
    .await;
    let expired = "rateguard_limits_reservations_expired_total";
    assert!(
        limits_metric(&stack, expired).await < 1.0,
        "charged a second time, as expired"
    );

    let answer = tokio::spawn(Answer::try_of(stream("1000")));
    eventually("it is reserved", BUSY, async || {
        costs(&scene, |c| c["reservedCents"] != json!(0)).await
    })
    .await;
    stack.kill(Part::Envoy);
    assert!(answer.await.unwrap().is_err());
    eventually("it is charged as reserved", Duration::from_secs(20), async || {
        costs(&scene, |c| {
            c["reservedCents"] == json!(0) && c["currentSpendCents"].as_f64().unwrap_or_default() > 2.0
        })
        .await
    })
    .await;
    assert!(limits_metric(&stack, expired).await >= 1.0);
}

#[tokio::test]
async fn dp_15_what_was_reserved_for_a_client_that_left_meanwhile_is_given_back() {
    let stack = Stack::builder()
        .proxied(Link::EnvoyToLimits)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = budgeted(&stack).await;
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    eventually("it is settled", BUSY, async || {
        costs(&scene, |c| {
            c["reservedCents"] == json!(0) && c["currentSpendCents"] != json!(0)
        })
        .await
    })
    .await;
    let before = scene.costs().await.unwrap()["currentSpendCents"].clone();
    let reserves = "rateguard_limits_reserves_total{outcome=\"admitted\"}";
    let admitted = limits_metric(&stack, reserves).await;

    let wire = stack.proxy(Link::EnvoyToLimits);
    wire.set(Wire::Delay(Duration::from_millis(400)));
    let leaving = scene
        .chat(&key)
        .header("x-test-id", "left-while-reserving")
        .timeout(Duration::from_millis(150));
    assert!(leaving.send().await.is_err(), "the client left");
    eventually("the ledger admits it, too late", BUSY, async || {
        limits_metric(&stack, reserves).await > admitted
    })
    .await;
    // By a release: what nobody releases stays reserved for a minute.
    wire.set(Wire::Pass);
    eventually("all of it is back", BUSY, async || {
        costs(&scene, |c| {
            c["reservedCents"] == json!(0) && c["currentSpendCents"] == before
        })
        .await
    })
    .await;
    // It stays so: the release was for that reservation, not ahead of it.
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    assert!(
        stack.stub().log().of_test("left-while-reserving").is_empty(),
        "nobody waits for it, and yet it went upstream"
    );
}

#[tokio::test]
async fn e503_circuit_open_when_an_api_has_as_many_requests_as_its_breaker_allows() {
    let folder = tempfile::tempdir().unwrap();
    // Envoy's runtime makes one breaker small: the 16 384 requests of the real one are too many for a test.
    let config = gateway_with(
        &folder,
        "static_resources:\n",
        "layered_runtime: { layers: [{ name: admin, admin_layer: {} }] }\n\nstatic_resources:\n",
    );
    let stack = Stack::builder()
        .envoy_config(&config)
        .start()
        .await
        .expect("the Stack starts");
    let scene = Scene::new(&stack).await.expect("a workspace");
    let api = scene.flat(stack.stub().addr(), "1").await.expect("an API");
    scene.hard_budget(json!(1000)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    let breaker = format!("circuit_breakers.api_{api}.default.max_requests");
    let url = format!("http://{}/runtime_modify", stack.addresses().admin);
    let set = Answer::of(stack.client().post(url).query(&[(breaker.as_str(), "1")])).await;
    assert_eq!(set.status, 200, "{}", set.text);

    let slow = scene
        .flat_request(&key)
        .header("x-test-id", "circuit-slow")
        .header("x-stub-delay-ms", "60000");
    let slow = tokio::spawn(slow.send());
    let arrived = stack
        .stub()
        .log()
        .wait_for_test("circuit-slow", Duration::from_secs(10))
        .await;
    assert!(arrived.is_some(), "the slow request did not reach the upstream");
    for _ in 0..3 {
        let answer = Answer::of(scene.flat_request(&key).header("x-test-id", "circuit-open")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "circuit_open"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json()["error"]["type"], "api_error");
        assert_eq!(
            answer.json()["requestId"],
            answer.header("x-rateguard-request-id")
        );
        assert_eq!(answer.header("x-rateguard-cost-cents"), "0");
    }
    assert!(stack.stub().log().of_test("circuit-open").is_empty());
    slow.abort();
    eventually("the breaker closes", Duration::from_secs(10), async || {
        Answer::of(scene.flat_request(&key)).await.status == 200
    })
    .await;
    eventually(
        "what the breaker refused is given back, the two others are charged",
        Duration::from_secs(10),
        async || {
            costs(&scene, |c| {
                c["reservedCents"] == json!(0) && c["currentSpendCents"] == json!(2)
            })
            .await
        },
    )
    .await;
}
