//! What is refused: bodies that are no polls, tokens that are none.

use crate::replica::{Replica, envoy, filter, operator_token, own_token};
use crate::support::app::{App, Person};
use axum::http::StatusCode;
use prost::Message as _;
use rateguard_wire::v1::{KeyUse, PollRequest, PollRole, SpendQuery, SpendWindow};
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn cp_07_bodies_that_are_no_polls_are_400() {
    let app = App::start().await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let key_use = |key_id: Vec<u8>| KeyUse { key_id, minute: 1 };
    let polls = [
        PollRequest {
            role: PollRole::Unspecified.into(),
            ..filter()
        },
        PollRequest { role: 77, ..filter() },
        PollRequest {
            node_id: String::new(),
            ..filter()
        },
        PollRequest {
            node_id: "n".repeat(257),
            ..filter()
        },
        PollRequest {
            version: "v".repeat(100),
            ..filter()
        },
        PollRequest {
            key_uses: vec![key_use(vec![1; 15])],
            ..filter()
        },
        PollRequest {
            key_uses: vec![key_use(vec![1; 16]); 1_001],
            ..filter()
        },
    ];
    let mut bodies: Vec<Vec<u8>> = polls.iter().map(PollRequest::encode_to_vec).collect();
    bodies.extend([
        Vec::new(),
        b"{\"nodeId\": \"x\"}".to_vec(),
        b"<html>503 Service Unavailable</html>".to_vec(),
        b"upstream connect error or disconnect/reset before headers".to_vec(),
        vec![0xff; 64],
        vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ]);
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let (status, answer) = replica.send("/v1/config:poll", &token, body).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{shown}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    let (status, _) = replica.send("/v1/config:poll", &token, vec![0; 300 * 1024]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn cp_12_tokens_that_are_none_are_401() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let changed = format!("{}A", &token[..token.len() - 1]);
    let other = if changed == token {
        format!("{}B", &token[..47])
    } else {
        changed
    };
    for wrong in ["", "x", &ada.token, &other, &token[..47], "rgdp_"] {
        let (status, _) = replica
            .send("/v1/config:poll", wrong, filter().encode_to_vec())
            .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
        let (status, _) = replica.clusters(wrong, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_spent_is_told_to_data_planes_of_the_workspace_only() {
    let app = App::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let (operator, (own, _)) = (operator_token(&app).await, own_token(&app, &ada).await);
    let replica = Replica::start(&app).await;
    let id = |person: &Person| person.workspace_id.parse::<Uuid>().unwrap().as_bytes().to_vec();
    let query = |workspace_id: Vec<u8>| SpendQuery {
        workspace_id,
        ..SpendQuery::default()
    };
    let window = SpendWindow {
        subject_kind: 1,
        start_ms: 1,
        ..SpendWindow::default()
    };
    let uneven = SpendQuery {
        windows: vec![window],
        ..query(id(&ada))
    };
    // Nobody's answer is a figure here: this program has no ClickHouse.
    for (token, query, expected) in [
        ("", query(id(&ada)), StatusCode::UNAUTHORIZED),
        (ada.token.as_str(), query(id(&ada)), StatusCode::UNAUTHORIZED),
        (own.as_str(), query(id(&bob)), StatusCode::NOT_FOUND),
        (own.as_str(), query(id(&ada)), StatusCode::NOT_IMPLEMENTED),
        (operator.as_str(), query(id(&bob)), StatusCode::NOT_IMPLEMENTED),
        (operator.as_str(), query(vec![1; 15]), StatusCode::BAD_REQUEST),
        (operator.as_str(), uneven, StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = replica
            .send("/v1/spend:query", token, query.encode_to_vec())
            .await;
        assert_eq!(
            status,
            expected,
            "{query:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    let answer = replica.poll(&operator, filter()).await;
    assert!(!answer.has_ledger, "there is none");
}

#[tokio::test]
async fn discovery_bodies_that_are_none_are_400() {
    let app = App::start().await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let mut listeners = envoy("n", &token, "");
    listeners["type_url"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    let mut relative = envoy("n", &token, "");
    relative["node"]["metadata"]["rateguard"]["caFile"] = json!("ca.pem");
    for body in [
        json!({}),
        json!([]),
        json!(null),
        json!({"node": 1}),
        listeners,
        relative,
    ] {
        let shown = body.to_string();
        assert_eq!(
            replica.clusters_of(body).await.0,
            StatusCode::BAD_REQUEST,
            "{shown}"
        );
    }
    let (status, _) = replica.send("/v3/discovery:clusters", "", b"{".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
