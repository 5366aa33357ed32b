//! Redis killed, stopped, and back (RL-08, RL-09, RL-13).

use crate::events::events;
use crate::harness::*;
use rateguard_ext_ratelimit::config::Config;
use rateguard_ext_ratelimit::serve::Server;
use rateguard_wire::v1;
use std::time::{Duration, Instant};
use tonic::Code;

/// After this a call that waited for Redis has waited too long, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(10);

async fn ask(client: &mut Client, n: u16, quotas: Vec<v1::Quota>) -> v1::ReserveResponse {
    client
        .reserve(call(reserve(n, quotas)))
        .await
        .expect("always answered")
        .into_inner()
}

async fn is_degraded(client: &Client, n: u16) -> bool {
    ask(
        &mut client.clone(),
        n,
        vec![rule(200, 1_000_000, v1::FailureMode::FailOpen)],
    )
    .await
    .degraded
}

#[tokio::test]
async fn rl_08_redis_killed_each_quota_fails_as_it_says_and_nothing_is_lost() {
    let (mut redis, plane) = (Redis::durable(), ControlPlane::start().await);
    let service = Service::governed_with(&redis, &plane, |c| {
        c.tuning.outbox_grace = Duration::from_millis(500);
    })
    .await;
    let mut client = service.client();
    // 1 000 on the budget; 600 are spent, so 400 remain when Redis goes.
    let first = vec![budget(1_000, 600)];
    let answer = ask(&mut client, 1, first.clone()).await;
    let settlements = vec![settlement(1, first, &answer, 600)];
    client
        .settle(call(v1::SettleRequest { settlements }))
        .await
        .expect("settled");
    assert_eq!(
        ask(&mut client, 2, vec![budget(1_000, 0)]).await.results[0].remaining,
        400
    );
    let status = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    let fresh = client
        .budget_status(call(status))
        .await
        .expect("answered")
        .into_inner();
    assert!(!fresh.degraded);
    redis.kill();

    let open = ask(&mut client, 3, vec![rule(1, 10, v1::FailureMode::FailOpen)]).await;
    assert_eq!((open.outcome(), open.degraded), (v1::Outcome::Admitted, true));
    let closed = ask(&mut client, 4, vec![rule(2, 10, v1::FailureMode::FailClosed)]).await;
    assert_eq!((closed.outcome(), closed.degraded), (v1::Outcome::Rejected, true));
    // Bounded: at most the 400 last seen, whoever asks.
    let mut admitted = Vec::new();
    for n in 10..20 {
        let answer = ask(&mut client, n, vec![budget(1_000, 100)]).await;
        assert!(answer.degraded);
        if answer.outcome() == v1::Outcome::Admitted {
            admitted.push((n, answer));
        }
    }
    assert_eq!(admitted.len(), 4);
    let (code, ready) = service.get("/ready").await;
    assert_eq!(code, 200, "{ready}");
    assert!(
        ready.contains(r#""status":"degraded""#) && ready.contains(r#""redis":"down""#),
        "{ready}"
    );
    // What the budget had spent when Redis was last asked, and said to be that.
    let status = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: Vec::new(),
    };
    let last = client
        .budget_status(call(status))
        .await
        .expect("remembered")
        .into_inner();
    assert_eq!((last.degraded, last.budgets[0].spent), (true, 600));
    // A settlement is not acknowledged: the outbox keeps it.
    let (n, answer) = admitted.remove(0);
    let kept = v1::SettleRequest {
        settlements: vec![settlement(n, vec![budget(1_000, 100)], &answer, 70)],
    };
    let refused = client.settle(call(kept.clone())).await.expect_err("not durable");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(service.metric("rateguard_limits_pending_reservations").await >= 4.0);

    redis.restart();
    let back = Instant::now();
    until("redis is used again", || async {
        !is_degraded(&client, 30).await
    })
    .await;
    println!("used again {:?} after it came back", back.elapsed());
    let settled = client.settle(call(kept)).await.expect("durable").into_inner();
    assert_eq!(settled.statuses().next(), Some(v1::ResolutionStatus::Applied));
    let spent = || {
        let mut client = client.clone();
        async move {
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
    };
    assert_eq!(spent().await, 670);
    assert!(service.metric("rateguard_limits_degraded_seconds_total").await > 0.0);
}

#[tokio::test]
async fn rl_08_what_was_admitted_from_memory_and_never_settled_is_billed_after_the_return() {
    let (mut redis, plane) = (Redis::durable(), ControlPlane::start().await);
    let service = Service::governed_with(&redis, &plane, |c| {
        c.tuning.outbox_grace = Duration::from_millis(300);
    })
    .await;
    let mut client = service.client();
    assert_eq!(
        ask(&mut client, 1, vec![budget(1_000, 0)]).await.results[0].remaining,
        1_000
    );
    redis.kill();
    let request = v1::ReserveRequest {
        ttl_ms: 100,
        ..reserve(2, vec![budget(1_000, 90)])
    };
    let answer = client
        .reserve(call(request))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!((answer.outcome(), answer.degraded), (v1::Outcome::Admitted, true));
    redis.restart();
    let spends = |spent: i64| {
        let mut client = client.clone();
        async move {
            let request = v1::BudgetStatusRequest {
                workspace_id: WORKSPACE.to_vec(),
                budget_ids: Vec::new(),
            };
            let answer = client.budget_status(call(request)).await;
            answer.is_ok_and(|a| a.into_inner().budgets[0].spent == spent)
        }
    };
    until("it is charged", || spends(90)).await;
    until("it is published", || async { !events(&redis).is_empty() }).await;
    let event = events(&redis).remove(0);
    assert_eq!((event.event_id, event.cost_nanos), (reservation_id(2), 90));
    assert_eq!(
        v1::UsageSource::try_from(event.usage_source),
        Ok(v1::UsageSource::Reserved)
    );
    until("it is off the list", || async {
        service.metric("rateguard_limits_pending_reservations").await == 0.0
    })
    .await;
    // An outbox that comes later than its grace has the last word, once.
    let late = v1::SettleRequest {
        settlements: vec![settlement(2, vec![budget(1_000, 90)], &answer, 30)],
    };
    for _ in 0..2 {
        let mut client = client.clone();
        let settled = client
            .settle(call(late.clone()))
            .await
            .expect("durable")
            .into_inner();
        assert_eq!(settled.statuses().next(), Some(v1::ResolutionStatus::Replaced));
        assert!(spends(30).await, "the charge is replaced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_09_redis_stopped_no_call_outlasts_its_deadline_and_recovery_is_quick() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service =
        Service::governed_with(&redis, &plane, |c| c.redis_timeout = Duration::from_millis(100)).await;
    let mut client = service.client();
    assert!(!is_degraded(&client, 1).await);
    redis.signal("-STOP");
    let begun = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200_u16 {
        let mut client = client.clone();
        calls.spawn(async move {
            ask(
                &mut client,
                100 + n,
                vec![rule(1, 1_000, v1::FailureMode::FailOpen)],
            )
            .await
        });
    }
    let answers = calls.join_all().await;
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(
        answers
            .iter()
            .all(|a| a.degraded && a.outcome() == v1::Outcome::Admitted)
    );
    // Known to be away: nobody waits for it any more.
    let begun = Instant::now();
    for n in 0..50_u16 {
        assert!(is_degraded(&client, 400 + n).await);
    }
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    let mut bounded = with_token(
        ALL_TOKEN,
        reserve(500, vec![rule(1, 9_000, v1::FailureMode::FailOpen)]),
    );
    bounded.set_timeout(Duration::from_secs(2));
    assert!(
        client
            .reserve(bounded)
            .await
            .expect("in time")
            .into_inner()
            .degraded
    );
    redis.signal("-CONT");
    let back = Instant::now();
    until("redis is used again", || async {
        !is_degraded(&client, 501).await
    })
    .await;
    println!("used again {:?} after it came back", back.elapsed());
}

#[tokio::test]
async fn the_service_starts_without_redis_and_takes_it_up_when_it_comes() {
    let (mut redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    redis.kill();
    let service = Service::governed(&redis, &plane).await;
    let client = service.client();
    assert!(is_degraded(&client, 1).await);
    redis.restart();
    until("redis is used", || async { !is_degraded(&client, 2).await }).await;
}

#[tokio::test]
async fn rl_13_a_redis_that_evicts_counters_is_refused_at_start() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let config = Config::for_testing(OWN_TOKEN).with_redis(&redis.url());
    let refused = Server::start(config).await.err().expect("refused").to_string();
    assert!(
        refused.contains("REDIS_URL") && refused.contains("allkeys-lru"),
        "{refused}"
    );
}

#[tokio::test]
async fn rl_13_a_full_redis_is_away_and_never_admits() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    assert!(!is_degraded(&client, 1).await);
    let mut connection = redis.connection();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg("1")
        .exec(&mut connection)
        .expect("set");
    let closed = ask(&mut client, 2, vec![rule(2, 10, v1::FailureMode::FailClosed)]).await;
    assert_eq!((closed.outcome(), closed.degraded), (v1::Outcome::Rejected, true));
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg("0")
        .exec(&mut connection)
        .expect("set");
    until("redis is used again", || async { !is_degraded(&client, 3).await }).await;
}

#[tokio::test]
async fn rl_08_two_instances_together_admit_no_more_than_what_was_left() {
    let (mut redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let services = [
        Service::governed(&redis, &plane).await,
        Service::governed(&redis, &plane).await,
    ];
    let ask = |service: usize, n: u16, amount: i64| {
        let mut client = services[service].client();
        let request = reserve(n, vec![budget(1_000, amount)]);
        let request = v1::ReserveRequest {
            worker_id: 1 + service as u64,
            ..request
        };
        async move {
            client
                .reserve(call(request))
                .await
                .expect("answered")
                .into_inner()
        }
    };
    assert_eq!(ask(0, 1, 600).await.outcome(), v1::Outcome::Admitted);
    for service in 0..services.len() {
        assert_eq!(
            ask(service, 2 + service as u16, 0).await.results[0].remaining,
            400
        );
    }
    for service in &services {
        until("both workers are known", || async {
            service.metric("rateguard_limits_live_workers").await >= 2.0
        })
        .await;
    }
    redis.kill();
    let mut admitted = 0;
    for n in 10..110 {
        let answer = ask(usize::from(n % 2), n, 10).await;
        assert!(answer.degraded);
        admitted += 10 * i64::from(answer.outcome() == v1::Outcome::Admitted);
    }
    assert_eq!(admitted, 400);
}
