//! Parts that die under the events' feet: what was answered is stored, each once.

use crate::books::{Books, WITHIN, event, eventually, ids_of};
use crate::suite::{accounts_agree, governed, requests};
use rateguard_tests::proxy::Wire;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::ports::{self, loopback};
use rateguard_tests::stack::process::GRACE;
use rateguard_tests::stack::{Link, Part};
use rateguard_wire::v1::RequestEvent;
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

/// Nothing left the filter's outbox but to the limit service.
pub(crate) async fn nothing_was_dropped(books: &Books) {
    let dropped = books
        .stack
        .envoy_stats("events_dropped")
        .await
        .expect("Envoy's admin");
    assert!(
        !dropped.is_empty() && dropped.values().all(|count| *count == 0),
        "{dropped:?}"
    );
}

pub(crate) async fn limits_away(books: &Books) {
    let (scene, key) = governed(books).await;
    let mut ids: Vec<String> = requests(&scene, &key, 5).await.into_keys().collect();
    books.stack.kill(Part::Limits);
    // The filter decides by itself, and keeps what it saw.
    ids.extend(requests(&scene, &key, 20).await.into_keys());
    books.stack.restart(Part::Limits).await.expect("it comes back");
    ids.extend(requests(&scene, &key, 5).await.into_keys());
    books.has_exactly(&scene.workspace_id, &ids).await;
    nothing_was_dropped(books).await;
    accounts_agree(books, &scene).await;
}

pub(crate) async fn bus_away(books: &Books) {
    let part = books.bus.part();
    if !books.stack.has(part) {
        eprintln!("skipped: {part} is somebody else's");
        return;
    }
    let (scene, key) = governed(books).await;
    let mut ids: Vec<String> = requests(&scene, &key, 5).await.into_keys().collect();
    books.stack.kill(part);
    let workspace = Uuid::now_v7();
    let refused = books
        .report(vec![event(workspace, 1)])
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    ids.extend(requests(&scene, &key, 20).await.into_keys());
    books.stack.restart(part).await.expect("it comes back");
    ids.extend(requests(&scene, &key, 5).await.into_keys());
    books.has_exactly(&scene.workspace_id, &ids).await;
    nothing_was_dropped(books).await;
    accounts_agree(books, &scene).await;
}

/// Ids of what was answered, by four clients one after the other.
async fn asked_meanwhile(scene: &Scene<'_>, key: &Key, disturb: impl AsyncFnOnce()) -> Vec<String> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let request = scene.flat_request(key);
        let stopped = stopped.clone();
        clients.spawn(async move {
            let mut ids = Vec::new();
            while !*stopped.borrow() {
                let request = request.try_clone().expect("a request without a body");
                let answer = Answer::of(request).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                ids.push(answer.header("x-rateguard-request-id").to_owned());
            }
            ids
        });
    }
    disturb().await;
    stop.send_replace(true);
    clients.join_all().await.concat()
}

pub(crate) async fn producer_killed(books: &Books) {
    let (scene, key) = governed(books).await;
    let ids = asked_meanwhile(&scene, &key, async || {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            // With reports on their way, heard or not.
            books.stack.kill(Part::Limits);
            books.stack.restart(Part::Limits).await.expect("it comes back");
        }
    })
    .await;
    books.has_exactly(&scene.workspace_id, &ids).await;
    nothing_was_dropped(books).await;
    accounts_agree(books, &scene).await;
}

pub(crate) async fn consumer_killed(books: &Books) {
    // Of several partitions, so that each loads its own memory.
    let workspaces: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
    let some = || -> Vec<Vec<_>> {
        workspaces
            .iter()
            .map(|workspace| (0..20).map(|n| event(*workspace, n)).collect())
            .collect()
    };
    let has_exactly = async |events: &[Vec<_>]| {
        for (workspace, events) in workspaces.iter().zip(events) {
            books.has_exactly(&workspace.to_string(), &ids_of(events)).await;
        }
    };
    let stored = some();
    books.report(stored.concat()).await.expect("taken");
    has_exactly(&stored).await;
    books.stack.kill(Part::ControlPlane);
    // What is on the bus again is as what was not acknowledged.
    books.bus.rewind(books.stack).await;
    books.report(stored.concat()).await.expect("taken");
    let fresh = some();
    books.report(fresh.concat()).await.expect("taken");
    books
        .stack
        .restart(Part::ControlPlane)
        .await
        .expect("it comes back");
    let all: Vec<Vec<_>> = stored
        .into_iter()
        .zip(fresh)
        .map(|(a, b)| [a, b].concat())
        .collect();
    has_exactly(&all).await;
    eventually("nothing waits", WITHIN, async || books.lag().await == 0).await;
    has_exactly(&all).await;
}

