//! Reservations, settlements and budgets over gRPC.

use crate::harness::*;
use rateguard_ext_ratelimit::config::Config;
use rateguard_wire::v1;
use tonic::Code;

async fn spent_and_reserved(client: &mut Client) -> (i64, i64) {
    let request = v1::BudgetStatusRequest {
        workspace_id: WORKSPACE.to_vec(),
        budget_ids: vec![BUDGET_ID.to_vec()],
    };
    let answer = client
        .budget_status(call(request))
        .await
        .expect("answered")
        .into_inner();
    let [state] = answer.budgets.as_slice() else {
        panic!("one budget: {answer:?}")
    };
    (state.spent, state.reserved)
}

async fn settle(client: &mut Client, settlement: v1::Settlement) -> v1::ResolutionStatus {
    let request = v1::SettleRequest {
        settlements: vec![settlement],
    };
    let answer = client.settle(call(request)).await.expect("answered").into_inner();
    assert_eq!(answer.statuses.len(), 1);
    answer.statuses().next().expect("one")
}

#[tokio::test]
async fn reserve_settle_and_status_agree() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let quotas = vec![budget(1_000, 300), rule(1, 10, v1::FailureMode::FailOpen)];
    let answer = client
        .reserve(call(reserve(1, quotas.clone())))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(
        (answer.outcome(), answer.degraded, answer.live_workers),
        (v1::Outcome::Admitted, false, 1)
    );
    assert_eq!(answer.results.len(), 2);
    assert_eq!(
        (answer.results[0].remaining, answer.results[1].remaining),
        (700, 9)
    );
    assert_eq!(spent_and_reserved(&mut client).await, (0, 300));
    // The same reservation again has no second effect.
    let again = client
        .reserve(call(reserve(1, quotas.clone())))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(again.outcome(), v1::Outcome::Admitted);
    assert_eq!(spent_and_reserved(&mut client).await, (0, 300));
    let renewal = v1::RenewRequest {
        reservations: vec![v1::ReservationRef {
            reservation_id: reservation_id(1),
            workspace_id: WORKSPACE.to_vec(),
        }],
        ttl_ms: 60_000,
    };
    let renewed = client.renew(call(renewal)).await.expect("answered").into_inner();
    assert_eq!(renewed.statuses().next(), Some(v1::ResolutionStatus::Applied));
    let mut settlement = settlement(1, quotas, &answer, 120);
    settlement.amounts[1].actual = 1;
    assert_eq!(
        settle(&mut client, settlement.clone()).await,
        v1::ResolutionStatus::Applied
    );
    assert_eq!(spent_and_reserved(&mut client).await, (120, 0));
    assert_eq!(
        settle(&mut client, settlement).await,
        v1::ResolutionStatus::Duplicate
    );
    assert_eq!(spent_and_reserved(&mut client).await, (120, 0));
    let refused = client
        .reserve(call(reserve(2, vec![budget(1_000, 881)])))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(refused.outcome(), v1::Outcome::Rejected);
    assert_eq!(refused.results[0].spent, 120);
    // Released: everything goes back.
    let quotas = vec![budget(1_000, 880)];
    let held = client
        .reserve(call(reserve(3, quotas.clone())))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(held.outcome(), v1::Outcome::Admitted);
    let releases = vec![crate::harness::settlement(3, quotas, &held, -1)];
    let released = client
        .release(call(v1::ReleaseRequest { releases }))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(released.statuses().next(), Some(v1::ResolutionStatus::Applied));
    assert_eq!(spent_and_reserved(&mut client).await, (120, 0));
}

#[tokio::test]
async fn reset_empties_a_rules_bucket() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let quotas = || vec![rule(9, 1, v1::FailureMode::FailOpen)];
    let outcome = |answer: tonic::Response<v1::ReserveResponse>| answer.into_inner().outcome();
    assert_eq!(
        outcome(client.reserve(call(reserve(1, quotas()))).await.expect("ok")),
        v1::Outcome::Admitted
    );
    assert_eq!(
        outcome(client.reserve(call(reserve(2, quotas()))).await.expect("ok")),
        v1::Outcome::Rejected
    );
    let reset = v1::ResetRequest {
        workspace_id: WORKSPACE.to_vec(),
        quota_id: vec![9; 16],
        partition: Some("k:1".into()),
    };
    let answer = client.reset(call(reset)).await.expect("ok").into_inner();
    assert_eq!(answer.buckets_removed, 1);
    assert_eq!(
        outcome(client.reserve(call(reserve(3, quotas()))).await.expect("ok")),
        v1::Outcome::Admitted
    );
}

