//! A Redis that lost what was spent: hard budgets are closed until the ledger of events has told (RL-17).

use crate::harness::*;
use prost::Message as _;
use rateguard_wire::{bus, v1};
use redis::streams::StreamRangeReply;
use std::time::Duration;

const LIMIT: i64 = 1_000;

async fn ask(client: &mut Client, n: u16, amount: i64) -> v1::ReserveResponse {
    let mut request = call(reserve(n, vec![budget(LIMIT, amount)]));
    // Long enough to wait for an answer that is to be had.
    request.set_timeout(Duration::from_secs(3));
    client.reserve(request).await.expect("answered").into_inner()
}

/// Whether it was admitted, and whether as degraded.
fn outcome(answer: &v1::ReserveResponse) -> (bool, bool) {
    (answer.outcome() == v1::Outcome::Admitted, answer.degraded)
}

/// Reserves and settles.
async fn spend(client: &mut Client, n: u16, amount: i64) {
    let answer = ask(client, n, amount).await;
    assert_eq!(outcome(&answer), (true, false), "{answer:?}");
    let settlements = vec![settlement(n, vec![budget(LIMIT, amount)], &answer, amount)];
    client
        .settle(call(v1::SettleRequest { settlements }))
        .await
        .expect("settled");
}

async fn spent(client: &mut Client) -> i64 {
    let request = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    client
        .budget_status(call(request))
        .await
        .expect("answered")
        .into_inner()
        .budgets[0]
        .spent
}

/// Ids of the marks on the bus.
fn marks(redis: &Redis) -> Vec<Vec<u8>> {
    let stream = bus::stream(bus::stream_of(&WORKSPACE));
    let entries: StreamRangeReply = redis::cmd("XRANGE")
        .arg(stream)
        .arg("-")
        .arg("+")
        .query(&mut redis.connection())
        .expect("a stream");
    let reports = entries.ids.iter().map(|entry| {
        let payload: Vec<u8> = entry.get(bus::STREAM_FIELD).expect("a payload");
        v1::ReportUsageRequest::decode(payload.as_slice()).expect("a report")
    });
    let marks = reports.filter(|report| report.node_id == bus::MARK_NODE);
    marks
        .flat_map(|report| report.events)
        .map(|event| event.event_id)
        .collect()
}

fn flush(redis: &Redis) {
    let _: () = redis::cmd("FLUSHALL")
        .query(&mut redis.connection())
        .expect("FLUSHALL");
}

#[tokio::test]
async fn rl_17_after_flushall_nothing_is_admitted_beyond_a_spent_budget() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    plane.has_ledger(0);
    plane.ledger(|ledger| ledger.passed = true);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    spend(&mut client, 1, 900).await;
    assert_eq!(outcome(&ask(&mut client, 2, 200).await), (false, false));

    // The ledger is told of what was spent, but what is on the way to it has not come by.
    plane.ledger(|ledger| {
        ledger.spent = 600;
        ledger.passed = false;
        ledger.queries.clear();
    });
    flush(&redis);
    for n in 3..6 {
        let closed = ask(&mut client, n, 1).await;
        assert_eq!(outcome(&closed), (false, true), "{closed:?}");
        assert!(
            !closed.results[0].admitted && closed.results[0].remaining == 0,
            "{closed:?}"
        );
    }
    let (asked, made) = (plane.ledger(|ledger| ledger.queries.clone()), marks(&redis));
    assert_eq!(made.len(), 1, "one mark, however often it is asked");
    assert!(asked.iter().all(|query| query.mark_id == made[0]), "{asked:?}");
    assert_eq!(asked[0].windows.len(), 1);
    let month = &asked[0].windows[0];
    assert_eq!(month.subject_kind(), v1::BudgetSubjectKind::Workspace);
    assert!(
        month.start_ms < month.end_ms && month.start_ms % 900_000 == 0,
        "{month:?}"
    );

    plane.ledger(|ledger| {
        ledger.spent = 900;
        ledger.passed = true;
    });
    until("the spend is known", || {
        let mut client = client.clone();
        async move { spent(&mut client).await == 900 }
    })
    .await;
    assert_eq!(outcome(&ask(&mut client, 10, 101).await), (false, false));
    assert_eq!(outcome(&ask(&mut client, 11, 100).await), (true, false));
    let refused = service
        .metric("rateguard_limits_spend_unknown_reserves_total")
        .await;
    assert!((refused - 3.0).abs() < f64::EPSILON, "{refused}");
    service.server.shutdown().await;
}

