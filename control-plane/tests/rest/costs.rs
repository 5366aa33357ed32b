//! The monthly budget, what has been spent, and resets: with a limit service that the test answers for.

use crate::support::app::{App, START_MS};
use axum::http::{Method, StatusCode};
use rateguard_control_plane::config::Secret;
use rateguard_wire::v1::limit_service_server::{LimitService, LimitServiceServer};
use rateguard_wire::v1::{self, BudgetState, BudgetStatusRequest, BudgetStatusResponse};
use rateguard_wire::v1::{ResetRequest, ResetResponse};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};

const TOKEN: &str = "rgdp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Answers with what the test put in; remembers what it was asked.
#[derive(Clone, Default)]
struct FakeLimits {
    budgets: Arc<Mutex<Vec<BudgetState>>>,
    resets: Arc<Mutex<Vec<ResetRequest>>>,
}

fn authorised<T>(request: &Request<T>) -> Result<(), Status> {
    let sent = request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if sent == Some(&format!("Bearer {TOKEN}")) {
        Ok(())
    } else {
        Err(Status::unauthenticated("token"))
    }
}

#[tonic::async_trait]
impl LimitService for FakeLimits {
    async fn budget_status(
        &self,
        request: Request<BudgetStatusRequest>,
    ) -> Result<Response<BudgetStatusResponse>, Status> {
        authorised(&request)?;
        let budgets = self.budgets.lock().unwrap().clone();
        Ok(Response::new(BudgetStatusResponse {
            budgets,
            degraded: false,
            now_ms: START_MS,
        }))
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        authorised(&request)?;
        self.resets.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ResetResponse { buckets_removed: 3 }))
    }

    async fn reserve(&self, _: Request<v1::ReserveRequest>) -> Result<Response<v1::ReserveResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn raise_spend(
        &self,
        _: Request<v1::RaiseSpendRequest>,
    ) -> Result<Response<v1::RaiseSpendResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn settle(&self, _: Request<v1::SettleRequest>) -> Result<Response<v1::SettleResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn report_usage(
        &self,
        _: Request<v1::ReportUsageRequest>,
    ) -> Result<Response<v1::ReportUsageResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// An app whose limit service is the fake.
async fn start() -> (App, FakeLimits) {
    let fake = FakeLimits::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = tonic::service::Routes::new(LimitServiceServer::new(fake.clone())).into_axum_router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = App::start_with(|config| {
        config.limits.url = Some(format!("http://{address}"));
        config.limits.token = Some(Secret::new(TOKEN));
    })
    .await;
    (app, fake)
}

async fn budget_id(app: &App) -> Vec<u8> {
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM budget")
        .fetch_one(&app.db)
        .await
        .unwrap();
    id.as_bytes().to_vec()
}

