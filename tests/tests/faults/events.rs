//! The event bus full: what it refuses waits in the filter, and nothing is trimmed to make room.

use crate::eventually;
use prost::Message as _;
use rateguard_model::id::RequestId;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::Stack;
use rateguard_wire::v1;
use redis::streams::StreamRangeReply;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// A few hundred events fit.
const BYTES_MAX: &str = "60000";
const STREAMS: u8 = 16;
const WITHIN: Duration = Duration::from_secs(60);

/// Requests through the gateway; the ids of their events, which are those of the requests.
async fn requests(scene: &Scene<'_>, key: &Key, count: usize) -> Vec<RequestId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = Answer::of(scene.flat_request(key)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        ids.push(answer.header("x-rateguard-request-id").parse().expect("an id"));
    }
    ids
}

/// The consumer in small: takes everything that is there, and counts how often each event came.
async fn consume(stack: &Stack, seen: &mut BTreeMap<RequestId, usize>) {
    for stream in 0..STREAMS {
        let key = format!("rg1:{{events:{stream}}}");
        let reply = stack
            .redis_command(&["XRANGE", &key, "-", "+"])
            .await
            .expect("XRANGE");
        let reply: StreamRangeReply = redis::from_redis_value(reply).expect("entries");
        for entry in reply.ids {
            let bytes: Vec<u8> = entry.get("b").expect("the field");
            let batch = v1::ReportUsageRequest::decode(bytes.as_slice()).expect("a batch");
            for event in batch.events {
                let id: [u8; 16] = event.event_id.try_into().expect("16 bytes");
                *seen.entry(RequestId::from_bytes(id)).or_default() += 1;
            }
            stack
                .redis_command(&["XDEL", &key, &entry.id])
                .await
                .expect("XDEL");
        }
    }
}

/// Batches that the limit service refused for want of room.
async fn refused(stack: &Stack) -> f64 {
    let url = format!("http://{}/metrics", stack.addresses().limits_http);
    let text = Answer::of(stack.client().get(url)).await.text;
    text.lines()
        .find_map(|line| line.strip_prefix(r#"rateguard_limits_events_total{outcome="full"} "#))
        .map_or(0.0, |count| count.trim().parse().expect("a number"))
}

#[tokio::test]
async fn ev_01_full_streams_keep_events_in_the_outbox_until_all_arrive_once() {
    let stack = Stack::builder()
        .limits_env("EVENTS_BYTES_MAX", BYTES_MAX)
        .start()
        .await
        .expect("the Stack starts");
    let scene = Scene::new(&stack).await.unwrap();
    scene.flat(stack.stub().addr(), "1").await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    scene.in_force().await.unwrap();

    let mut sent = Vec::new();
    eventually("the streams are full", WITHIN, async || {
        sent.extend(requests(&scene, &key, 20).await);
        refused(&stack).await > 0.0
    })
    .await;
    // Clients notice nothing of it.
    sent.extend(requests(&scene, &key, 50).await);

    let mut seen = BTreeMap::new();
    eventually("every event has arrived", WITHIN, async || {
        consume(&stack, &mut seen).await;
        sent.iter().all(|id| seen.contains_key(id))
    })
    .await;
    let twice: Vec<_> = sent.iter().filter(|id| seen[id] != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let dropped = stack.envoy_stats("usage_events_dropped").await.unwrap();
    assert!(
        !dropped.is_empty() && dropped.values().all(|count| *count == 0),
        "{dropped:?}"
    );
}
