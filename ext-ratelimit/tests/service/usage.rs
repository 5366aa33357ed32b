//! Events and what resolves their reservations, in one message: both halves, one of them, or neither.

use crate::events::events;
use crate::harness::*;
use rateguard_ext_ratelimit::config::Config;
use rateguard_wire::v1;
use std::time::Duration;
use tonic::Code;

fn event(n: u16, cost_nanos: i64) -> v1::RequestEvent {
    v1::RequestEvent {
        event_id: reservation_id(n),
        workspace_id: WORKSPACE.to_vec(),
        cost_nanos,
        ..v1::RequestEvent::default()
    }
}

fn quotas() -> Vec<v1::Quota> {
    vec![budget(1_000, 40)]
}

async fn reserved(client: &mut Client, n: u16) -> v1::ReserveResponse {
    let answer = client.reserve(call(reserve(n, quotas()))).await;
    answer.expect("answered").into_inner()
}

/// Request `n` cost 15 of the 40 that it held.
fn report(n: u16, answer: &v1::ReserveResponse) -> v1::ReportUsageRequest {
    v1::ReportUsageRequest {
        node_id: "envoy-1".into(),
        events: vec![event(n, 15)],
        settlements: vec![settlement(n, quotas(), answer, 15)],
        releases: Vec::new(),
    }
}

/// Accepted events, whether they were taken, whether settlements were, and how many were malformed.
fn outcome(answer: tonic::Response<v1::ReportUsageResponse>) -> (u32, bool, bool, u32) {
    let v1::ReportUsageResponse {
        accepted,
        events_taken,
        settlements_taken,
        invalid_settlements,
    } = answer.into_inner();
    (accepted, events_taken, settlements_taken, invalid_settlements)
}

/// What the budget has spent, and what is held of it.
async fn spent(client: &Client) -> (i64, i64) {
    let request = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    let answer = client.clone().budget_status(call(request)).await;
    let budget = answer.expect("answered").into_inner().budgets.remove(0);
    (budget.spent, budget.reserved)
}

/// A service whose ledger and whose bus have a Redis each.
async fn apart(ledger: &Redis, streams: &Redis, plane: &ControlPlane) -> Service {
    Service::governed_with(ledger, plane, |c| {
        c.redis_timeout = Duration::from_secs(2);
        c.events_redis_url = Config::for_testing(OWN_TOKEN)
            .with_redis(&streams.url())
            .events_redis_url;
    })
    .await
}

#[tokio::test]
async fn one_message_settles_releases_and_publishes_and_again_changes_nothing() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let (first, second) = (reserved(&mut client, 1).await, reserved(&mut client, 2).await);
    let mut usage = report(1, &first);
    usage.releases.push(settlement(2, quotas(), &second, 0));
    let mut malformed = settlement(3, quotas(), &first, 1);
    malformed.reservation_id.pop();
    usage.settlements.push(malformed);
    for _ in 0..2 {
        let answer = client.report_usage(call(usage.clone())).await.expect("taken");
        assert_eq!(outcome(answer), (1, true, true, 1));
        assert_eq!(spent(&client).await, (15, 0));
    }
}

#[tokio::test]
async fn ti_02_a_settlement_of_another_workspace_refuses_the_whole_message() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let answer = reserved(&mut client, 1).await;
    let mut usage = report(1, &answer);
    let theirs = v1::Settlement {
        workspace_id: OTHER_WORKSPACE.to_vec(),
        ..settlement(2, quotas(), &answer, 15)
    };
    usage.settlements.push(theirs);
    let refused = client.report_usage(with_token(ONE_TOKEN, usage)).await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
    assert_eq!((spent(&client).await, events(&redis).len()), ((0, 40), 0));
}

#[tokio::test]
async fn ev_03_budgets_are_settled_while_the_bus_is_away() {
    let (ledger, mut streams) = (Redis::start(&[]), Redis::durable());
    let plane = ControlPlane::start().await;
    let service = apart(&ledger, &streams, &plane).await;
    let mut client = service.client();
    let answer = reserved(&mut client, 1).await;
    streams.kill();
    let usage = report(1, &answer);
    let taken = client
        .report_usage(call(usage.clone()))
        .await
        .expect("half of it");
    assert_eq!(outcome(taken), (0, false, true, 0));
    assert_eq!(spent(&client).await, (15, 0));
    let left = v1::ReportUsageRequest {
        settlements: Vec::new(),
        ..usage
    };
    let refused = client.report_usage(call(left.clone())).await;
    assert_eq!(refused.expect_err("nothing").code(), Code::Unavailable);
    streams.restart();
    until("the rest is taken", || {
        let (mut client, left) = (client.clone(), left.clone());
        async move { client.report_usage(call(left)).await.is_ok() }
    })
    .await;
    assert!(!events(&streams).is_empty());
    // It was found to be back: nobody passes it by any more.
    let answer = reserved(&mut client, 2).await;
    let taken = client
        .report_usage(call(report(2, &answer)))
        .await
        .expect("taken");
    assert_eq!(outcome(taken), (1, true, true, 0));
}

