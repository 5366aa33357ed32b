//! What must hold on every bus.

use crate::books::{Books, WITHIN, event, eventually, ids_of};
use rateguard_tests::load::percentile;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::Part;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A workspace with a flat-priced API, an `openai` one, a monthly budget and a key, in force.
async fn governed(books: &Books) -> (Scene<'static>, Key) {
    let scene = Scene::new(books.stack).await.expect("a workspace");
    let upstream = books.stack.stub().addr();
    scene.flat(upstream, "0.0012345").await.expect("an API");
    scene.openai(upstream).await.expect("an API");
    scene.hard_budget(json!(1_000)).await.expect("a budget");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    (scene, key)
}

/// Answered requests, by id: when.
async fn requests(scene: &Scene<'_>, key: &Key, count: usize) -> BTreeMap<String, Instant> {
    let mut answered = BTreeMap::new();
    for _ in 0..count {
        let answer = Answer::of(scene.flat_request(key)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answered.insert(answer.header("x-rateguard-request-id").to_owned(), Instant::now());
    }
    answered
}

pub(crate) async fn visible(books: &Books) {
    let (scene, key) = governed(books).await;
    let mut waiting = BTreeMap::new();
    let mut took = Vec::new();
    for _ in 0..10 {
        waiting.extend(requests(&scene, &key, 5).await);
        collect(books, &scene, &mut waiting, &mut took).await;
    }
    eventually("every request is visible", WITHIN, async || {
        collect(books, &scene, &mut waiting, &mut took).await;
        waiting.is_empty()
    })
    .await;
    took.sort();
    let p99 = percentile(&took, 0.99);
    println!(
        "answered → visible in events: p50 {:?}, p99 {p99:?}",
        percentile(&took, 0.5)
    );
    assert!(p99 <= Duration::from_secs(5), "p99 {p99:?}");
}

async fn collect(
    books: &Books,
    scene: &Scene<'_>,
    waiting: &mut BTreeMap<String, Instant>,
    took: &mut Vec<Duration>,
) {
    for id in books.ids(&scene.workspace_id).await {
        took.extend(waiting.remove(&id).map(|at| at.elapsed()));
    }
}

pub(crate) async fn twice(books: &Books) {
    let workspace = Uuid::now_v7();
    let events: Vec<_> = (0..30).map(|n| event(workspace, n)).collect();
    books.report(events.clone()).await.expect("taken");
    // In the same batch, and after it was stored.
    books.report(events.clone()).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&events)).await;
    books.report(events.clone()).await.expect("taken");
    let last = event(workspace, 1);
    books.report(vec![last.clone()]).await.expect("taken");
    let all = [events, vec![last]].concat();
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
}

pub(crate) async fn left_early(books: &Books) {
    let (scene, key) = governed(books).await;
    let request = scene.chat_stream(&key).header("x-stub-chunk-delay-ms", "200");
    let mut answer = request.send().await.expect("an answer");
    let id = answer.headers()["x-rateguard-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    answer.chunk().await.expect("a chunk");
    drop(answer);
    books.has_exactly(&scene.workspace_id, &[id]).await;
    let sql = format!(
        "SELECT cost_nanos FROM api_events WHERE workspace_id = '{}' AND usage_source IN ('partial', 'estimated')",
        scene.workspace_id
    );
    assert!(books.number(&sql).await > 0, "what was seen is billed");
}

pub(crate) async fn odd(books: &Books) {
    let workspace = Uuid::now_v7();
    let mut events: Vec<_> = (0..5).map(|_| event(workspace, 7)).collect();
    events[0].endpoint = "/\0/'\\\t\n\u{202e}".into();
    events[1].model = "ü".repeat(100_000);
    events[2].timestamp_ms += 400 * 86_400_000;
    events[3].timestamp_ms = 1;
    events[4].tags = (0..500).map(|n| (format!("t{n}\0"), "v".repeat(999))).collect();
    books.report(events.clone()).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&events)).await;
    let sql = format!(
        "SELECT count() FROM api_events WHERE workspace_id = '{workspace}' AND timestamp > now() - 3600 AND timestamp < now() + 3600"
    );
    assert_eq!(books.number(&sql).await, 5, "no row hides in a past or a future");
}

