//! Requests that wait at the same time are reserved together. Leases are off, so that each of them waits.

use crate::reservations::limits_metric;
use crate::{BUSY, eventually, gateway_with};
use rateguard_tests::load::Shot;
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::{Link, Part, Stack, StackBuilder};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ADMITTED: &str = "rateguard_limits_reserves_total{outcome=\"admitted\"}";
const PATIENCE: Duration = Duration::from_secs(20);

fn without_leases(folder: &tempfile::TempDir) -> PathBuf {
    gateway_with(
        folder,
        r#""mode": "gateway","#,
        r#""mode": "gateway", "leases": false,"#,
    )
}

/// A loaded machine must not make Redis look away: memory would answer, and each request ask for itself.
fn patient() -> StackBuilder {
    Stack::builder().limits_env("REDIS_TIMEOUT_MS", "5000").workers(1)
}

/// One cent a request to `flat`, tokens to `openai`, and a hard budget.
async fn budgeted(stack: &Stack, cents: u64) -> (Scene<'_>, Key) {
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.flat(stack.stub().addr(), "1").await.expect("an API");
    scene.openai(stack.stub().addr()).await.expect("an API");
    scene.hard_budget(json!(cents)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    (scene, key)
}

fn shot(key: &Key) -> Shot {
    let authorization = format!("Bearer {}", key.secret);
    Shot::post("/proxy/flat/x", &[("authorization", authorization.as_str())], "")
}

async fn stat(stack: &Stack, name: &str) -> u64 {
    let stats = stack.envoy_stats(name).await.expect("Envoy's admin answers");
    stats.values().sum()
}

/// Waits until nothing is held, and answers what was spent, in cents.
async fn spent(scene: &Scene<'_>) -> f64 {
    let mut costs = Value::Null;
    eventually("nothing is held any more", PATIENCE, async || {
        costs = scene.costs().await.unwrap_or_default();
        costs["reservedCents"] == json!(0)
    })
    .await;
    costs["currentSpendCents"].as_f64().expect("a number")
}

#[tokio::test]
async fn switched_off_each_request_has_a_call_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let off = r#""mode": "gateway", "leases": false, "jointReservations": false,"#;
    let config = gateway_with(&folder, r#""mode": "gateway","#, off);
    let stack = patient().envoy_config(&config).start().await;
    let stack = stack.expect("the Stack starts");
    let (scene, key) = budgeted(&stack, 100_000).await;
    let before = limits_metric(&stack, ADMITTED).await;
    let fired = shot(&key).fire(stack.addresses().gateway, 32, 500).await;
    let fired = fired.expect("answers");
    assert_eq!(fired.count(200), 500, "{:?}", fired.statuses);
    let calls = limits_metric(&stack, ADMITTED).await - before;
    assert!((calls - 500.0).abs() < 0.5, "{calls} calls for 500 requests");
    assert!((spent(&scene).await - 500.0).abs() < 1e-9);
}

#[tokio::test]
async fn who_waits_together_shares_a_call_and_pays_alone() {
    let folder = tempfile::tempdir().unwrap();
    let stack = patient().envoy_config(&without_leases(&folder)).start().await;
    let stack = stack.expect("the Stack starts");
    let (scene, key) = budgeted(&stack, 100_000).await;
    let before = limits_metric(&stack, ADMITTED).await;
    let gateway = stack.addresses().gateway;
    let fired = shot(&key).fire(gateway, 32, 2_000).await.expect("answers");
    assert_eq!(fired.count(200), 2_000, "{:?}", fired.statuses);
    let calls = limits_metric(&stack, ADMITTED).await - before;
    assert!(calls < 1_000.0, "{calls} calls for 2000 requests");
    assert!((spent(&scene).await - 2_000.0).abs() < 1e-9);
    eventually("the counts are handed over", PATIENCE, async || {
        stat(&stack, "rateguard_requests_admitted_total").await >= 2_000
    })
    .await;
    let jointly = stat(&stack, "rateguard_joint_admissions_total").await;
    assert!(
        jointly > 1_000,
        "{jointly} of 2000 requests were admitted jointly"
    );
    assert_eq!(stat(&stack, "rateguard_lease_draws_total").await, 0);

    // Each has a price of its own, and running times of their own.
    let mut answers = JoinSet::new();
    for n in 1..=40 {
        let request = scene
            .chat(&key)
            .header("x-stub-usage", format!("prompt={},completion={n}", n * 1_000))
            .header("x-stub-delay-ms", (n * 20).to_string());
        answers.spawn(Answer::of(request));
    }
    let mut cents = 2_000.0;
    while let Some(answer) = answers.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!(answer.status, 200, "{}", answer.text);
        cents += answer
            .header("x-rateguard-cost-cents")
            .parse::<f64>()
            .expect("cents");
    }
    let spent = spent(&scene).await;
    assert!((spent - cents).abs() < 1e-6, "{spent} spent, {cents} told");
    assert_eq!(stat(&stack, "rateguard_settlements_dropped_total").await, 0);

    // All of them at once on a budget for a tenth of them.
    let (scene, key) = budgeted(&stack, 100).await;
    let fired = shot(&key).fire(gateway, 1_000, 1_000).await.expect("answers");
    assert_eq!(
        (fired.count(200), fired.count(402)),
        (100, 900),
        "{:?}",
        fired.statuses
    );
    assert!((self::spent(&scene).await - 100.0).abs() < 1e-9);
    assert_eq!(stat(&stack, "rateguard_requests_degraded_total").await, 0);
}