#[tokio::test]
async fn rl_17_a_redis_that_came_back_with_an_old_copy_is_not_believed() {
    let (mut redis, plane) = (
        Redis::start(&["--dbfilename", "copy.rdb"]),
        ControlPlane::start().await,
    );
    plane.has_ledger(0);
    plane.ledger(|ledger| ledger.passed = true);
    let service = Service::governed_with(&redis, &plane, |config| {
        config.tuning.restore_grace = Duration::from_millis(300);
    })
    .await;
    let mut client = service.client();
    spend(&mut client, 1, 100).await;
    let _: () = redis::cmd("SAVE").query(&mut redis.connection()).expect("SAVE");
    // Long enough for the mark to be written anew.
    let begun = std::time::Instant::now();
    let mut n = 2;
    while begun.elapsed() < Duration::from_millis(1_500) {
        spend(&mut client, n, 1).await;
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rest = LIMIT - spent(&mut client).await;
    spend(&mut client, n, rest).await;
    assert_eq!(outcome(&ask(&mut client, n + 1, 1).await), (false, false));
    plane.ledger(|ledger| ledger.spent = LIMIT);
    redis.kill();
    redis.restart();
    // From memory at first, then closed, then by what is known: never admitted.
    let mut n = n + 2;
    until("the spend is known", || {
        n += 1;
        let mut client = client.clone();
        async move {
            let answer = ask(&mut client, n, 1).await;
            assert_eq!(answer.outcome(), v1::Outcome::Rejected, "{answer:?}");
            !answer.degraded
        }
    })
    .await;
    assert_eq!(spent(&mut client).await, LIMIT);
    service.server.shutdown().await;
}

#[tokio::test]
async fn rl_17_a_service_without_memory_does_not_believe_a_redis_that_is_younger_than_its_data() {
    let (mut redis, plane) = (Redis::durable(), ControlPlane::start().await);
    plane.has_ledger(0);
    plane.ledger(|ledger| ledger.passed = true);
    let service = Service::governed(&redis, &plane).await;
    // Redis tells its age in whole seconds: until the mark is certainly younger than that.
    let begun = std::time::Instant::now();
    let mut n = 100;
    while begun.elapsed() < Duration::from_millis(2_200) {
        spend(&mut service.client(), n, 1).await;
        n += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.server.shutdown().await;
    // Nobody asks while Redis is the same: a new process takes over.
    plane.ledger(|ledger| ledger.queries.clear());
    let service = Service::governed(&redis, &plane).await;
    let known = ask(&mut service.client(), 9, 1).await;
    assert_eq!(outcome(&known), (true, false), "{known:?}");
    assert!(
        plane.ledger(|ledger| ledger.queries.is_empty()),
        "Redis is older than its mark"
    );
    service.server.shutdown().await;
    // Whole seconds are told: the copy must be older than that.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    redis.kill();
    redis.restart();
    plane.ledger(|ledger| ledger.spent = LIMIT);
    let service = Service::governed(&redis, &plane).await;
    let answer = ask(&mut service.client(), 2, 1).await;
    assert_eq!(answer.outcome(), v1::Outcome::Rejected, "{answer:?}");
    assert_eq!(spent(&mut service.client()).await, LIMIT);
    service.server.shutdown().await;
}

#[tokio::test]
async fn what_was_lost_is_asked_for_before_anybody_comes() {
    let (mut redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    plane.has_ledger(LIMIT - 10);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let is_known = || async { service.get("/ready").await.1.contains(r#""spend":"known""#) };
    // What is on its way to the ledger has not come by: closed, whoever waits or not.
    until("the ledger is asked", || async {
        plane.ledger(|ledger| !ledger.queries.is_empty())
    })
    .await;
    let (_, ready) = service.get("/ready").await;
    assert!(ready.contains(r#""spend":"asked_for""#), "{ready}");
    assert_eq!(marks(&redis).len(), 1);
    plane.ledger(|ledger| ledger.passed = true);
    until("what was spent is known", is_known).await;
    // Nobody has to wait: there is nothing left to ask.
    plane.ledger(|ledger| ledger.is_up = false);
    assert_eq!(outcome(&ask(&mut client, 1, 11).await), (false, false));
    assert_eq!(outcome(&ask(&mut client, 2, 1).await), (true, false));

    // The same of a Redis that is lost while this process runs. Its start is told in whole seconds.
    let asked = plane.ledger(|ledger| {
        ledger.is_up = true;
        ledger.queries.len()
    });
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    redis.kill();
    redis.restart();
    until("the ledger is asked again", || async {
        plane.ledger(|ledger| ledger.queries.len()) > asked
    })
    .await;
    until("what was spent is known again", is_known).await;
    plane.ledger(|ledger| ledger.is_up = false);
    assert_eq!(outcome(&ask(&mut client, 3, 11).await), (false, false));
    assert_eq!(spent(&mut client).await, LIMIT - 10);
    service.server.shutdown().await;
}

#[tokio::test]
async fn rl_17_while_the_ledger_is_away_hard_budgets_are_closed_and_nothing_else_is() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    plane.has_ledger(0);
    plane.ledger(|ledger| ledger.is_up = false);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let mut quick = call(reserve(1, vec![budget(LIMIT, 1)]));
    quick.set_timeout(Duration::from_millis(300));
    let closed = client
        .reserve(quick)
        .await
        .expect("within its deadline")
        .into_inner();
    assert_eq!(outcome(&closed), (false, true), "{closed:?}");
    // A budget that only alerts, and a rule.
    let mut soft = budget(LIMIT, 1);
    soft.mode = v1::Mode::Shadow.into();
    let open = reserve(2, vec![soft, rule(1, 10, v1::FailureMode::FailOpen)]);
    let open = client.reserve(call(open)).await.expect("answered").into_inner();
    assert_eq!(outcome(&open), (true, false), "{open:?}");
    // What is settled counts, also before the spend is known.
    let late = settlement(3, vec![budget(LIMIT, 5)], &open, 5);
    let settled = client.settle(call(v1::SettleRequest {
        settlements: vec![late],
    }));
    settled.await.expect("settled");
    plane.ledger(|ledger| {
        ledger.is_up = true;
        ledger.passed = true;
    });
    until("it is back", || {
        let mut client = client.clone();
        async move { outcome(&ask(&mut client, 4, 1).await) == (true, false) }
    })
    .await;
    // 5 settled, and 1 held and never settled by the budget that only alerts.
    assert_eq!(spent(&mut client).await, 5);
    service.server.shutdown().await;
}

#[tokio::test]
async fn rl_17_memory_alone_asks_after_a_restart() {
    let plane = ControlPlane::start().await;
    plane.has_ledger(LIMIT - 10);
    let redis = Redis::start(&[]);
    let start = || Service::governed_with(&redis, &plane, |config| config.redis_url = None);
    let service = start().await;
    plane.ledger(|ledger| ledger.passed = true);
    let answer = ask(&mut service.client(), 1, 11).await;
    assert_eq!(outcome(&answer), (false, false), "{answer:?}");
    assert_eq!(outcome(&ask(&mut service.client(), 2, 10).await), (true, false));
    assert_eq!(marks(&redis).len(), 1, "the workspace is older than this process");
    service.server.shutdown().await;
}

#[tokio::test]
async fn without_a_ledger_counters_start_anew() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    spend(&mut client, 1, LIMIT).await;
    assert_eq!(outcome(&ask(&mut client, 2, 1).await), (false, false));
    flush(&redis);
    assert_eq!(outcome(&ask(&mut client, 3, 1).await), (true, false));
    assert!(plane.ledger(|ledger| ledger.queries.is_empty()));
    service.server.shutdown().await;
}

#[tokio::test]
async fn rl_10_the_reconciler_raises_what_redis_forgot_and_nothing_else() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    spend(&mut client, 1, 100).await;
    let request = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    let state = client
        .budget_status(call(request))
        .await
        .expect("answered")
        .into_inner()
        .budgets
        .remove(0);
    assert_eq!(
        (state.subject_kind(), state.subject.as_str()),
        (v1::BudgetSubjectKind::Workspace, "")
    );
    let budget_of = |id: [u8; 16], spent| v1::SpentBudget {
        budget_id: id.to_vec(),
        window_start_ms: state.window_start_ms,
        spent,
    };
    let raise = |workspace: [u8; 16], budgets| v1::RaiseSpendRequest {
        workspace_id: workspace.to_vec(),
        budgets,
    };
    let known = vec![budget_of(BUDGET_ID, 130), budget_of([9; 16], 500)];
    let answer = client
        .raise_spend(call(raise(WORKSPACE, known.clone())))
        .await
        .expect("raised");
    let raised = answer.into_inner().budgets;
    assert_eq!((raised.len(), raised[0].raised_by), (1, 30));
    assert_eq!(spent(&mut client).await, 130);
    let again = client
        .raise_spend(call(raise(WORKSPACE, vec![budget_of(BUDGET_ID, 90)])))
        .await;
    assert!(again.expect("answered").into_inner().budgets.is_empty());
    assert_eq!(spent(&mut client).await, 130);
    // Not by another workspace's token, nor by naming another workspace.
    let foreign = raise(OTHER_WORKSPACE, vec![budget_of(BUDGET_ID, 999)]);
    let answer = client.raise_spend(call(foreign.clone())).await.expect("answered");
    assert!(answer.into_inner().budgets.is_empty());
    let denied = client
        .raise_spend(with_token(ONE_TOKEN, foreign))
        .await
        .expect_err("refused");
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    assert_eq!(spent(&mut client).await, 130);
    service.server.shutdown().await;
}

#[tokio::test]
async fn a_budget_that_is_new_to_the_feed_is_asked_for_before_anybody_comes() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let tokens = [(OWN_TOKEN, None), (ALL_TOKEN, None)];
    let later = tokens_and_budgets(&tokens, LIMIT);
    let none = v1::PollResponse {
        budgets: Vec::new(),
        ..later.clone()
    };
    plane.publish(none);
    plane.has_ledger(300);
    plane.ledger(|ledger| ledger.passed = true);
    let service = Service::governed(&redis, &plane).await;
    plane.publish(v1::PollResponse {
        has_ledger: true,
        ..later
    });
    until("it is known", || async {
        service.metric("rateguard_limits_spend_restores_total").await >= 1.0
    })
    .await;
    // From here on nobody could tell.
    plane.ledger(|ledger| ledger.is_up = false);
    let mut client = service.client();
    assert_eq!(outcome(&ask(&mut client, 1, 701).await), (false, false));
    assert_eq!(outcome(&ask(&mut client, 2, 700).await), (true, false));
}
