//! Usage events: acknowledged only when Redis has them, refused when full, and what nobody settles is billed.

use crate::harness::*;
use prost::Message;
use rateguard_ext_ratelimit::config::Config;
use rateguard_wire::v1;
use redis::streams::{StreamInfoGroupsReply, StreamRangeReply, StreamReadReply};
use tonic::Code;

fn usage(range: std::ops::Range<u16>) -> v1::ReportUsageRequest {
    let event = |n| v1::RequestEvent {
        event_id: reservation_id(n),
        workspace_id: WORKSPACE.to_vec(),
        endpoint: "/v1/chat/completions".into(),
        cost_nanos: n.into(),
        ..v1::RequestEvent::default()
    };
    v1::ReportUsageRequest {
        node_id: "envoy-1".into(),
        events: range.map(event).collect(),
        ..v1::ReportUsageRequest::default()
    }
}

/// Every batch on every stream.
fn batches(redis: &Redis) -> Vec<v1::ReportUsageRequest> {
    let mut connection = redis.connection();
    let mut batches = Vec::new();
    for n in 0..16 {
        let key = format!("rg1:{{events:{n}}}");
        let reply: StreamRangeReply = redis::cmd("XRANGE")
            .arg(key)
            .arg("-")
            .arg("+")
            .query(&mut connection)
            .expect("a stream");
        for entry in reply.ids {
            let bytes: Vec<u8> = entry.get("b").expect("the field");
            batches.push(v1::ReportUsageRequest::decode(bytes.as_slice()).expect("a batch"));
        }
    }
    batches
}

pub(crate) fn events(redis: &Redis) -> Vec<v1::RequestEvent> {
    batches(redis).into_iter().flat_map(|b| b.events).collect()
}

#[tokio::test]
async fn an_acknowledged_batch_is_one_entry_in_redis() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let answer = service
        .client()
        .report_usage(call(usage(0..100)))
        .await
        .expect("taken")
        .into_inner();
    assert_eq!(answer.accepted, 100);
    assert_eq!(batches(&redis), [usage(0..100)]);
    assert!(
        service
            .metric(r#"rateguard_limits_events_total{outcome="published"}"#)
            .await
            >= 100.0
    );
}

#[tokio::test]
async fn ev_11_an_event_that_can_never_be_stored_does_not_hold_up_the_others() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut batch = usage(0..3);
    batch.events[1].event_id = vec![1; 3];
    let answer = service
        .client()
        .report_usage(call(batch))
        .await
        .expect("taken")
        .into_inner();
    assert_eq!(answer.accepted, 2);
    assert_eq!(events(&redis).len(), 2);
    assert!(
        service
            .metric(r#"rateguard_limits_events_total{outcome="invalid"}"#)
            .await
            >= 1.0
    );
}

#[tokio::test]
async fn ev_03_nothing_is_acknowledged_without_durability() {
    let (mut redis, plane) = (Redis::durable(), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    client.report_usage(call(usage(0..10))).await.expect("taken");
    redis.kill();
    let refused = client
        .report_usage(call(usage(10..20)))
        .await
        .expect_err("not durable");
    assert_eq!(refused.code(), Code::Unavailable);
    redis.restart();
    // The outbox tries again until it is heard.
    until("the batch is taken", || {
        let mut client = client.clone();
        async move { client.report_usage(call(usage(10..20))).await.is_ok() }
    })
    .await;
    let costs: std::collections::BTreeSet<i64> = events(&redis).iter().map(|e| e.cost_nanos).collect();
    assert_eq!(costs, (0..20).collect());
}

#[tokio::test]
async fn ev_01_full_streams_refuse_and_lose_nothing() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed_with(&redis, &plane, |c| c.events_bytes_max = 30_000).await;
    let mut client = service.client();
    let mut taken = 0;
    let status = loop {
        match client.report_usage(call(usage(0..100))).await {
            Ok(_) => taken += 100,
            Err(status) => break status,
        }
        assert!(taken < 10_000, "never full");
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(taken > 0);
    assert_eq!(events(&redis).len(), taken, "nothing is trimmed to make room");
    // The consumer takes entries away: there is room again.
    let mut connection = redis.connection();
    for n in 0..16 {
        redis::cmd("DEL")
            .arg(format!("rg1:{{events:{n}}}"))
            .exec(&mut connection)
            .expect("deleted");
    }
    until("there is room", || {
        let mut client = client.clone();
        async move { client.report_usage(call(usage(0..100))).await.is_ok() }
    })
    .await;
}

/// Names of the consumer groups of a stream; none where the stream is missing.
fn groups(redis: &Redis, stream: u8) -> Vec<String> {
    let key = format!("rg1:{{events:{stream}}}");
    let reply: redis::RedisResult<StreamInfoGroupsReply> = redis::cmd("XINFO")
        .arg("GROUPS")
        .arg(key)
        .query(&mut redis.connection());
    reply.map_or_else(
        |_| Vec::new(),
        |reply| reply.groups.into_iter().map(|group| group.name).collect(),
    )
}

#[tokio::test]
async fn a_consumer_that_comes_late_finds_its_group_and_the_first_entry() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let every_stream_has_it = || async { (0..16).all(|n| groups(&redis, n) == ["analytics-consumer"]) };
    until("the groups are there", every_stream_has_it).await;
    // Whoever empties this Redis takes the groups too.
    redis::cmd("FLUSHALL")
        .exec(&mut redis.connection())
        .expect("emptied");
    until("the groups are there again", every_stream_has_it).await;
    service
        .client()
        .report_usage(call(usage(0..10)))
        .await
        .expect("taken");
    let stream = WORKSPACE[15] % 16;
    let reply: StreamReadReply = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "analytics-consumer", "late", "STREAMS"])
        .arg(format!("rg1:{{events:{stream}}}"))
        .arg(">")
        .query(&mut redis.connection())
        .expect("entries");
    assert_eq!(reply.keys[0].ids.len(), 1);
}

