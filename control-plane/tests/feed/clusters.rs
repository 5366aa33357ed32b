//! Envoy's clusters: one per API, told again only when they change.

use crate::replica::{CREDENTIAL, PROMPT, Replica, envoy, made, make_api, make_key, operator_token};
use crate::support::app::App;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SETTLED: Duration = Duration::from_millis(300);

fn version(answer: &Value) -> String {
    answer["version_info"].as_str().unwrap().to_owned()
}

fn names(answer: &Value) -> Vec<String> {
    let resources = answer["resources"].as_array().unwrap();
    resources
        .iter()
        .map(|cluster| cluster["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_api_is_a_cluster_and_nothing_secret_is_in_it() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let api = make_api(&app, &ada, "openai").await;
    let replica = Replica::start(&app).await;
    let (status, answer) = replica.clusters(&token, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer["type_url"],
        "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    );
    assert_eq!(names(&answer), [format!("api_{api}")]);
    assert_eq!(
        answer["resources"][0]["transport_socket"]["typed_config"]["sni"],
        "api.openai.test"
    );
    assert!(answer["nonce"].as_str().is_some_and(|nonce| !nonce.is_empty()));
    let text = answer.to_string();
    assert!(!text.contains(CREDENTIAL) && !text.contains(&token));
}

#[tokio::test]
async fn the_bundle_of_envoys_machine_is_used() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    make_api(&app, &ada, "openai").await;
    let replica = Replica::start(&app).await;
    let mut request = envoy("gateway", &token, "");
    request["node"]["metadata"]["rateguard"]["caFile"] = json!("/etc/pki/tls/cert.pem");
    let (_, answer) = replica.clusters_of(request).await;
    let context = &answer["resources"][0]["transport_socket"]["typed_config"]["common_tls_context"];
    assert_eq!(
        context["validation_context"]["trusted_ca"]["filename"],
        "/etc/pki/tls/cert.pem"
    );
}

#[tokio::test]
async fn a_poll_hangs_until_clusters_change_and_only_then() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    make_api(&app, &ada, "openai").await;
    let replica = Arc::new(Replica::start(&app).await);
    let (_, first) = replica.clusters(&token, "").await;
    let poll = tokio::spawn({
        let (replica, token, version) = (replica.clone(), token.clone(), version(&first));
        async move { (replica.clusters(&token, &version).await, Instant::now()) }
    });
    make_key(&app, &ada).await;
    let path = ada.path("/apis");
    let listed = app.get(&path, &ada.token).await;
    let path = format!("{path}/{}", listed.str("/data/0/id"));
    app.patch(&path, &ada.token, json!({"name": "renamed", "timeoutMs": 5_000}))
        .await;
    replica.caught_up(&app).await;
    tokio::time::sleep(SETTLED).await;
    assert!(!poll.is_finished(), "woken by what no cluster shows");

    let second = json!({"name": "other", "baseUrl": "https://api.other.test", "authType": "NONE"});
    let second = made(&app, &ada, "/apis", second).await;
    let committed = Instant::now();
    let ((status, answer), at) = poll.await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(names(&answer).contains(&format!("api_{second}")));
    assert_ne!(version(&answer), version(&first));
    assert!(at.saturating_duration_since(committed) <= PROMPT);

    app.delete(&ada.path(&format!("/apis/{second}")), &ada.token)
        .await;
    let (_, back) = replica.clusters(&token, &version(&answer)).await;
    assert_eq!((names(&back), version(&back)), (names(&first), version(&first)));
}

#[tokio::test]
async fn every_replica_gives_the_same_version() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    make_api(&app, &ada, "openai").await;
    let [one, two] = [Replica::start(&app).await, Replica::start(&app).await];
    assert_eq!(
        version(&one.clusters(&token, "").await.1),
        version(&two.clusters(&token, "").await.1)
    );
}

#[tokio::test]
async fn clusters_that_envoy_refused_are_not_sent_again_at_once() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let (_, empty) = replica.clusters(&token, "").await;
    make_api(&app, &ada, "openai").await;
    replica.caught_up(&app).await;
    let (_, refused) = replica.clusters(&token, &version(&empty)).await;
    assert_eq!(names(&refused).len(), 1);
    // Envoy says nothing: it asks again with the version it kept.
    let poll = tokio::spawn({
        let (replica, token, version) = (replica.clone(), token.clone(), version(&empty));
        async move { replica.clusters(&token, &version).await }
    });
    tokio::time::sleep(SETTLED).await;
    assert!(!poll.is_finished());
    make_api(&app, &ada, "second").await;
    assert_eq!(names(&poll.await.unwrap().1).len(), 2);
    // A restarted one, and another one, are answered at once.
    assert_eq!(replica.clusters(&token, "").await.0, StatusCode::OK);
    let other = replica
        .clusters_of(envoy("other", &token, &version(&empty)))
        .await;
    assert_eq!(names(&other.1).len(), 2);
}
