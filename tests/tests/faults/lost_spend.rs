//! RL-17 through Envoy: a Redis that lost its counters, with ClickHouse behind. What was spent is never spent again.

use crate::eventually;
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::{Link, Stack};
use serde_json::json;
use std::time::{Duration, Instant};

/// Longer than the product allows, for a loaded machine.
const WITHIN: Duration = Duration::from_secs(60);

/// Cents of the budget, and requests that fit.
const BUDGET: u32 = 5;

async fn stack() -> Stack {
    let builder = Stack::builder().durable().clickhouse();
    let builder = builder.proxied(Link::ControlPlaneToClickHouse);
    builder.start().await.expect("the Stack starts")
}

/// A workspace that has spent its hard budget. `first` is done when one request was admitted.
async fn spent_up(stack: &Stack, first: impl Fn()) -> (Scene<'_>, Key) {
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.flat(stack.stub().addr(), "1").await.expect("an API");
    scene.hard_budget(json!(BUDGET)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    let mut admitted = 0;
    // A new workspace's spend is asked for once; a busy machine may need longer than a request waits.
    eventually("the budget is spent", WITHIN, async || {
        let answer = Answer::of(scene.flat_request(&key)).await;
        match answer.status {
            200 => {
                admitted += 1;
                if admitted == 1 {
                    first();
                }
            }
            402 => {}
            other => panic!("{other}: {}", answer.text),
        }
        admitted == BUDGET
    })
    .await;
    assert_eq!(Answer::of(scene.flat_request(&key)).await.status, 402);
    eventually("settled", WITHIN, async || {
        let costs = scene.costs().await;
        costs.is_ok_and(|costs| {
            costs["currentSpendCents"] == json!(BUDGET) && costs["reservedCents"] == json!(0)
        })
    })
    .await;
    (scene, key)
}

/// Nano-USD of the workspace in the ledger, asked past any proxy.
async fn in_ledger(stack: &Stack, workspace: &str) -> i64 {
    let url = stack.engines().clickhouse_url.clone().expect("ClickHouse");
    let (server, database) = url.rsplit_once('/').expect("a database");
    let sql = format!(
        "SELECT sum(cost_nanos) FROM spend_ledger WHERE workspace_id = '{workspace}' AND subject_kind = 'workspace'"
    );
    let request = stack.client().post(server).query(&[("database", database)]);
    let answer = request.body(sql).send().await.expect("ClickHouse answers");
    let text = answer.text().await.expect("a text");
    text.trim().parse().unwrap_or(0)
}

/// Asks until the refusal is the budget's own again. Nothing is admitted meanwhile.
async fn never_admitted(scene: &Scene<'_>, key: &Key) {
    let mut closed = 0;
    eventually("the spend is known again", WITHIN, async || {
        let answer = Answer::of(scene.flat_request(key)).await;
        assert_eq!(answer.status, 402, "{}", answer.text);
        let is_closed = answer.header("x-rateguard-degraded") == "true";
        closed += u32::from(is_closed);
        !is_closed
    })
    .await;
    let refusal = Answer::of(scene.flat_request(key)).await;
    assert_eq!(
        refusal.json()["error"]["details"]["used"],
        json!(BUDGET),
        "{}",
        refusal.text
    );
    println!("closed answers until the spend was known: {closed}");
    let costs = scene.costs().await.expect("costs");
    assert_eq!(costs["currentSpendCents"], json!(BUDGET));
}

#[tokio::test]
async fn rl_17_after_flushall_a_spent_budget_admits_nothing() {
    let stack = stack().await;
    let (scene, key) = spent_up(&stack, || ()).await;
    let wanted = i64::from(BUDGET) * 10_000_000;
    eventually("it is in the ledger", WITHIN, async || {
        in_ledger(&stack, &scene.workspace_id).await == wanted
    })
    .await;
    stack.redis_command(&["FLUSHALL"]).await.expect("FLUSHALL");
    never_admitted(&scene, &key).await;
}

#[tokio::test]
async fn rl_17_what_is_still_on_the_bus_is_waited_for() {
    let stack = stack().await;
    // From the second request on nothing reaches the ledger: rows wait on the bus.
    let cut = || stack.proxy(Link::ControlPlaneToClickHouse).set(Wire::Reset);
    let (scene, key) = spent_up(&stack, cut).await;
    let wanted = i64::from(BUDGET) * 10_000_000;
    assert!(in_ledger(&stack, &scene.workspace_id).await < wanted);
    // The ledger's own keys of the workspace: streams are in the same Redis, and stay.
    let lose = format!(
        "for _, key in ipairs(redis.call('KEYS', 'rg1:{{{}}}:*')) do redis.call('DEL', key) end",
        scene.workspace_id
    );
    stack.redis_command(&["EVAL", &lose, "0"]).await.expect("lost");
    for _ in 0..10 {
        let answer = Answer::of(scene.flat_request(&key)).await;
        assert_eq!(
            (answer.status, answer.header("x-rateguard-degraded")),
            (402, "true"),
            "{}",
            answer.text
        );
    }
    stack.proxy(Link::ControlPlaneToClickHouse).set(Wire::Pass);
    never_admitted(&scene, &key).await;
}

/// A metric of the control plane.
async fn metric(stack: &Stack, name: &str) -> i64 {
    let url = format!("{}/metrics", stack.console_url());
    let text = Answer::of(stack.client().get(url)).await.text;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn rl_10_ev_13_what_a_failover_lost_is_raised_within_a_minute() {
    let stack = stack().await;
    let (scene, key) = spent_up(&stack, || ()).await;
    let wanted = i64::from(BUDGET) * 10_000_000;
    eventually("it is in the ledger", WITHIN, async || {
        in_ledger(&stack, &scene.workspace_id).await == wanted
    })
    .await;
    // The last writes are gone, and the mark is not: nobody can tell.
    let lose = format!(
        "for _, key in ipairs(redis.call('KEYS', 'rg1:{{{}}}:b:*')) do redis.call('DEL', key) end",
        scene.workspace_id
    );
    stack.redis_command(&["EVAL", &lose, "0"]).await.expect("lost");
    let lost = Instant::now();
    assert_eq!(scene.costs().await.expect("costs")["currentSpendCents"], json!(0));
    eventually("redis is raised", WITHIN * 2, async || {
        let costs = scene.costs().await;
        costs.is_ok_and(|costs| costs["currentSpendCents"] == json!(BUDGET))
    })
    .await;
    println!("raised after {:?}", lost.elapsed());
    assert!(lost.elapsed() < WITHIN, "{:?}", lost.elapsed());
    assert_eq!(Answer::of(scene.flat_request(&key)).await.status, 402);
    let raised = "rateguard_control_plane_analytics_budgets_raised_total";
    assert!(metric(&stack, raised).await >= 1);
    eventually("nothing differs any more", WITHIN, async || {
        metric(&stack, "rateguard_control_plane_analytics_drift_nanos").await == 0
    })
    .await;
    assert_eq!(
        scene.costs().await.expect("costs")["currentSpendCents"],
        json!(BUDGET)
    );
}