#[tokio::test]
async fn rl_08_events_are_published_while_redis_is_away() {
    let (mut ledger, streams) = (Redis::durable(), Redis::start(&[]));
    let plane = ControlPlane::start().await;
    let service = apart(&ledger, &streams, &plane).await;
    let mut client = service.client();
    let answer = reserved(&mut client, 1).await;
    ledger.kill();
    let usage = report(1, &answer);
    let taken = client
        .report_usage(call(usage.clone()))
        .await
        .expect("half of it");
    assert_eq!(outcome(taken), (1, true, false, 0));
    assert_eq!(events(&streams).len(), 1);
    ledger.restart();
    let left = v1::ReportUsageRequest {
        events: Vec::new(),
        ..usage
    };
    until("the rest is taken", || {
        let (mut client, left) = (client.clone(), left.clone());
        async move { client.report_usage(call(left)).await.is_ok() }
    })
    .await;
    assert_eq!((spent(&client).await, events(&streams).len()), ((15, 0), 1));
}

#[tokio::test]
async fn ev_03_with_both_away_nothing_is_acknowledged() {
    let (mut redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let answer = reserved(&mut client, 1).await;
    redis.kill();
    let refused = client.report_usage(call(report(1, &answer))).await;
    assert_eq!(refused.expect_err("nothing").code(), Code::Unavailable);
}

/// A block of request 1, abandoned and charged.
async fn charged_block(client: &mut Client, streams: &Redis) -> v1::Settlement {
    let request = v1::ReserveRequest {
        ttl_ms: 50,
        ..reserve(1, quotas())
    };
    let answer = client
        .reserve(call(request))
        .await
        .expect("answered")
        .into_inner();
    until("it is charged", || async { events(streams).len() == 1 }).await;
    v1::Settlement {
        is_block: true,
        ..settlement(1, quotas(), &answer, 15)
    }
}

fn is_void(event: &v1::RequestEvent) -> bool {
    event.event_id == reservation_id(1)
        && (event.revision, event.cost_nanos) == (1, 0)
        && event.usage_source() == v1::UsageSource::Reserved
}

#[tokio::test]
async fn rl_05_what_an_expired_block_was_charged_is_taken_back_when_it_is_settled() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let late = charged_block(&mut client, &redis).await;
    let usage = v1::ReportUsageRequest {
        node_id: "envoy-1".into(),
        settlements: vec![late],
        ..v1::ReportUsageRequest::default()
    };
    // Whoever did not hear the answer sends it again, and it is said again.
    for count in 1..=2 {
        let answer = client.report_usage(call(usage.clone())).await.expect("taken");
        assert_eq!(outcome(answer), (0, true, true, 0));
        assert_eq!(spent(&client).await, (15, 0));
        assert_eq!(
            events(&redis).iter().filter(|event| is_void(event)).count(),
            count
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ev_13_what_was_read_is_carried_out_though_its_sender_is_gone() {
    let (ledger, streams) = (Redis::start(&[]), Redis::start(&[]));
    let plane = ControlPlane::start().await;
    let service = apart(&ledger, &streams, &plane).await;
    let mut client = service.client();
    let late = charged_block(&mut client, &streams).await;
    let usage = v1::ReportUsageRequest {
        node_id: "envoy-1".into(),
        events: vec![event(2, 15)],
        settlements: vec![late],
        releases: Vec::new(),
    };
    // The settlement hangs, and word of it can only be given once it is done.
    ledger.signal("-STOP");
    let sender = tokio::spawn({
        let mut client = client.clone();
        async move { client.report_usage(call(usage)).await }
    });
    until("the message is read", || async { events(&streams).len() == 2 }).await;
    sender.abort();
    assert!(sender.await.is_err_and(|error| error.is_cancelled()));
    // On the same connection, after the word that the call is given up.
    let nothing = v1::RenewRequest {
        reservations: Vec::new(),
        ttl_ms: 1_000,
    };
    client.renew(call(nothing)).await.expect("answered");
    ledger.signal("-CONT");
    until("it is carried out", || async {
        events(&streams).iter().any(is_void)
    })
    .await;
    until("it is settled", || async { spent(&client).await == (15, 0) }).await;
}