#[tokio::test]
async fn the_streams_can_have_a_redis_of_their_own() {
    let (ledger, streams, plane) = (Redis::start(&[]), Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed_with(&ledger, &plane, |c| {
        c.events_redis_url = Config::for_testing(OWN_TOKEN)
            .with_redis(&streams.url())
            .events_redis_url;
    })
    .await;
    let mut client = service.client();
    client.report_usage(call(usage(0..10))).await.expect("taken");
    assert_eq!((events(&streams).len(), events(&ledger).len()), (10, 0));
}

#[tokio::test]
async fn without_a_bus_events_are_counted_and_dropped() {
    let service = Service::start(Config::for_testing(OWN_TOKEN)).await;
    let answer = service
        .client()
        .report_usage(with_token(OWN_TOKEN, usage(0..5)))
        .await
        .expect("taken");
    assert_eq!(answer.into_inner().accepted, 5);
    assert!(
        service
            .metric(r#"rateguard_limits_events_total{outcome="dropped"}"#)
            .await
            >= 5.0
    );
}

#[tokio::test]
async fn rl_20_a_reservation_nobody_settles_is_billed_as_reserved_and_a_late_settle_replaces_it() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let quotas = vec![budget(1_000, 40), rule(1, 100, v1::FailureMode::FailOpen)];
    let request = v1::ReserveRequest {
        ttl_ms: 50,
        ..reserve(1, quotas.clone())
    };
    let answer = client
        .reserve(call(request))
        .await
        .expect("answered")
        .into_inner();
    until("it is billed", || async { !events(&redis).is_empty() }).await;
    let event = events(&redis).remove(0);
    assert_eq!(
        (event.event_id, event.workspace_id),
        (reservation_id(1), WORKSPACE.to_vec())
    );
    assert_eq!((event.api_key_id, event.api_id), (vec![4; 16], vec![5; 16]));
    assert_eq!((event.cost_nanos, event.revision), (40, 0));
    assert_eq!(
        v1::UsageSource::try_from(event.usage_source),
        Ok(v1::UsageSource::Reserved)
    );
    until("it is forgotten", || async {
        service
            .metric("rateguard_limits_reservations_expired_total")
            .await
            >= 1.0
    })
    .await;
    let mut late = settlement(1, quotas, &answer, 15);
    late.amounts[1].actual = 1;
    let settled = client
        .settle(call(v1::SettleRequest {
            settlements: vec![late],
        }))
        .await
        .expect("answered");
    assert_eq!(
        settled.into_inner().statuses().next(),
        Some(v1::ResolutionStatus::Replaced)
    );
    let request = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    let status = client
        .budget_status(call(request))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!((status.budgets[0].spent, status.budgets[0].reserved), (15, 0));
    assert_eq!(events(&redis).len(), 1);
}
