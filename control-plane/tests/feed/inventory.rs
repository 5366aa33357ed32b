//! What data planes run: heard by one replica, shown by every one.

use crate::replica::{Replica, after, filter, operator_token, own_token};
use crate::support::app::{App, Person};
use axum::body::Body;
use axum::http::{Request, header};
use rateguard_control_plane::feed::sync::flush_reports;
use rateguard_wire::v1::{PollRequest, PollRole};
use serde_json::{Value, json};

async fn tokens(app: &App, person: &Person) -> Vec<Value> {
    let listed = app.get(&person.path("/data-planes"), &person.token).await;
    listed.body["data"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn every_replica_shows_what_any_of_them_heard() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let (token, id) = own_token(&app, &ada).await;
    let [one, two] = [Replica::start(&app).await, Replica::start(&app).await];
    let said = |request: PollRequest| PollRequest {
        software_version: "1.2.3".into(),
        ..request
    };
    let known = one.poll(&token, said(filter())).await;
    let refusal = PollRequest {
        nack_reason: "keys.id is not 16 bytes".into(),
        nonce: known.nonce.clone(),
        ..said(filter())
    };
    one.poll(&token, refusal.clone()).await;
    flush_reports(&one.state).await;
    app.clock.advance_ms(1_000);
    two.poll(&token, refusal).await;
    two.poll(&token, said(after(&known))).await;
    flush_reports(&two.state).await;
    // What one heard before is written after what the other heard later, and does not undo it.
    flush_reports(&one.state).await;

    let listed = tokens(&app, &ada).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["allWorkspaces"]),
        (&json!(id), &json!(false))
    );
    assert_eq!(
        listed[0]["nodes"],
        json!([{
            "nodeId": "node-1",
            "role": "filter",
            "softwareVersion": "1.2.3",
            "version": known.version,
            "lastSeenAt": "2026-06-15T12:00:01.000Z",
            "rejectionCount": 2,
            "rejectionReason": "keys.id is not 16 bytes",
            "rejectedAt": "2026-06-15T12:00:01.000Z",
        }])
    );
}

#[tokio::test]
async fn ti_a_workspace_sees_its_own_data_planes_and_the_shared_ones() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let (token, _) = own_token(&app, &ada).await;
    let shared = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    assert_eq!(tokens(&app, &bob).await, Vec::<Value>::new());
    let secret_reason = PollRequest {
        nack_reason: "apis.hosts of somebody else".into(),
        role: PollRole::Limits.into(),
        ..filter()
    };
    replica.poll(&token, filter()).await;
    replica.poll(&shared, secret_reason).await;
    flush_reports(&replica.state).await;
    assert_eq!(tokens(&app, &ada).await.len(), 2);
    let seen = tokens(&app, &bob).await;
    assert_eq!(seen.len(), 1);
    let node = &seen[0]["nodes"][0];
    assert_eq!(
        (&seen[0]["allWorkspaces"], &node["role"]),
        (&json!(true), &json!("limits"))
    );
    assert_eq!(
        (&node["rejectionCount"], &node["rejectionReason"]),
        (&json!(1), &Value::Null)
    );
    let path = bob.path(&format!("/data-planes/{}", seen[0]["id"].as_str().unwrap()));
    assert_eq!(app.delete(&path, &bob.token).await.status.as_u16(), 404);
}

#[tokio::test]
async fn tokens_come_in_pages_and_are_made_once() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let path = ada.path("/data-planes");
    let create = async || {
        let request = Request::post(&path)
            .header(header::AUTHORIZATION, format!("Bearer {}", ada.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "first")
            .body(Body::from(json!({"name": "a"}).to_string()));
        app.send(request.unwrap()).await
    };
    let (made, again) = (create().await, create().await);
    assert_eq!(
        (made.status, made.str("/token"), made.str("/id")),
        (again.status, again.str("/token"), again.str("/id"))
    );
    app.clock.advance_ms(1);
    own_token(&app, &ada).await;
    let first = app.get(&format!("{path}?limit=1"), &ada.token).await;
    assert_eq!(first.str("/data/0/name"), "a", "{first:?}");
    let cursor = first.str("/nextCursor");
    let second = app
        .get(&format!("{path}?limit=1&cursor={cursor}"), &ada.token)
        .await;
    assert_eq!(second.str("/data/0/name"), "gateway", "{second:?}");
    assert!(second.body["nextCursor"].is_null());
    let audit = app.get(&ada.path("/audit"), &ada.token).await;
    let made = audit.body["data"].as_array().unwrap().iter();
    let made = made.filter(|entry| {
        entry["action"]
            .as_str()
            .is_some_and(|a| a == "data-plane-token.create")
    });
    assert_eq!(made.count(), 2, "{audit:?}");
}
