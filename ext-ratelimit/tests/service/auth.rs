//! Who may call what (AU, CP-12, EV-10).

use crate::harness::*;
use rateguard_ext_ratelimit::config::Config;
use rateguard_wire::v1;
use tonic::Code;

/// Every method with a workspace in its request.
async fn every_method(
    client: &mut Client,
    token: Option<&str>,
    workspace: [u8; 16],
) -> Vec<(&'static str, Code)> {
    fn code<T>(answer: Result<T, tonic::Status>) -> Code {
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    }
    fn with<T>(token: Option<&str>, message: T) -> tonic::Request<T> {
        match token {
            Some(token) => with_token(token, message),
            None => tonic::Request::new(message),
        }
    }
    let workspace_id = workspace.to_vec();
    let quotas = vec![rule(7, 1_000_000, v1::FailureMode::FailOpen)];
    let n = u16::from(workspace[0]) << 8;
    let reserve = v1::ReserveRequest {
        workspace_id: workspace_id.clone(),
        ..reserve(n, quotas.clone())
    };
    let settle = v1::Settlement {
        workspace_id: workspace_id.clone(),
        ..settlement(
            n,
            Vec::new(),
            &v1::ReserveResponse {
                now_ms: 1,
                ..Default::default()
            },
            0,
        )
    };
    let renewal = v1::ReservationRef {
        reservation_id: reservation_id(n),
        workspace_id: workspace_id.clone(),
    };
    let event = v1::RequestEvent {
        event_id: reservation_id(n),
        workspace_id: workspace_id.clone(),
        ..Default::default()
    };
    let usage = v1::ReportUsageRequest {
        node_id: "n".into(),
        events: vec![event],
        ..v1::ReportUsageRequest::default()
    };
    let status = v1::BudgetStatusRequest {
        workspace_id: workspace_id.clone(),
        budget_ids: Vec::new(),
    };
    let reset = v1::ResetRequest {
        workspace_id,
        quota_id: vec![7; 16],
        partition: None,
    };
    vec![
        ("reserve", code(client.reserve(with(token, reserve)).await)),
        (
            "settle",
            code(
                client
                    .settle(with(
                        token,
                        v1::SettleRequest {
                            settlements: vec![settle.clone()],
                        },
                    ))
                    .await,
            ),
        ),
        (
            "release",
            code(
                client
                    .release(with(
                        token,
                        v1::ReleaseRequest {
                            releases: vec![settle],
                        },
                    ))
                    .await,
            ),
        ),
        (
            "renew",
            code(
                client
                    .renew(with(
                        token,
                        v1::RenewRequest {
                            reservations: vec![renewal],
                            ttl_ms: 1_000,
                        },
                    ))
                    .await,
            ),
        ),
        (
            "report_usage",
            code(client.report_usage(with(token, usage)).await),
        ),
        (
            "budget_status",
            code(client.budget_status(with(token, status)).await),
        ),
        ("reset", code(client.reset(with(token, reset)).await)),
    ]
}

async fn expect(client: &mut Client, token: Option<&str>, workspace: [u8; 16], expected: Code) {
    for (method, code) in every_method(client, token, workspace).await {
        assert_eq!(code, expected, "{method} with {token:?}");
    }
}

#[tokio::test]
async fn every_method_checks_the_token_and_its_workspace() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let mut client = service.client();
    expect(&mut client, None, WORKSPACE, Code::Unauthenticated).await;
    let unknown = format!("{}B", &ALL_TOKEN[..47]);
    expect(&mut client, Some(&unknown), WORKSPACE, Code::Unauthenticated).await;
    expect(
        &mut client,
        Some(ONE_TOKEN),
        OTHER_WORKSPACE,
        Code::PermissionDenied,
    )
    .await;
    expect(&mut client, Some(ONE_TOKEN), WORKSPACE, Code::Ok).await;
    expect(&mut client, Some(ALL_TOKEN), OTHER_WORKSPACE, Code::Ok).await;
    assert!(service.metric("rateguard_limits_auth_refusals_total").await >= 14.0);
    service.server.shutdown().await;
}

#[tokio::test]
async fn an_event_without_a_workspace_is_taken_from_any_known_token() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let event = v1::RequestEvent {
        event_id: reservation_id(1),
        ..Default::default()
    };
    let usage = v1::ReportUsageRequest {
        node_id: "n".into(),
        events: vec![event],
        ..v1::ReportUsageRequest::default()
    };
    let answer = service
        .client()
        .report_usage(with_token(ONE_TOKEN, usage))
        .await
        .expect("taken");
    assert_eq!(answer.into_inner().accepted, 1);
}

