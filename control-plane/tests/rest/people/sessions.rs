//! Sessions: refresh, list, revoke; forged access tokens.

use super::{audited, call, claims, join, log_in};
use crate::support::app::{App, PASSWORD};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

#[tokio::test]
async fn a_refresh_keeps_to_the_workspace_of_the_last_token() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let second = app
        .post("/api/workspaces", &ada.token, json!({"name": "Second"}))
        .await;
    let second = second.str("/id").to_owned();
    let refresh = async |cookie: &str, body: &Value| {
        let headers = [("cookie", cookie)];
        call(&app, Method::POST, "/api/auth/refresh", &headers, body).await
    };
    let moved = refresh(&ada.cookie, &json!({"workspaceId": second})).await;
    assert_eq!(claims(moved.str("/accessToken"))["workspaceId"], json!(second));
    let kept = refresh(&moved.cookie(), &Value::Null).await;
    assert_eq!(claims(kept.str("/accessToken"))["workspaceId"], json!(second));
    // The preceding token, within its grace, says the same and rotates nothing.
    let tab = refresh(&moved.cookie(), &Value::Null).await;
    assert_eq!(claims(tab.str("/accessToken"))["workspaceId"], json!(second));
    assert!(!tab.headers.contains_key("set-cookie"));
    let path = format!("/api/workspaces/{second}");
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    let back = refresh(&kept.cookie(), &Value::Null).await;
    assert_eq!(
        claims(back.str("/accessToken"))["workspaceId"],
        json!(ada.workspace_id)
    );
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let app = super::behind_a_proxy().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    app.clock.advance_ms(1_000);
    let phone = [("user-agent", "Phone/1"), ("x-forwarded-for", "192.0.2.7")];
    let second = log_in(&app, "ada", PASSWORD, &phone).await;
    let second_token = second.str("/accessToken").to_owned();
    let third = log_in(&app, "ada", PASSWORD, &[]).await;
    let list = app.get("/api/auth/sessions", &second_token).await;
    let all = list.body["data"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{list:?}");
    let own: Vec<&Value> = all.iter().filter(|s| s["current"] == true).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["userAgent"], "Phone/1");
    assert_eq!(own[0]["ip"], "192.0.2.7");
    assert_eq!(own[0]["id"], claims(&second_token)["sid"]);
    assert!(own[0]["lastUsedAt"].is_string() && own[0]["expiresAt"].is_string());

    let first = claims(&ada.token)["sid"].as_str().unwrap().to_owned();
    let path = format!("/api/auth/sessions/{first}");
    assert_eq!(app.delete(&path, &bob.token).await.problem().0, 404);
    assert_eq!(
        app.delete(&path, &second_token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.delete(&path, &second_token).await.problem().0, 404);
    assert_eq!(app.get("/api/auth/me", &ada.token).await.problem().0, 401);
    assert_eq!(app.get(&ada.path("/keys"), &ada.token).await.problem().0, 401);
    let refused = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(refused.problem().0, 401);

    let others = app.delete("/api/auth/sessions", &second_token).await;
    assert_eq!(others.status, StatusCode::NO_CONTENT);
    assert_eq!(
        app.get("/api/auth/me", third.str("/accessToken"))
            .await
            .problem()
            .0,
        401
    );
    assert_eq!(
        app.get("/api/auth/me", &second_token).await.status,
        StatusCode::OK
    );
    assert_eq!(app.get("/api/auth/me", &bob.token).await.status, StatusCode::OK);
    let told = audited(&app).await;
    assert_eq!(
        told.iter().filter(|action| *action == "session.end").count(),
        2,
        "{told:?}"
    );
}

#[tokio::test]
async fn ds_03_another_sites_page_ends_no_session() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    let refused = call(&app, Method::DELETE, "/api/auth/sessions", &headers, &Value::Null).await;
    assert_eq!(refused.problem().0, 403);
}

#[tokio::test]
async fn au_10_an_older_token_within_the_grace_ends_the_session_and_is_told() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let second = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    let third = app.call_with_cookie("/api/auth/refresh", &second.cookie()).await;
    app.clock.advance_ms(5_000);
    let stale = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(stale.problem().0, 401);
    assert_eq!(
        app.get("/api/auth/me", third.str("/accessToken"))
            .await
            .problem()
            .0,
        401
    );
    assert_eq!(audited(&app).await.last().unwrap(), "session.end");
}

#[tokio::test]
async fn au_11_forged_access_tokens_are_401() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let [header, payload, signature] = ada.token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut later = claims(&ada.token);
    later["exp"] = json!(later["exp"].as_i64().unwrap() + 3600);
    for forged in [
        format!("{}.{payload}.", part(&json!({"alg": "none"}))),
        format!(
            "{}.{payload}.{signature}",
            part(&json!({"alg": "RS256", "kid": "x"}))
        ),
        format!("{header}.{}.{signature}", part(&later)),
        format!("{header}.{payload}.{}", "A".repeat(43)),
        "x".repeat(1 << 20),
        format!("rgpat_{}", "A".repeat(43)),
        "rgpat_".to_owned(),
    ] {
        let answer = app.get("/api/workspaces", &forged).await;
        assert_eq!(answer.problem().0, 401, "{forged:.60}");
        assert_eq!(
            app.get(&ada.path(""), &forged).await.problem().0,
            401,
            "{forged:.60}"
        );
    }
    app.clock.advance_ms(16 * 60 * 1_000);
    assert_eq!(app.get("/api/workspaces", &ada.token).await.problem().0, 401);
}

#[tokio::test]
async fn ti_09_a_removed_member_is_out_with_the_next_request() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "MEMBER").await;
    assert_eq!(
        app.get(&ada.path("/keys"), &bob.token).await.status,
        StatusCode::OK
    );
    let made = app
        .post(&ada.path("/access-tokens"), &bob.token, json!({"name": "ci"}))
        .await;
    let personal = made.str("/token").to_owned();
    assert_eq!(
        app.get(&ada.path("/keys"), &personal).await.status,
        StatusCode::OK
    );
    let path = ada.path(&format!("/members/{}", bob.user_id));
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&ada.path("/keys"), &bob.token).await.problem().0, 404);
    assert_eq!(app.get(&ada.path("/keys"), &personal).await.problem().0, 401);
    // Coming back does not bring the token back.
    sqlx::query("INSERT INTO membership VALUES ($1::uuid, $2::uuid, 'OWNER', now())")
        .bind(&ada.workspace_id)
        .bind(&bob.user_id)
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(
        app.get(&ada.path("/keys"), &bob.token).await.status,
        StatusCode::OK
    );
    assert_eq!(app.get(&ada.path("/keys"), &personal).await.problem().0, 401);
}
