//! Polls that hang: woken by what concerns them, and by nothing else.

use crate::replica::{
    CREDENTIAL, PROMPT, Replica, after, filter, hanging, make_api, make_key, make_rule, operator_token,
    own_token,
};
use crate::support::app::App;
use axum::http::StatusCode;
use prost::Message as _;
use rateguard_wire::v1::{KeyState, PollRequest, PollRole};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Long enough that a poll which was going to answer at once has answered.
const SETTLED: Duration = Duration::from_millis(300);

#[tokio::test]
async fn cp_03_a_revocation_made_elsewhere_wakes_a_hanging_poll() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let key = make_key(&app, &ada).await;
        replica.caught_up(&app).await;
        let known = replica.poll(&token, filter()).await;
        let poll = tokio::spawn({
            let (replica, token, request) = (replica.clone(), token.clone(), hanging(after(&known)));
            async move { (replica.poll(&token, request).await, Instant::now()) }
        });
        let path = ada.path(&format!("/keys/{key}/revoke"));
        let revoked = app.post(&path, &ada.token, json!({})).await;
        assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
        let committed = Instant::now();
        let (answer, at) = poll.await.unwrap();
        let states: Vec<_> = answer.keys.iter().map(rateguard_wire::v1::Key::state).collect();
        assert_eq!(states, [KeyState::Revoked]);
        slowest = slowest.max(at.saturating_duration_since(committed));
    }
    println!("slowest of 10: {slowest:?}");
    assert!(slowest <= PROMPT, "{slowest:?}");
}

#[tokio::test]
async fn a_poll_answers_at_its_own_deadline_when_nothing_changes() {
    let app = App::start().await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let known = replica.poll(&token, filter()).await;
    let started = Instant::now();
    let request = PollRequest {
        wait_ms: 400,
        ..after(&known)
    };
    let answer = replica.poll(&token, request).await;
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!((answer.version, answer.full), (known.version, false));
}

#[tokio::test]
async fn what_is_no_business_of_the_client_does_not_wake_it() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let (ada_token, _) = own_token(&app, &ada).await;
    let replica = Arc::new(Replica::start(&app).await);
    let limits = PollRequest {
        role: PollRole::Limits.into(),
        ..filter()
    };
    for first in [filter(), limits] {
        let known = replica.poll(&ada_token, first.clone()).await;
        let poll = tokio::spawn({
            let (replica, token) = (replica.clone(), ada_token.clone());
            let request = PollRequest {
                role: first.role,
                ..hanging(after(&known))
            };
            async move { replica.poll(&token, request).await }
        });
        make_key(&app, &bob).await;
        if first.role() == PollRole::Limits {
            make_key(&app, &ada).await;
            make_api(&app, &ada, "openai").await;
            make_rule(&app, &ada).await;
        }
        replica.caught_up(&app).await;
        tokio::time::sleep(SETTLED).await;
        assert!(!poll.is_finished());
        app.patch(&ada.path("/budget"), &ada.token, json!({"monthlyBudgetCents": 5}))
            .await;
        let answer = poll.await.unwrap();
        assert_eq!(
            (answer.budgets.len(), answer.keys.len(), answer.apis.len()),
            (1, 0, 0)
        );
        app.patch(
            &ada.path("/budget"),
            &ada.token,
            json!({"monthlyBudgetCents": null}),
        )
        .await;
        replica.caught_up(&app).await;
    }
}

#[tokio::test]
async fn a_refused_answer_is_not_sent_again_until_something_changes() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let known = replica.poll(&token, filter()).await;
    make_api(&app, &ada, "openai").await;
    replica.caught_up(&app).await;
    let refused = replica.poll(&token, after(&known)).await;
    assert_eq!(refused.apis.len(), 1);
    let nack = PollRequest {
        version: known.version.clone(),
        nonce: refused.nonce.clone(),
        nack_reason: "it shrank by more than half".into(),
        ..filter()
    };
    let poll = tokio::spawn({
        let (replica, token, request) = (replica.clone(), token.clone(), hanging(nack.clone()));
        async move { replica.poll(&token, request).await }
    });
    tokio::time::sleep(SETTLED).await;
    assert!(!poll.is_finished(), "the same answer came back at once");
    make_key(&app, &ada).await;
    let answer = poll.await.unwrap();
    assert_eq!((answer.apis.len(), answer.keys.len(), answer.full), (1, 1, false));

    // At its deadline the client is offered what it lacks once more.
    let again = PollRequest {
        nonce: answer.nonce.clone(),
        wait_ms: 100,
        ..nack
    };
    let offered = replica.poll(&token, again).await;
    assert_eq!((offered.apis.len(), offered.keys.len()), (1, 1));
    // Taken at last.
    assert_eq!(replica.poll(&token, after(&offered)).await.apis.len(), 0);
}

