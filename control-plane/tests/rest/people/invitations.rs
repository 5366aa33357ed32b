//! Invitations: one address, once, for seven days.

use super::{audited, join, log_in};
use crate::support::app::{Answer, App, PASSWORD, Person};
use axum::http::StatusCode;
use rateguard_control_plane::config::Registration;
use serde_json::json;

async fn invite(app: &App, host: &Person, who: &Person, name: &str, role: &str) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "role": role});
    app.post(&host.path("/invitations"), &who.token, body).await
}

fn token(made: &Answer) -> String {
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let link = made.str("/acceptUrl");
    link.split_once("#token=").unwrap().1.to_owned()
}

async fn redeem(app: &App, verb: &str, session: &str, token: &str) -> Answer {
    let path = format!("/api/auth/invitations/{verb}");
    app.post(&path, session, json!({"token": token})).await
}

async fn sign_up(app: &App, token: &str, name: &str, password: &str) -> Answer {
    let body = json!({"token": token, "name": name, "password": password});
    app.post("/api/auth/invitations/accept", "", body).await
}

#[tokio::test]
async fn ca_04_an_invitation_is_for_the_invited_address_once() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let eve = app.register("eve").await;
    let made = invite(&app, &ada, &ada, "BOB", "MEMBER").await;
    let token = token(&made);
    assert_eq!(
        (made.str("/status"), &made.body["mailed"]),
        ("pending", &json!(false))
    );
    assert!(
        made.str("/acceptUrl")
            .starts_with("http://127.0.0.1:3000/accept-invitation#token=rginv_")
    );
    let list = app.get(&ada.path("/invitations"), &ada.token).await;
    assert!(!list.body.to_string().contains("rginv_"), "{list:?}");
    assert_eq!(list.str("/data/0/status"), "pending");

    let offer = redeem(&app, "preview", "", &token).await;
    assert_eq!(
        (
            offer.str("/workspaceName"),
            offer.str("/role"),
            &offer.body["hasAccount"]
        ),
        ("ada's workspace", "MEMBER", &json!(true))
    );
    assert_eq!(redeem(&app, "accept", &eve.token, &token).await.problem().0, 403);
    assert_eq!(
        redeem(&app, "accept", "no.such.token", &token).await.problem().0,
        401
    );
    // Whoever has only the link cannot take over the account.
    assert_eq!(
        sign_up(&app, &token, "Bob", "battery staple").await.problem().0,
        409
    );
    let (one, two) = tokio::join!(
        redeem(&app, "accept", &bob.token, &token),
        redeem(&app, "accept", &bob.token, &token)
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404], "{one:?} {two:?}");
    for verb in ["accept", "decline", "preview"] {
        assert_eq!(
            redeem(&app, verb, &bob.token, &token).await.problem().0,
            404,
            "{verb}"
        );
    }
    assert_eq!(app.get(&ada.path(""), &bob.token).await.str("/role"), "MEMBER");
    assert_eq!(app.get(&ada.path(""), &eve.token).await.problem().0, 404);
    let list = app.get(&ada.path("/invitations"), &ada.token).await;
    assert_eq!(list.str("/data/0/status"), "accepted");
    let told = audited(&app).await;
    for action in ["invitation.create", "invitation.accept"] {
        assert_eq!(told.iter().filter(|a| *a == action).count(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn who_has_no_account_gets_one_with_the_invited_address() {
    let app = App::start_with(|config| config.registration = Registration::Open).await;
    let ada = app.register("ada").await;
    let token = token(&invite(&app, &ada, &ada, "grace", "VIEWER").await);
    let offer = redeem(&app, "preview", "", &token).await;
    assert_eq!(offer.body["hasAccount"], json!(false));
    assert_eq!(
        redeem(&app, "accept", "", &token).await.problem().2,
        ["name", "password"]
    );
    assert_eq!(
        sign_up(&app, &token, "Grace", "short").await.problem().2,
        ["password"]
    );
    let made = sign_up(&app, &token, "Grace", PASSWORD).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.str("/user/email"), "grace@example.com");
    assert_eq!(made.str("/workspace/id"), ada.workspace_id);
    assert_eq!(
        app.get(&ada.path("/keys"), made.str("/accessToken")).await.status,
        StatusCode::OK
    );
    let refreshed = app.call_with_cookie("/api/auth/refresh", &made.cookie()).await;
    assert_eq!(refreshed.status, StatusCode::OK);
    assert_eq!(sign_up(&app, &token, "Grace", PASSWORD).await.problem().0, 404);
    assert_eq!(log_in(&app, "grace", PASSWORD, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn registration_decides_who_gets_an_account() {
    for (mode, status) in [(Registration::Invite, 201), (Registration::Closed, 403)] {
        let app = App::start_with(|config| config.registration = Registration::Open).await;
        let ada = app.register("ada").await;
        let bob = app.register("bob").await;
        let new = token(&invite(&app, &ada, &ada, "grace", "VIEWER").await);
        let known = token(&invite(&app, &ada, &ada, "bob", "VIEWER").await);
        let app = app.with_config(|config| config.registration = mode);
        let body = json!({"email": "x@example.com", "password": PASSWORD, "name": "x"});
        assert_eq!(app.post("/api/auth/register", "", body).await.problem().0, 403);
        let made = sign_up(&app, &new, "Grace", PASSWORD).await;
        assert_eq!(made.status.as_u16(), status, "{mode:?} {made:?}");
        let joined = redeem(&app, "accept", &bob.token, &known).await;
        assert_eq!(joined.status, StatusCode::OK, "{mode:?}");
    }
}

#[tokio::test]
async fn invitations_end_by_age_by_revocation_and_by_being_declined() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let declined = token(&invite(&app, &ada, &ada, "bob", "MEMBER").await);
    let twice = invite(&app, &ada, &ada, "Bob", "VIEWER").await;
    assert_eq!(twice.problem(), (409, "conflict".into(), vec!["email".into()]));
    assert_eq!(
        redeem(&app, "decline", "", &declined).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        redeem(&app, "accept", &bob.token, &declined).await.problem().0,
        404
    );

    app.clock.advance_ms(1);
    let made = invite(&app, &ada, &ada, "bob", "MEMBER").await;
    let revoked = token(&made);
    let path = ada.path(&format!("/invitations/{}", made.str("/id")));
    assert_eq!(app.delete(&path, &bob.token).await.problem().0, 404);
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.delete(&path, &ada.token).await.problem().0, 409);
    assert_eq!(
        redeem(&app, "accept", &bob.token, &revoked).await.problem().0,
        404
    );

    app.clock.advance_ms(1);
    let old = token(&invite(&app, &ada, &ada, "bob", "MEMBER").await);
    app.clock.advance_ms(7 * 24 * 3600 * 1000 - 1);
    assert_eq!(redeem(&app, "preview", "", &old).await.status, StatusCode::OK);
    app.clock.advance_ms(1);
    assert_eq!(redeem(&app, "accept", "", &old).await.problem().0, 404);
    let again = log_in(&app, "ada", PASSWORD, &[]).await;
    let list = app
        .get(&ada.path("/invitations"), again.str("/accessToken"))
        .await;
    let statuses: Vec<_> = list.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["status"].clone())
        .collect();
    assert_eq!(statuses, ["declined", "revoked", "expired"]);
}

#[tokio::test]
async fn roles_bound_who_is_invited_and_those_who_lose_them_lose_their_invitations() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let admin = join(&app, &ada, "adam", "ADMIN").await;
    let member = join(&app, &ada, "mia", "MEMBER").await;
    assert_eq!(invite(&app, &ada, &member, "x", "VIEWER").await.problem().0, 403);
    assert_eq!(invite(&app, &ada, &admin, "x", "OWNER").await.problem().0, 403);
    let already = invite(&app, &ada, &ada, "mia", "VIEWER").await;
    assert_eq!(already.problem(), (409, "conflict".into(), vec!["email".into()]));
    let token = token(&invite(&app, &ada, &admin, "x", "ADMIN").await);
    assert_eq!(redeem(&app, "preview", "", &token).await.status, StatusCode::OK);
    let path = ada.path(&format!("/members/{}", admin.user_id));
    app.patch(&path, &ada.token, json!({"role": "MEMBER"})).await;
    assert_eq!(redeem(&app, "preview", "", &token).await.problem().0, 404);
    let bad = app
        .post(
            &ada.path("/invitations"),
            &ada.token,
            json!({"email": "x", "role": "GOD"}),
        )
        .await;
    assert_eq!(bad.problem().2, ["role"]);
    let bad = app
        .post(
            &ada.path("/invitations"),
            &ada.token,
            json!({"email": "x", "role": "VIEWER"}),
        )
        .await;
    assert_eq!(bad.problem().2, ["email"]);
}
