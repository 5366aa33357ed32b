//! Servers that are there and take nothing: a bus without copies, disk or memory, a ClickHouse with too many parts.
//! Nothing is acknowledged meanwhile, and afterwards everything is stored, each once.

use crate::books::{Books, WITHIN, event, eventually, ids_of};
use crate::bus::{self, Bus};
use crate::outages::nothing_was_dropped;
use crate::suite::{accounts_agree, governed, requests};
use rateguard_tests::stack::{Part, Stack, kafka, ports};
use rateguard_wire::v1::RequestEvent;
use std::cell::RefCell;
use tonic::Code;
use uuid::Uuid;

impl Books {
    /// Reports until the bus refuses; what it has acknowledged until then, and what it refused.
    async fn report_until_refused(&self, workspace: Uuid) -> (Vec<RequestEvent>, Vec<RequestEvent>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        eventually("reports are refused", WITHIN, async || {
            let batch: Vec<_> = (0..10).map(|n| event(workspace, n)).collect();
            match self.report(batch.clone()).await {
                Ok(()) => taken.extend(batch),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    refused = batch;
                }
            }
            !refused.is_empty()
        })
        .await;
        (taken, refused)
    }
}

/// Events come before, while, and after the bus refuses them, which it does from the end of `begin` to `end`.
async fn refused(books: &Books, begin: impl AsyncFnOnce(), end: impl AsyncFnOnce()) {
    let (scene, key) = governed(books).await;
    let mut ids: Vec<String> = requests(&scene, &key, 5).await.into_keys().collect();
    books.has_exactly(&scene.workspace_id, &ids).await;
    let workspace = Uuid::now_v7();
    begin().await;
    let (mut all, refused) = books.report_until_refused(workspace).await;
    // Requests go on; their events wait in the filter.
    let meanwhile = requests(&scene, &key, 20).await;
    let again = books.report(refused.clone()).await.expect_err("still refused");
    assert_eq!(again.code(), Code::Unavailable, "{again:?}");
    let stored = books.ids(&scene.workspace_id).await;
    assert_eq!(stored.len(), ids.len(), "it refuses, and yet there are rows");
    end().await;
    // As an outbox does: the same events again, some of which the bus may have had before it refused.
    eventually("reports are taken again", WITHIN, async || {
        books.report(refused.clone()).await.is_ok()
    })
    .await;
    all.extend(refused);
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    ids.extend(meanwhile.into_keys());
    ids.extend(requests(&scene, &key, 5).await.into_keys());
    books.has_exactly(&scene.workspace_id, &ids).await;
    nothing_was_dropped(books).await;
    accounts_agree(books, &scene).await;
}

/// Every write to a file fails. Redis refuses what changes data (MISCONF); a broker ends for want of a log folder, and
/// comes back when there is room.
pub(crate) async fn disk_full(books: &Books) {
    let (stack, part) = (books.stack, books.bus.part());
    if !stack.has(part) {
        eprintln!("skipped: {part} is somebody else's");
        return;
    }
    let fill = async || stack.fill_disk(part, true).expect("a limit of the process");
    let make_room = async || {
        if stack.exited(part).is_some() {
            stack.restart(part).await.expect("it comes back");
        } else {
            stack.fill_disk(part, false).expect("a limit of the process");
        }
    };
    refused(books, fill, make_room).await;
}

/// Redis with this setting refuses what changes data: `maxmemory` (OOM), `min-replicas-to-write` (NOREPLICAS).
pub(crate) async fn redis_set(books: &Books, name: &str) {
    if !books.stack.has(Part::Redis) {
        eprintln!("skipped: Redis is somebody else's");
        return;
    }
    let set = async |value: &str| {
        let set = ["CONFIG", "SET", name, value];
        books.stack.redis_command(&set).await.expect("a setting of Redis");
    };
    refused(books, async || set("1").await, async || set("0").await).await;
}