/// ClickHouse has the rows, and its answer is still on the wire when the consumer dies.
pub(crate) async fn killed_before_the_answer(books: &Books) {
    let workspaces: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let some = || -> Vec<Vec<_>> {
        workspaces
            .iter()
            .map(|workspace| (0..20).map(|n| event(*workspace, n)).collect())
            .collect()
    };
    let first = some();
    books.report(first.concat()).await.expect("taken");
    for (workspace, events) in workspaces.iter().zip(&first) {
        books.has_exactly(&workspace.to_string(), &ids_of(events)).await;
    }
    let wire = books.stack.proxy(Link::ControlPlaneToClickHouse);
    wire.set(Wire::Delay(Duration::from_secs(2)));
    let second = some();
    books.report(second.concat()).await.expect("taken");
    eventually("rows whose answer is on its way", WITHIN, async || {
        books.ids(&workspaces[0].to_string()).await.len() == 40
    })
    .await;
    books.stack.kill(Part::ControlPlane);
    let waiting = books.bus.waiting(books.stack).await;
    assert!(waiting > 0, "all was acknowledged before ClickHouse answered");
    wire.set(Wire::Pass);
    books
        .stack
        .restart(Part::ControlPlane)
        .await
        .expect("it comes back");
    eventually("nothing waits", WITHIN, async || {
        books.bus.waiting(books.stack).await == 0
    })
    .await;
    for ((workspace, first), second) in workspaces.iter().zip(first).zip(second) {
        let all = [first, second].concat();
        books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    }
}

pub(crate) async fn clickhouse_away(books: &Books) {
    let workspace = Uuid::now_v7();
    books.stack.kill(Part::ClickHouse);
    let mut all = Vec::new();
    // More than a lane takes on: its partition rests.
    for _ in 0..80 {
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

/// Reports events of these workspaces until it is told to stop; all that it reported.
async fn reported_meanwhile(
    books: &Books,
    workspaces: &[Uuid],
    disturb: impl AsyncFnOnce(),
) -> Vec<RequestEvent> {
    let is_over = Cell::new(false);
    let report = async {
        let mut all = Vec::new();
        while !is_over.get() {
            let batch: Vec<_> = workspaces.iter().map(|workspace| event(*workspace, 1)).collect();
            books
                .report(batch.clone())
                .await
                .expect("taken: the bus is there");
            all.extend(batch);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        all
    };
    let disturb = async {
        disturb().await;
        is_over.set(true);
    };
    tokio::join!(report, disturb).0
}

pub(crate) async fn rebalanced(books: &Books) {
    let workspaces: Vec<Uuid> = (0..12).map(|_| Uuid::now_v7()).collect();
    let all = reported_meanwhile(books, &workspaces, async || {
        for is_killed in [false, true] {
            let address = loopback(ports::free().expect("a port"));
            let mut second = books.stack.replica(address).await.expect("a second consumer");
            eventually("it has its share", WITHIN, async || {
                books
                    .metric_of(address, "rateguard_control_plane_analytics_rows_total ")
                    .await
                    > 0
            })
            .await;
            if is_killed {
                second.kill();
            } else {
                second.stop(GRACE);
            }
        }
    })
    .await;
    for workspace in &workspaces {
        let own = all
            .iter()
            .filter(|event| event.workspace_id == workspace.as_bytes());
        let own: Vec<_> = own.cloned().collect();
        books.has_exactly(&workspace.to_string(), &ids_of(&own)).await;
    }
    eventually("nothing waits", WITHIN, async || {
        books.bus.waiting(books.stack).await == 0
    })
    .await;
}

pub(crate) async fn clickhouse_slow(books: &Books) {
    let workspace = Uuid::now_v7();
    let some = || -> Vec<_> { (0..100).map(|n| event(workspace, n)).collect() };
    let mut all = some();
    books.report(all.clone()).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    let wire = books.stack.proxy(Link::ControlPlaneToClickHouse);
    // An insert takes some seconds; then its answer is lost, and it is sent again under its token.
    wire.set(Wire::Delay(Duration::from_secs(1)));
    for _ in 0..3 {
        let batch = some();
        books
            .report(batch.clone())
            .await
            .expect("taken: the bus is there");
        all.extend(batch);
    }
    eventually("rows whose answer is on its way", WITHIN, async || {
        books.ids(&workspace.to_string()).await.len() > 100
    })
    .await;
    let failures = "rateguard_control_plane_analytics_insert_failures_total ";
    let before = books.metric(failures).await;
    wire.set(Wire::Reset);
    eventually("an insert has no answer", WITHIN, async || {
        books.metric(failures).await > before
    })
    .await;
    wire.set(Wire::Pass);
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    eventually("nothing waits", WITHIN, async || {
        books.bus.waiting(books.stack).await == 0
    })
    .await;
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
}

pub(crate) async fn stopped_without_bus(books: &Books) {
    let part = books.bus.part();
    if !books.stack.has(part) {
        eprintln!("skipped: {part} is somebody else's");
        return;
    }
    let workspace = Uuid::now_v7();
    let mut all: Vec<_> = (0..50).map(|n| event(workspace, n)).collect();
    books.report(all.clone()).await.expect("taken");
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    books.stack.kill(part);
    let asked = Instant::now();
    books.stack.stop(Part::ControlPlane);
    let took = asked.elapsed();
    assert!(took < GRACE, "it had to be killed: {took:?}");
    books.stack.restart(part).await.expect("it comes back");
    books
        .stack
        .restart(Part::ControlPlane)
        .await
        .expect("it comes back");
    let last = event(workspace, 1);
    eventually("events are taken again", WITHIN, async || {
        books.report(vec![last.clone()]).await.is_ok()
    })
    .await;
    all.push(last);
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
}
