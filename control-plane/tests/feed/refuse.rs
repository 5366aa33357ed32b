//! What is refused: bodies that are no polls, tokens that are none.

use crate::replica::{Replica, envoy, filter, operator_token};
use crate::support::app::App;
use axum::http::StatusCode;
use prost::Message as _;
use rateguard_wire::v1::{KeyUse, PollRequest, PollRole};
use serde_json::json;

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