#[tokio::test]
async fn before_the_feed_only_the_services_own_token_is_known() {
    let mut config = Config::for_testing(OWN_TOKEN);
    // Nobody listens there.
    config.control_plane_url = Some("http://127.0.0.1:9".into());
    let service = Service::start(config).await;
    let mut client = service.client();
    let request = || reserve(1, vec![rule(1, 10, v1::FailureMode::FailOpen)]);
    let other = client
        .reserve(with_token(ALL_TOKEN, request()))
        .await
        .expect_err("not known yet");
    assert_eq!(other.code(), Code::Unavailable);
    let own = client
        .reserve(with_token(OWN_TOKEN, request()))
        .await
        .expect("known");
    assert_eq!(own.into_inner().outcome(), v1::Outcome::Admitted);
    let (code, body) = service.get("/ready").await;
    assert_eq!(code, 503, "{body}");
    assert!(body.contains(r#""control_plane":"down""#), "{body}");
}

#[tokio::test]
async fn cp_12_a_token_that_leaves_the_feed_is_refused_and_a_broken_answer_changes_nothing() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed(&redis, &plane).await;
    let client = service.client();
    let code = || {
        let mut client = client.clone();
        async move {
            let request = v1::BudgetStatusRequest {
                workspace_id: WORKSPACE.to_vec(),
                budget_ids: Vec::new(),
            };
            client
                .budget_status(call(request))
                .await
                .map_or_else(|s| s.code(), |_| Code::Ok)
        }
    };
    assert_eq!(code().await, Code::Ok);
    // A full answer without tokens is broken, and refused with a reason.
    plane.publish(v1::PollResponse {
        full: true,
        ..Default::default()
    });
    until("the answer is refused", || async {
        plane.polls().iter().any(|p| p.nack_reason.contains("token"))
    })
    .await;
    assert_eq!(code().await, Code::Ok);
    let nack = plane
        .polls()
        .into_iter()
        .find(|p| !p.nack_reason.is_empty())
        .expect("seen");
    assert_eq!((nack.version.as_str(), nack.nonce.as_str()), ("1", "n2"));
    plane.publish(tokens_and_budgets(&[(OWN_TOKEN, None)], 1_000));
    until("the token is refused", || async {
        code().await == Code::Unauthenticated
    })
    .await;
    let polls = plane.polls();
    assert!(polls.iter().all(|p| p.role() == v1::PollRole::Limits));
    assert!(
        plane
            .authorizations()
            .iter()
            .all(|a| *a == format!("Bearer {OWN_TOKEN}"))
    );
}

#[tokio::test]
async fn cp_01_tokens_stay_known_while_the_control_plane_is_away() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    let service = Service::governed_with(&redis, &plane, |c| {
        c.tuning.poll_wait = std::time::Duration::from_millis(50);
    })
    .await;
    drop(plane);
    until("the loss is seen", || async {
        service
            .get("/ready")
            .await
            .1
            .contains(r#""control_plane":"down""#)
    })
    .await;
    assert_eq!(service.get("/ready").await.0, 200);
    let answer = service
        .client()
        .reserve(call(reserve(1, vec![rule(1, 10, v1::FailureMode::FailOpen)])))
        .await;
    assert_eq!(
        answer.expect("served").into_inner().outcome(),
        v1::Outcome::Admitted
    );
}

#[tokio::test]
async fn cp_08_a_control_plane_that_never_holds_back_is_not_asked_in_a_loop() {
    let (redis, plane) = (Redis::start(&[]), ControlPlane::start().await);
    // A wait of nothing: every answer comes at once.
    let service = Service::governed_with(&redis, &plane, |c| {
        c.tuning.poll_wait = std::time::Duration::ZERO;
        c.tuning.poll_backoff = std::time::Duration::from_secs(5);
    })
    .await;
    until("it was asked twice", || async { plane.polls().len() >= 2 }).await;
    let polls = plane.polls().len();
    for n in 0..100 {
        let request = reserve(n, vec![rule(1, 1_000, v1::FailureMode::FailOpen)]);
        service.client().reserve(call(request)).await.expect("served");
    }
    assert!(plane.polls().len() < polls + 20, "{}", plane.polls().len());
}