#[tokio::test]
async fn the_monthly_budget_is_set_changed_and_removed() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let path = ada.path("/budget");
    for (body, field) in [
        (json!({}), "monthlyBudgetCents"),
        (json!({"autoShutoff": true}), "monthlyBudgetCents"),
        (json!({"monthlyBudgetCents": 0}), "monthlyBudgetCents"),
        (json!({"monthlyBudgetCents": -1}), "monthlyBudgetCents"),
        (json!({"monthlyBudgetCents": 1e30}), "monthlyBudgetCents"),
        (json!({"monthlyBudgetCents": "NaN"}), "monthlyBudgetCents"),
        (json!({"monthlyBudgetCents": 1, "spent": 0}), "spent"),
        (
            json!({"monthlyBudgetCents": null, "autoShutoff": true}),
            "autoShutoff",
        ),
    ] {
        let answer = app.patch(&path, &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
    let text = r#"{"monthlyBudgetCents": 10000.0000001, "autoShutoff": true}"#;
    let set = app.call_text(Method::PATCH, &path, &ada.token, text).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let row = || async {
        sqlx::query_as::<_, (uuid::Uuid, i64, bool, String, i32)>(
            "SELECT id, limit_nanos, auto_shutoff, failure_mode, version FROM budget",
        )
        .fetch_all(&app.db)
        .await
        .unwrap()
    };
    let first = row().await;
    assert_eq!(
        (first[0].1, first[0].2, first[0].3.as_str()),
        (100_000_000_001, true, "BOUNDED_OPEN")
    );

    let soft = app.patch(&path, &ada.token, json!({"autoShutoff": false})).await;
    assert_eq!(soft.body["autoShutoff"], false);
    let second = row().await;
    assert_eq!(
        (second[0].0, second[0].1, second[0].4),
        (first[0].0, first[0].1, first[0].4),
        "spend goes on"
    );
    assert_eq!(second[0].3, "FAIL_OPEN");

    let (version, removals) = app.feed().await;
    let gone = app
        .patch(&path, &ada.token, json!({"monthlyBudgetCents": null}))
        .await;
    assert_eq!(
        gone.body,
        json!({"monthlyBudgetCents": null, "autoShutoff": false})
    );
    assert_eq!(row().await.len(), 0);
    assert_eq!(app.feed().await, (version + 1, removals + 1));
    let again = app
        .patch(&path, &ada.token, json!({"monthlyBudgetCents": null}))
        .await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(app.feed().await, (version + 1, removals + 1), "nothing changed");
}

#[tokio::test]
async fn costs_are_what_the_limit_service_counts_projected_to_the_months_end() {
    let (app, fake) = start().await;
    let ada = app.register("ada").await;
    let none = app.get(&ada.path("/costs"), &ada.token).await;
    assert_eq!(
        (none.status, &none.body["budgetCents"]),
        (StatusCode::OK, &Value::Null)
    );

    let set = json!({"monthlyBudgetCents": 10_000, "autoShutoff": true});
    app.patch(&ada.path("/budget"), &ada.token, set).await;
    let unseen = app.get(&ada.path("/costs"), &ada.token).await;
    assert_eq!(unseen.body["currentSpendCents"], json!(0), "{unseen:?}");
    assert_eq!(unseen.str("/budgets/0/windowStart"), "2026-06-01T00:00:00.000Z");

    // 2026-06-15T12:00Z is 14.5 days into a month of 30: 29 USD so far are 2 a day and 60 at the end.
    *fake.budgets.lock().unwrap() = vec![BudgetState {
        budget_id: budget_id(&app).await,
        limit: 100_000_000_000,
        spent: 29_000_000_000,
        reserved: 1_000_000_000,
        window_start_ms: START_MS - (14 * 24 + 12) * 3_600_000,
        window_end_ms: START_MS + (15 * 24 + 12) * 3_600_000,
        ..BudgetState::default()
    }];
    for path in [ada.path("/costs"), "/api/costs".to_owned()] {
        let costs = app.get(&path, &ada.token).await;
        let expected = [
            ("currentSpendCents", json!(2900)),
            ("reservedCents", json!(100)),
            ("budgetCents", json!(10_000)),
            ("percentUsed", json!(29)),
            ("remainingCents", json!(7000)),
            ("dailyRateCents", json!(200)),
            ("projectedMonthEndCents", json!(6000)),
            ("autoShutoff", json!(true)),
        ];
        for (field, value) in expected {
            assert_eq!(costs.body[field], value, "{path} {field} {costs:?}");
        }
        assert_eq!(costs.str("/budgets/0/windowEnd"), "2026-07-01T00:00:00.000Z");
    }
}

#[tokio::test]
async fn costs_and_resets_without_the_limit_service_are_503_and_name_it() {
    let app = App::start_with(|config| config.limits.url = Some("http://127.0.0.1:1".to_owned())).await;
    let unset = App::start().await;
    for app in [app, unset] {
        let ada = app.register("ada").await;
        app.patch(&ada.path("/budget"), &ada.token, json!({"monthlyBudgetCents": 5}))
            .await;
        let rule = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                          "limit": 1, "windowMs": 1000});
        let rule = app.post(&ada.path("/rules"), &ada.token, rule).await;
        let reset = ada.path(&format!("/rules/{}/reset", rule.str("/id")));
        for answer in [
            app.get(&ada.path("/costs"), &ada.token).await,
            app.post(&reset, &ada.token, Value::Null).await,
        ] {
            assert_eq!(answer.problem(), (503, "unavailable".into(), vec![]));
            assert!(answer.str("/detail").contains("limit service"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_names_the_rule_and_the_subject() {
    let (app, fake) = start().await;
    let ada = app.register("ada").await;
    let rule = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                      "limit": 1, "windowMs": 1000});
    let rule = app.post(&ada.path("/rules"), &ada.token, rule).await;
    let path = ada.path(&format!("/rules/{}/reset", rule.str("/id")));
    let all = app.post(&path, &ada.token, Value::Null).await;
    assert_eq!(
        (all.status, &all.body),
        (StatusCode::OK, &json!({"bucketsRemoved": 3}))
    );
    app.post(&path, &ada.token, json!({"subject": "k:1"})).await;
    let bad = app.post(&path, &ada.token, json!({"subject": "{x}"})).await;
    assert_eq!(bad.problem(), (422, "invalid".into(), vec!["subject".into()]));
    let asked = fake.resets.lock().unwrap().clone();
    let rule_id: uuid::Uuid = rule.str("/id").parse().unwrap();
    let workspace_id: uuid::Uuid = ada.workspace_id.parse().unwrap();
    assert!(
        asked
            .iter()
            .all(|r| r.quota_id == rule_id.as_bytes() && r.workspace_id == workspace_id.as_bytes())
    );
    let partitions: Vec<_> = asked.iter().map(|r| r.partition.as_deref()).collect();
    assert_eq!(partitions, [None, Some("k:1")]);
}