#[tokio::test]
async fn rl_06_more_than_held_is_charged_negative_is_refused_and_too_much_saturates() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let mut spent = 0;
    for (n, actual, status, charged) in [
        (1, 0, v1::ResolutionStatus::Applied, 0),
        (2, 250, v1::ResolutionStatus::Applied, 250),
        (3, -1, v1::ResolutionStatus::Invalid, 0),
    ] {
        let quotas = vec![budget(1_000, 10)];
        let answer = client
            .reserve(call(reserve(n, quotas.clone())))
            .await
            .expect("ok")
            .into_inner();
        assert_eq!(answer.outcome(), v1::Outcome::Admitted);
        assert_eq!(
            settle(&mut client, settlement(n, quotas, &answer, actual)).await,
            status,
            "{actual}"
        );
        spent += charged;
        let held = if status == v1::ResolutionStatus::Invalid {
            10
        } else {
            0
        };
        assert_eq!(spent_and_reserved(&mut client).await, (spent, held), "{actual}");
    }
    let quotas = vec![budget(1_000, 10)];
    let answer = client
        .reserve(call(reserve(4, quotas.clone())))
        .await
        .expect("ok")
        .into_inner();
    let huge = settlement(4, quotas, &answer, i64::MAX);
    assert_eq!(settle(&mut client, huge).await, v1::ResolutionStatus::Applied);
    assert!(spent_and_reserved(&mut client).await.0 >= (1 << 53) - 1 - 10);
    assert!(service.metric("rateguard_limits_amounts_saturated_total").await >= 1.0);
}

#[tokio::test]
async fn a_malformed_reservation_is_refused_by_the_fields_name() {
    let service = Service::start(Config::for_testing(OWN_TOKEN)).await;
    let mut client = service.client();
    let mut request = reserve(1, vec![rule(1, 1, v1::FailureMode::FailOpen)]);
    request.quotas[0].partition = "a}b".into();
    let status = client
        .reserve(with_token(OWN_TOKEN, request))
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("quotas[0].partition"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_01_a_thousand_at_once_over_two_instances_admit_exactly_what_fits() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let patient = |c: &mut Config| c.redis_timeout = std::time::Duration::from_secs(20);
    let services = [
        Service::governed_with(&redis, &plane, patient).await,
        Service::governed_with(&redis, &plane, patient).await,
    ];
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(1_000));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1_000_u16 {
        let mut client = services[usize::from(n % 2)].client();
        let barrier = barrier.clone();
        calls.spawn(async move {
            barrier.wait().await;
            client
                .reserve(call(reserve(n, vec![budget(1_000, 100)])))
                .await
                .expect("answered")
                .into_inner()
        });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|a| !a.degraded));
    assert_eq!(
        answers
            .iter()
            .filter(|a| a.outcome() == v1::Outcome::Admitted)
            .count(),
        10
    );
    assert_eq!(spent_and_reserved(&mut services[0].client()).await, (0, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_12_flushed_scripts_are_loaded_again_without_an_error() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed_with(&redis, &plane, |c| {
        c.redis_timeout = std::time::Duration::from_secs(5);
    })
    .await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200_u16 {
        let mut client = service.client();
        calls.spawn(async move {
            let quotas = vec![rule(1, 1_000, v1::FailureMode::FailClosed)];
            client
                .reserve(call(reserve(n, quotas)))
                .await
                .expect("answered")
                .into_inner()
        });
        if n % 20 == 0 {
            let mut connection = redis.connection();
            redis::cmd("SCRIPT")
                .arg("FLUSH")
                .exec(&mut connection)
                .expect("flushed");
        }
        tokio::task::yield_now().await;
    }
    let answers = calls.join_all().await;
    assert!(
        answers
            .iter()
            .all(|a| !a.degraded && a.outcome() == v1::Outcome::Admitted)
    );
}

#[tokio::test]
async fn workers_of_all_instances_are_counted() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let services = [
        Service::governed(&redis, &plane).await,
        Service::governed(&redis, &plane).await,
    ];
    let quotas = vec![rule(1, 1_000, v1::FailureMode::FailOpen)];
    for (worker_id, service) in (1..).zip(&services) {
        let request = v1::ReserveRequest {
            worker_id,
            ..reserve(0, quotas.clone())
        };
        service.client().reserve(call(request)).await.expect("answered");
    }
    for service in &services {
        until("both know of two workers", || async {
            service.metric("rateguard_limits_live_workers").await >= 2.0
        })
        .await;
    }
}

#[tokio::test]
async fn rl_21_one_full_quota_of_several_charges_none() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    let open = v1::FailureMode::FailOpen;
    let refused = reserve(
        1,
        vec![
            rule(1, 10, open),
            rule(2, 10, open),
            rule(3, 0, open),
            budget(1_000, 10),
        ],
    );
    let answer = client
        .reserve(call(refused))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(answer.outcome(), v1::Outcome::Rejected);
    let admitted: Vec<_> = answer.results.iter().map(|r| r.admitted).collect();
    assert_eq!(admitted, [true, true, false, true]);
    let charged = reserve(2, vec![rule(1, 10, open), rule(2, 10, open), budget(1_000, 10)]);
    let answer = client
        .reserve(call(charged))
        .await
        .expect("answered")
        .into_inner();
    let remaining: Vec<_> = answer.results.iter().map(|r| r.remaining).collect();
    assert_eq!(remaining, [9, 9, 990]);
}