pub(crate) async fn poison(books: &Books) {
    let workspace = Uuid::now_v7();
    let garbage = format!("\u{1f}garbage of {workspace}");
    books.forge(workspace, &garbage).await;
    let sound = event(workspace, 3);
    books.report(vec![sound.clone()]).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&[sound])).await;
    eventually("the garbage is a dead letter", WITHIN, async || {
        books.dead(&garbage).await >= 1
    })
    .await;
    assert_eq!(books.dead(&garbage).await, 1);
    eventually("nothing waits", WITHIN, async || books.lag().await == 0).await;
}

pub(crate) async fn agree(books: &Books) {
    let (scene, key) = governed(books).await;
    let before = books.stack.stub().log().len();
    let ids: Vec<String> = requests(&scene, &key, 30).await.into_keys().collect();
    for _ in 0..5 {
        assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    }
    let path = ["/things", "/v1/chat/completions"];
    let log = books.stack.stub().log().all();
    let mine: Vec<String> = log[before.min(log.len())..]
        .iter()
        .filter(|received| path.iter().any(|path| received.target.starts_with(path)))
        .filter_map(|received| received.request_id().map(str::to_owned))
        .collect();
    eventually("the rows are there", WITHIN, async || {
        books.ids(&scene.workspace_id).await.len() >= 35
    })
    .await;
    let rows = books.ids(&scene.workspace_id).await;
    assert_eq!(rows.len(), 35);
    assert!(ids.iter().all(|id| rows.contains(id)));
    assert!(
        rows.iter()
            .all(|id| mine.iter().filter(|one| *one == id).count() == 1),
        "each reached the upstream once"
    );
    accounts_agree(books, &scene).await;
}

/// Rows, ledger and Redis say the same, to the nano-dollar.
pub(crate) async fn accounts_agree(books: &Books, scene: &Scene<'_>) {
    let workspace = &scene.workspace_id;
    let rows = format!("SELECT sum(cost_nanos) FROM api_events WHERE workspace_id = '{workspace}'");
    let ledger = format!(
        "SELECT sum(cost_nanos) FROM spend_ledger WHERE workspace_id = '{workspace}' AND subject_kind = 'workspace'"
    );
    let rows = books.number(&rows).await;
    assert_eq!(books.number(&ledger).await, rows, "ledger and rows");
    assert!(rows > 0);
    let mut spent = String::new();
    eventually("Redis has what the rows have", WITHIN, async || {
        spent = scene
            .costs()
            .await
            .map_or_else(|e| e.to_string(), |costs| costs["currentSpendCents"].to_string());
        nanos(&spent) == Some(rows)
    })
    .await;
}

/// Cents with up to seven places, in nano-dollars.
fn nanos(cents: &str) -> Option<i64> {
    let (whole, part) = cents.split_once('.').unwrap_or((cents, ""));
    format!("{whole}{part:0<7}").parse().ok()
}

pub(crate) async fn consumer_killed(books: &Books) {
    let workspace = Uuid::now_v7();
    let stored: Vec<_> = (0..50).map(|n| event(workspace, n)).collect();
    books.report(stored.clone()).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&stored)).await;
    books.stack.kill(Part::ControlPlane);
    // What is on the bus again is as what was not acknowledged.
    books.report(stored.clone()).await.expect("taken");
    let fresh: Vec<_> = (0..50).map(|n| event(workspace, n)).collect();
    books.report(fresh.clone()).await.expect("taken");
    books
        .stack
        .restart(Part::ControlPlane)
        .await
        .expect("it comes back");
    let all = [stored, fresh].concat();
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    eventually("nothing waits", WITHIN, async || books.lag().await == 0).await;
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
}

pub(crate) async fn clickhouse_away(books: &Books) {
    let workspace = Uuid::now_v7();
    books.stack.kill(Part::ClickHouse);
    let mut all = Vec::new();
    for _ in 0..30 {
        let batch: Vec<_> = (0..100).map(|n| event(workspace, n)).collect();
        books
            .report(batch.clone())
            .await
            .expect("taken: the bus is there");
        all.extend(batch);
    }
    eventually("the lag is seen", WITHIN, async || books.lag().await >= 10).await;
    books
        .stack
        .restart(Part::ClickHouse)
        .await
        .expect("it comes back");
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    eventually("nothing waits", WITHIN, async || books.lag().await == 0).await;
}
