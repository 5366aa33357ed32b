//! Hot keys: workers admit from leases, and the books still balance to the nano-dollar.

use crate::{eventually, gateway_with};
use rateguard_tests::load::Shot;
use rateguard_tests::scene::{Key, Scene};
use rateguard_tests::stack::{Part, Stack, StackBuilder};
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A loaded machine must not make Redis look away: memory would answer, and give no leases.
fn patient() -> StackBuilder {
    Stack::builder().limits_env("REDIS_TIMEOUT_MS", "5000")
}

/// One cent a request, and a hard budget.
async fn budgeted(stack: &Stack, cents: u64) -> (Scene<'_>, Key) {
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.flat(stack.stub().addr(), "1").await.expect("an API");
    scene.hard_budget(json!(cents)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    (scene, key)
}

/// The upstream takes so long for it.
fn shot(key: &Key, upstream_ms: u32) -> Shot {
    let authorization = format!("Bearer {}", key.secret);
    let delay = upstream_ms.to_string();
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-stub-delay-ms", &delay),
    ];
    Shot::post("/proxy/flat/x", &headers, "")
}

async fn stat(stack: &Stack, name: &str) -> u64 {
    let stats = stack.envoy_stats(name).await.expect("Envoy's admin answers");
    stats.values().sum()
}

/// Waits until nothing is held, and answers what was spent, in cents.
async fn spent(scene: &Scene<'_>, deadline: Duration) -> u64 {
    let mut cents = 0.0;
    eventually("nothing is held any more", deadline, async || {
        let costs = scene.costs().await.unwrap_or_default();
        cents = costs["currentSpendCents"].as_f64().unwrap_or(-1.0);
        costs["reservedCents"] == json!(0)
    })
    .await;
    assert!(cents.fract().abs() < f64::EPSILON, "a part of a cent: {cents}");
    cents as u64
}

#[tokio::test]
async fn rl_01_a_hot_key_on_two_workers_gets_its_budget_and_not_a_request_more() {
    let stack = patient().start().await.expect("the Stack starts");
    // At most 600 requests a second: as long as more than two seconds' worth is left, there are leases.
    let (scene, key) = budgeted(&stack, 3_000).await;
    let gateway = stack.addresses().gateway;
    let shot = shot(&key, 20);
    let first = shot.fire(gateway, 12, 1_000).await.expect("answers");
    assert_eq!(first.count(200), 1_000, "{:?}", first.statuses);
    assert_eq!(spent(&scene, PATIENCE).await, 1_000);
    let drawn = stat(&stack, "rateguard_lease_draws_total").await;
    assert!(drawn > 100, "{drawn} of 1000 requests were admitted from leases");

    // Over the end of the budget, and again when what leases held is back.
    let over = shot.fire(gateway, 12, 2_500).await.expect("answers");
    assert_eq!(over.count(200) + over.count(402), 2_500, "{:?}", over.statuses);
    assert!(over.count(200) <= 2_000, "{:?}", over.statuses);
    assert_eq!(spent(&scene, PATIENCE).await, 1_000 + over.count(200));
    let rest = shot.fire(gateway, 12, 500).await.expect("answers");
    assert_eq!(over.count(200) + rest.count(200), 2_000, "{:?}", rest.statuses);
    assert_eq!(spent(&scene, PATIENCE).await, 3_000);
    assert_eq!(stat(&stack, "rateguard_settlements_dropped_total").await, 0);
}

#[tokio::test]
async fn dp_22_an_envoy_killed_while_it_leases_leaves_only_what_was_not_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = gateway_with(
        &folder,
        r#""reserveTimeoutMs": ${RESERVE_TIMEOUT_MS}"#,
        r#""reserveTimeoutMs": ${RESERVE_TIMEOUT_MS}, "reservationTtlMs": 3000, "renewIntervalMs": 500"#,
    );
    let stack = patient()
        .envoy_config(&config)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = budgeted(&stack, 100_000).await;
    let gateway = stack.addresses().gateway;
    let fired = shot(&key, 0).fire(gateway, 32, 2_000).await.expect("answers");
    stack.kill(Part::Envoy);
    assert_eq!(fired.count(200), 2_000, "{:?}", fired.statuses);
    let held = scene.costs().await.expect("costs")["reservedCents"].clone();
    assert_ne!(held, json!(0), "leases were open");
    let held = held.as_f64().unwrap_or_default() as u64;
    let spent = spent(&scene, PATIENCE).await;
    assert!(
        (2_000..=2_000 + held).contains(&spent),
        "{spent} cents were charged, {held} of them for leases that nobody settled"
    );
}