#[tokio::test]
async fn cp_12_revoking_a_token_ends_its_hanging_poll_with_401() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let (token, id) = own_token(&app, &ada).await;
    let replica = Arc::new(Replica::start(&app).await);
    let known = replica.poll(&token, filter()).await;
    let poll = tokio::spawn({
        let (replica, token) = (replica.clone(), token.clone());
        let body = hanging(after(&known)).encode_to_vec();
        async move {
            (
                replica.send("/v1/config:poll", &token, body).await,
                Instant::now(),
            )
        }
    });
    let envoy = tokio::spawn({
        let (replica, token) = (replica.clone(), token.clone());
        let (_, clusters) = replica.clusters(&token, "").await;
        let version = clusters["version_info"].as_str().unwrap().to_owned();
        async move { replica.clusters(&token, &version).await }
    });
    let gone = app
        .delete(&ada.path(&format!("/data-planes/{id}")), &ada.token)
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    let committed = Instant::now();
    let ((status, body), at) = poll.await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(at.saturating_duration_since(committed) <= PROMPT);
    assert!(!String::from_utf8_lossy(&body).contains(&token));
    assert_eq!(envoy.await.unwrap().0, StatusCode::UNAUTHORIZED);
    let (status, _) = replica
        .send("/v1/config:poll", &token, filter().encode_to_vec())
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn stopping_the_program_answers_hanging_polls() {
    let app = App::start().await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let known = replica.poll(&token, filter()).await;
    let (_, clusters) = replica.clusters(&token, "").await;
    let poll = tokio::spawn({
        let (replica, token, request) = (replica.clone(), token.clone(), hanging(after(&known)));
        async move { replica.poll(&token, request).await }
    });
    let envoy = tokio::spawn({
        let (replica, version) = (
            replica.clone(),
            clusters["version_info"].as_str().unwrap().to_owned(),
        );
        async move { replica.clusters(&token, &version).await }
    });
    let stopped = Instant::now();
    replica.stop();
    assert_eq!(poll.await.unwrap().version, known.version);
    assert_eq!(envoy.await.unwrap().0, StatusCode::OK);
    assert!(stopped.elapsed() < PROMPT);
}

#[tokio::test]
async fn a_replica_that_is_behind_catches_up_before_it_answers() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let behind = Replica::start(&app).await;
    let known = behind.poll(&token, filter()).await;
    // The client has been to a replica that is one change ahead; this one hears of it while the poll waits.
    let (epoch, number) = known.version.split_once('.').unwrap();
    let ahead = PollRequest {
        version: format!("{epoch}.{}", number.parse::<i64>().unwrap() + 1),
        ..hanging(after(&known))
    };
    let poll = async { behind.poll(&token, ahead).await };
    let change = async {
        make_key(&app, &ada).await;
        make_key(&app, &ada).await;
    };
    let (answer, ()) = tokio::join!(poll, change);
    assert!(!answer.full);
    assert_eq!(answer.keys.len(), 1);
}

#[tokio::test]
async fn no_answer_of_the_wrong_role_ever_has_a_credential() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    make_api(&app, &ada, "openai").await;
    replica.caught_up(&app).await;
    let limits = PollRequest {
        role: PollRole::Limits.into(),
        ..filter()
    };
    let (_, body) = replica
        .send("/v1/config:poll", &token, limits.encode_to_vec())
        .await;
    assert!(!contains(&body, CREDENTIAL));
    let (_, body) = replica
        .send("/v1/config:poll", &token, filter().encode_to_vec())
        .await;
    assert!(contains(&body, CREDENTIAL));
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}
