//! Personal access tokens.

use super::{audited, join};
use crate::support::app::{App, PASSWORD, START_MS};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_acts_as_its_creator_in_one_workspace() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let second = app
        .post("/api/workspaces", &ada.token, json!({"name": "Second"}))
        .await;
    let made = app
        .post(&ada.path("/access-tokens"), &ada.token, json!({"name": "ci"}))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let token = made.str("/token").to_owned();
    assert!(token.starts_with("rgpat_") && token.len() == 49);
    assert_eq!(made.str("/role"), "OWNER");
    let me = app.get("/api/auth/me", &token).await;
    assert_eq!(me.str("/user/id"), ada.user_id);
    assert_eq!(me.body["workspaces"].as_array().unwrap().len(), 1);
    let key = app
        .post(&ada.path("/keys"), &token, json!({"name": "by token"}))
        .await;
    assert_eq!(key.status, StatusCode::CREATED);
    assert_eq!(app.get("/api/costs", &token).await.status, StatusCode::OK);
    let other = format!("/api/workspaces/{}", second.str("/id"));
    assert_eq!(app.get(&other, &token).await.problem().0, 404);
    let list = app.get("/api/workspaces", &token).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1);

    let list = app.get(&ada.path("/access-tokens"), &ada.token).await;
    assert!(!list.body.to_string().contains(&token), "{list:?}");
    assert_eq!(list.str("/data/0/lastUsedAt"), "2026-06-15T12:00:00.000Z");
    let stored: String = sqlx::query_scalar("SELECT string_agg(t::text, '') FROM access_token t")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(!stored.contains(&token[6..]));
    let log: String = sqlx::query_scalar("SELECT string_agg(t::text, '') FROM audit_entry t")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(!log.contains(&token[6..]), "au_14: the log tells no secret");
    assert!(audited(&app).await.contains(&"access-token.create".to_owned()));
}

#[tokio::test]
async fn a_token_cannot_manage_sessions_passwords_ownership_tokens_or_workspaces() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "MEMBER").await;
    let made = app
        .post(&ada.path("/access-tokens"), &ada.token, json!({"name": "ci"}))
        .await;
    let token = made.str("/token").to_owned();
    let own = ada.path(&format!("/access-tokens/{}", made.str("/id")));
    let password = json!({"currentPassword": PASSWORD, "newPassword": "battery staple"});
    for (method, path, body) in [
        (Method::GET, "/api/auth/sessions".to_owned(), Value::Null),
        (Method::DELETE, "/api/auth/sessions".to_owned(), Value::Null),
        (Method::POST, "/api/auth/password".to_owned(), password),
        (Method::GET, ada.path("/access-tokens"), Value::Null),
        (Method::POST, ada.path("/access-tokens"), json!({"name": "more"})),
        (Method::DELETE, own, Value::Null),
        (
            Method::POST,
            ada.path("/transfer-ownership"),
            json!({"memberId": bob.user_id}),
        ),
        (
            Method::POST,
            "/api/workspaces".to_owned(),
            json!({"name": "more"}),
        ),
        (
            Method::DELETE,
            ada.path(&format!("/members/{}", ada.user_id)),
            Value::Null,
        ),
    ] {
        let answer = app.call(method.clone(), &path, &token, &body).await;
        assert_eq!(answer.problem().0, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn ca_02_a_token_never_may_more_than_its_creator_now() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "MEMBER").await;
    let create = async |body: Value| app.post(&ada.path("/access-tokens"), &bob.token, body).await;
    for role in ["OWNER", "ADMIN"] {
        assert_eq!(
            create(json!({"name": "x", "role": role})).await.problem().0,
            403,
            "{role}"
        );
    }
    let reader = create(json!({"name": "r", "role": "VIEWER"})).await;
    let writer = create(json!({"name": "w"})).await;
    assert_eq!(writer.str("/role"), "MEMBER");
    let write = async |token: &str| {
        app.post(&ada.path("/keys"), token, json!({"name": "k"}))
            .await
            .status
    };
    assert_eq!(write(reader.str("/token")).await, StatusCode::FORBIDDEN);
    assert_eq!(write(writer.str("/token")).await, StatusCode::CREATED);
    let member = ada.path(&format!("/members/{}", bob.user_id));
    app.patch(&member, &ada.token, json!({"role": "VIEWER"})).await;
    assert_eq!(write(writer.str("/token")).await, StatusCode::FORBIDDEN);
    app.patch(&member, &ada.token, json!({"role": "ADMIN"})).await;
    assert_eq!(write(writer.str("/token")).await, StatusCode::CREATED);
    let invite = json!({"email": "x@example.com", "role": "VIEWER"});
    let refused = app
        .post(&ada.path("/invitations"), writer.str("/token"), invite)
        .await;
    assert_eq!(refused.problem().0, 403, "a promotion does not reach the token");
}

#[tokio::test]
async fn tokens_expire_and_are_revoked_by_those_who_may() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "MEMBER").await;
    let eve = join(&app, &ada, "eve", "MEMBER").await;
    let create = async |body: Value| app.post(&ada.path("/access-tokens"), &bob.token, body).await;
    let at = |ms: i64| {
        chrono::DateTime::from_timestamp_millis(START_MS + ms)
            .unwrap()
            .to_rfc3339()
    };
    let day = 24 * 3600 * 1000;
    for bad in [at(0), at(367 * day), "tomorrow".to_owned()] {
        let refused = create(json!({"name": "x", "expiresAt": bad})).await;
        assert_eq!(refused.problem().2, ["expiresAt"], "{bad}");
    }
    assert_eq!(create(json!({"name": ""})).await.problem().2, ["name"]);
    let short = create(json!({"name": "short", "expiresAt": at(1_000)})).await;
    let long = create(json!({"name": "long"})).await;
    let (short, token) = (short.str("/token").to_owned(), long.str("/token").to_owned());
    let status = async |token: &str| app.get(&ada.path("/keys"), token).await.status;
    assert_eq!(status(&short).await, StatusCode::OK);
    app.clock.advance_ms(1_000);
    assert_eq!(status(&short).await, StatusCode::UNAUTHORIZED);

    let path = ada.path(&format!("/access-tokens/{}", long.str("/id")));
    assert_eq!(app.delete(&path, &eve.token).await.problem().0, 403);
    let seen = app.get(&ada.path("/access-tokens"), &eve.token).await;
    assert_eq!(seen.body["data"], json!([]));
    let seen = app.get(&ada.path("/access-tokens"), &ada.token).await;
    assert_eq!(seen.body["data"].as_array().unwrap().len(), 2);
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(app.delete(&path, &bob.token).await.problem().0, 404);
}
