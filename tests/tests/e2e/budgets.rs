//! Budgets: reserved before, settled after, shown in headers and by the REST API.

use crate::{bare_scene, scene, stack, stub};
use rateguard_tests::scene::{Answer, Key, Scene};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Waits until `/costs` is as wished.
async fn costs_become(scene: &Scene<'_>, wished: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let costs = scene.costs().await.unwrap();
        if wished(&costs) {
            return costs;
        }
        assert!(Instant::now() < end, "{costs:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn budgeted(cents: Value) -> (Scene<'static>, Key) {
    let scene = bare_scene().await;
    scene.hard_budget(cents).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    (scene, key)
}

#[tokio::test]
async fn a_request_is_charged_what_it_used_to_the_nano_dollar() {
    let (scene, key) = budgeted(json!(1000)).await;
    let answer = Answer::of(
        scene
            .chat(&key)
            .header("x-stub-usage", "prompt=1234,completion=567"),
    )
    .await;
    // 1 cent per 1 000 in, 2 cents per 1 000 out.
    assert_eq!(
        answer.header("x-rateguard-cost-cents"),
        "2.368",
        "{:#?}",
        answer.headers
    );
    assert_eq!(answer.header("x-rateguard-tokens-input"), "1234");
    assert_eq!(answer.header("x-rateguard-tokens-output"), "567");
    assert_eq!(answer.header("x-rateguard-budget-limit"), "1000");
    assert_eq!(answer.header("x-rateguard-budget-used"), "2.368");
    assert_eq!(answer.header("x-rateguard-budget-remaining"), "997.632");
    let costs = costs_become(&scene, |c| {
        c["reservedCents"] == json!(0) && c["currentSpendCents"] != json!(0)
    })
    .await;
    assert_eq!(costs["currentSpendCents"], json!(2.368));
    assert_eq!(costs["budgetCents"], json!(1000));
    assert_eq!(costs["remainingCents"], json!(997.632));
    for field in [
        "percentUsed",
        "dailyRateCents",
        "projectedMonthEndCents",
        "autoShutoff",
        "budgets",
    ] {
        assert!(costs.get(field).is_some(), "no {field}: {costs}");
    }
}

#[tokio::test]
async fn concurrent_spend_adds_up_to_what_the_headers_said() {
    let (scene, key) = budgeted(json!(100_000)).await;
    let mut requests = tokio::task::JoinSet::new();
    for i in 0..40 {
        requests.spawn(Answer::of(
            scene
                .chat(&key)
                .header("x-stub-usage", format!("prompt={i},completion=10")),
        ));
    }
    // Exact: tenths of a thousandth of a cent.
    let mut sum = 0_i64;
    while let Some(answer) = requests.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        let cents: f64 = answer.header("x-rateguard-cost-cents").parse().unwrap();
        sum += (cents * 1e7).round() as i64;
    }
    let costs = costs_become(&scene, |c| c["reservedCents"] == json!(0)).await;
    let spent = (costs["currentSpendCents"].as_f64().unwrap() * 1e7).round() as i64;
    assert_eq!(spent, sum);
}

#[tokio::test]
async fn overuse_is_written_and_then_refuses() {
    let (scene, key) = budgeted(json!(1)).await;
    // 50 tokens at most are promised, so it is admitted; the upstream bills 2 000.
    let answer = Answer::of(
        scene
            .chat(&key)
            .header("x-stub-usage", "prompt=10,completion=2000"),
    )
    .await;
    assert_eq!(answer.status, 200);
    let costs = costs_become(&scene, |c| c["reservedCents"] == json!(0)).await;
    assert_eq!(costs["currentSpendCents"], json!(4.01));
    assert_eq!(costs["remainingCents"], json!(0));
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 402);
}

#[tokio::test]
async fn a_soft_budget_records_and_lets_pass() {
    let scene = bare_scene().await;
    let soft = json!({"monthlyBudgetCents": 0.001, "autoShutoff": false});
    scene
        .rest(reqwest::Method::PATCH, "/budget", &soft)
        .await
        .unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    let costs = costs_become(&scene, |c| {
        c["reservedCents"] == json!(0) && c["currentSpendCents"] != json!(0)
    })
    .await;
    assert!(costs["percentUsed"].as_f64().unwrap() > 100.0, "{costs}");
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
}

#[tokio::test]
async fn per_request_prices_are_exact_and_an_upstream_error_costs_nothing() {
    let scene = bare_scene().await;
    scene.flat(stub(stack().await).addr(), "0.25").await.unwrap();
    scene.hard_budget(json!(100)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();
    let answer = Answer::of(scene.flat_request(&key)).await;
    assert_eq!(
        (answer.status, answer.header("x-rateguard-cost-cents")),
        (200, "0.25"),
        "{}",
        answer.text
    );
    let reset = Answer::of(scene.flat_request(&key).header("x-stub-fault", "reset")).await;
    assert_eq!(reset.status, 502);
    let costs = costs_become(&scene, |c| c["reservedCents"] == json!(0)).await;
    assert_eq!(costs["currentSpendCents"], json!(0.25), "{costs}");
}

#[tokio::test]
async fn without_a_budget_there_are_no_budget_headers() {
    let (scene, key) = scene().await;
    let answer = Answer::of(scene.chat(&key)).await;
    assert_eq!(answer.status, 200);
    for name in [
        "x-rateguard-budget-used",
        "x-rateguard-budget-limit",
        "x-rateguard-budget-remaining",
    ] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}

/// What a streamed answer without `max_tokens` was estimated at, in cents: its headers tell the spend with the estimate.
async fn estimate_of_unbounded(scene: &Scene<'_>, key: &Key) -> f64 {
    let costs = costs_become(scene, |c| c["reservedCents"] == json!(0)).await;
    let body =
        json!({"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let request = scene
        .request(reqwest::Method::POST, "/proxy/openai/v1/chat/completions", key)
        .json(&body)
        .header("x-stub-usage", "prompt=5,completion=10");
    let answer = Answer::of(request).await;
    let used: f64 = answer.header("x-rateguard-budget-used").parse().unwrap();
    // Reserved so far by the call itself only: it waits for its settlement before the next.
    costs_become(scene, |c| c["currentSpendCents"] != costs["currentSpendCents"]).await;
    used - costs["currentSpendCents"].as_f64().unwrap()
}

#[tokio::test]
async fn an_unbounded_answer_is_estimated_by_what_was_learned() {
    let (scene, key) = budgeted(json!(1000)).await;
    // The model's default is 100 tokens, 0.2 cents; the answers have 10.
    let first = estimate_of_unbounded(&scene, &key).await;
    assert!((0.2..0.25).contains(&first), "{first}");
    // Each worker learns for itself.
    for _ in 0..40 {
        let learned = estimate_of_unbounded(&scene, &key).await;
        if learned < 0.1 {
            assert!(learned >= 0.02, "{learned}");
            return;
        }
    }
    panic!("nothing was learned from forty answers");
}