/// Kafka's NotEnoughReplicas: a topic of two copies that both have to be written, and one broker of two. A broker asks
/// for no more copies than a partition has, so this takes a second broker, and a Stack whose topic can be made anew.
pub(crate) async fn too_few_replicas() {
    let builder = Stack::builder().durable().clickhouse().kafka();
    let stack = builder.start().await.expect("the Stack starts").share();
    if !stack.has(Part::Kafka) {
        eprintln!("skipped: Kafka is somebody else's");
        return;
    }
    let books = Books {
        stack,
        bus: Bus::Kafka,
    };
    let workspace = Uuid::now_v7();
    let mut all = vec![event(workspace, 1)];
    books.report(all.clone()).await.expect("taken");
    eventually("the group has its place", WITHIN, async || {
        books.ids(&workspace.to_string()).await.len() == 1 && books.bus.waiting(stack).await == 0
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("data"), folder.path().join("kafka-2.log"));
    let port = ports::free().expect("a port");
    let controller = stack.addresses().kafka_controller.port();
    let second = kafka::start_second(&data, &log, port, controller).await;
    let second = RefCell::new(second.expect("a second broker"));
    // A consumer would go on in the new topic where it was in the old one.
    stack.stop(Part::ControlPlane);
    bus::remake_with_two_copies(stack).await;
    let restarted = stack.restart(Part::ControlPlane).await;
    restarted.expect("it comes back");
    let last = event(workspace, 2);
    eventually("the new topic takes events", WITHIN, async || {
        books.report(vec![last.clone()]).await.is_ok()
    })
    .await;
    all.push(last);
    books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
    let has_copies = async |count: usize| {
        eventually("the controller knows who is there", WITHIN, async || {
            bus::copies(stack).await.iter().all(|copies| *copies == count)
        })
        .await;
    };
    let end_second = async || {
        second.borrow_mut().kill();
        has_copies(1).await;
    };
    let start_second = async || {
        second.borrow_mut().restart().expect("it starts");
        has_copies(2).await;
    };
    refused(&books, end_second, start_second).await;
    for part in Part::ALL {
        stack.kill(part);
    }
}

/// In the raw table, so that nothing is stored; and in a rollup behind it, so that the first try stores a part of it.
pub(crate) async fn too_many_parts(books: &Books) {
    for table in ["api_events", "usage_hour"] {
        let workspace = Uuid::now_v7();
        // A part is there.
        let mut all = vec![event(workspace, 1)];
        books.report(all.clone()).await.expect("taken");
        books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
        let failures = "rateguard_control_plane_analytics_insert_failures_total ";
        let dead = "rateguard_control_plane_analytics_dead_letters_total ";
        let before = (books.metric(failures).await, books.metric(dead).await);
        for sql in [
            format!("SYSTEM STOP MERGES {table}"),
            format!("ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 1"),
        ] {
            books.query(&sql).await;
        }
        for _ in 0..20 {
            let batch: Vec<_> = (0..100).map(|n| event(workspace, n)).collect();
            let taken = books.report(batch.clone()).await;
            taken.expect("taken: the bus is there");
            all.extend(batch);
        }
        eventually("inserts fail, and fail again", WITHIN, async || {
            books.metric(failures).await >= before.0 + 6
        })
        .await;
        eventually("the lag is seen", WITHIN, async || books.lag().await >= 10).await;
        let log = books.stack.log(Part::ControlPlane);
        assert!(log.expect("a log").contains("Code: 252"), "not for its parts");
        let reset = format!("ALTER TABLE {table} RESET SETTING parts_to_throw_insert");
        for sql in [reset, format!("SYSTEM START MERGES {table}")] {
            books.query(&sql).await;
        }
        books.has_exactly(&workspace.to_string(), &ids_of(&all)).await;
        eventually("nothing waits", WITHIN, async || books.lag().await == 0).await;
        assert_eq!(books.metric(dead).await, before.1, "a dead letter");
    }
}