/// So many chat requests at once; how long the slowest took, and the statuses.
async fn chats(scene: &Scene<'_>, key: &Key, count: usize) -> (Duration, Vec<(u16, String)>) {
    let mut answers = JoinSet::new();
    for _ in 0..count {
        let request = scene.flat_request(key);
        answers.spawn(async move {
            let start = Instant::now();
            let answer = Answer::of(request).await;
            let degraded = answer.header("x-rateguard-degraded").to_owned();
            (start.elapsed(), (answer.status, degraded))
        });
    }
    let told = answers.join_all().await;
    let slowest = told.iter().map(|(elapsed, _)| *elapsed).max().unwrap_or_default();
    (slowest, told.into_iter().map(|(_, told)| told).collect())
}

/// What the gateway waits for the limit service here.
const DEADLINE_MS: u32 = 1_500;

/// The failure mode let each of them pass, soon after the deadline.
fn opened_in_time(slowest: Duration, told: &[(u16, String)]) {
    assert!(
        told.iter().all(|told| *told == (200, "true".to_owned())),
        "{told:?}"
    );
    println!("the slowest was decided after {slowest:?}");
    assert!(
        slowest < Duration::from_millis(DEADLINE_MS.into()) + BUSY,
        "{slowest:?}"
    );
}

#[tokio::test]
async fn dp_16_who_waits_while_the_limit_service_dies_is_decided_by_its_failure_mode_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let stack = patient()
        .envoy_config(&without_leases(&folder))
        .proxied(Link::EnvoyToLimits)
        .reserve_timeout_ms(DEADLINE_MS)
        .start()
        .await
        .expect("the Stack starts");
    // Of a budget whose ledger is silent a thousandth is open.
    let (scene, key) = budgeted(&stack, 1_000_000).await;
    let wire = stack.proxy(Link::EnvoyToLimits);

    wire.set(Wire::Swallow);
    let (slowest, told) = chats(&scene, &key, 60).await;
    opened_in_time(slowest, &told);

    wire.set(Wire::Delay(Duration::from_millis(500)));
    let (dying, ()) = tokio::join!(chats(&scene, &key, 60), async {
        eventually("they wait", PATIENCE, async || {
            stat(&stack, "downstream_rq_active").await >= 20
        })
        .await;
        stack.kill(Part::Limits);
    });
    let (slowest, told) = dying;
    opened_in_time(slowest, &told);

    wire.set(Wire::Pass);
    stack.restart(Part::Limits).await.expect("it starts again");
    eventually("each is charged, and once", PATIENCE, async || {
        let costs = scene.costs().await.unwrap_or_default();
        costs["reservedCents"] == json!(0) && costs["currentSpendCents"] == json!(120)
    })
    .await;
}

#[tokio::test]
async fn dp_15_who_leaves_while_it_waits_leaves_nothing_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let stack = patient()
        .envoy_config(&without_leases(&folder))
        .proxied(Link::EnvoyToLimits)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = budgeted(&stack, 100_000).await;
    let before = limits_metric(&stack, ADMITTED).await;
    let wire = stack.proxy(Link::EnvoyToLimits);
    wire.set(Wire::Delay(Duration::from_millis(300)));
    // One asks, the others wait for it or share a call; every other one leaves.
    let mut answers = JoinSet::new();
    for n in 0..40 {
        let request = scene.flat_request(&key);
        let request = if n % 2 == 0 {
            request.timeout(Duration::from_millis(200))
        } else {
            request
        };
        answers.spawn(Answer::try_of(request));
    }
    let told = answers.join_all().await;
    let answered = told
        .iter()
        .flatten()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(answered, 20, "{told:?}");
    assert!(limits_metric(&stack, ADMITTED).await > before);
    wire.set(Wire::Pass);
    eventually("only who stayed is charged", PATIENCE, async || {
        let costs = scene.costs().await.unwrap_or_default();
        costs["reservedCents"] == json!(0) && costs["currentSpendCents"] == json!(20)
    })
    .await;
}
