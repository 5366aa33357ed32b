//! Register, log in, refresh, log out.

use crate::support::app::{App, PASSWORD};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

#[tokio::test]
async fn registration_makes_a_user_a_workspace_and_a_session() {
    let app = App::start().await;
    let body = json!({"email": "Ada@Example.com", "password": PASSWORD, "name": "Ada Lovelace"});
    let answer = app.post("/api/auth/register", "", body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.str("/user/email"), "Ada@Example.com");
    assert_eq!(answer.str("/workspace/slug"), "ada-lovelace");
    assert_eq!(answer.str("/workspace/role"), "OWNER");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/api/auth", "Max-Age=604800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "development goes over http: {cookie}");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");

    let me = app.get("/api/auth/me", answer.str("/accessToken")).await;
    assert_eq!(me.status, StatusCode::OK);
    assert_eq!(me.str("/user/id"), answer.str("/user/id"));
    assert_eq!(me.str("/workspaces/0/role"), "OWNER");

    let again = json!({"email": "ada@example.COM", "password": PASSWORD, "name": "Other"});
    let taken = app.post("/api/auth/register", "", again).await;
    assert_eq!(taken.problem(), (409, "conflict".into(), vec!["email".into()]));

    let namesake = json!({"email": "ada2@example.com", "password": PASSWORD, "name": "Ada Lovelace"});
    let second = app.post("/api/auth/register", "", namesake).await;
    assert_eq!(second.str("/workspace/slug"), "ada-lovelace-2");
}

#[tokio::test]
async fn bad_registrations_name_every_field() {
    let app = App::start().await;
    let long = "x".repeat(73);
    for (body, status, code, fields) in [
        (json!({}), 422, "invalid", vec!["email"]),
        (
            json!({"email": "a", "password": "1234567", "name": " "}),
            422,
            "invalid",
            vec!["email", "name", "password"],
        ),
        (
            json!({"email": "a@b.co", "password": long, "name": "A"}),
            422,
            "invalid",
            vec!["password"],
        ),
        (
            json!({"email": "a@b.co", "password": "1234567\u{0}9", "name": "A"}),
            422,
            "invalid",
            vec!["password"],
        ),
        (
            json!({"email": "a@b.co", "password": PASSWORD, "name": "A\u{0}"}),
            422,
            "invalid",
            vec!["name"],
        ),
        (
            json!({"email": "a@b.co", "password": 12_345_678, "name": "A"}),
            422,
            "invalid",
            vec!["password"],
        ),
        (
            json!({"email": "a@b.co", "password": PASSWORD, "name": "A", "role": "OWNER"}),
            422,
            "invalid",
            vec!["role"],
        ),
    ] {
        let answer = app.post("/api/auth/register", "", body.clone()).await;
        let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        assert_eq!(answer.problem(), (status, code.to_owned(), fields), "{body}");
    }
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM app_user")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(users, 0);
}

#[tokio::test]
async fn au_12_login_tells_an_unknown_address_like_a_wrong_password() {
    let app = App::start().await;
    app.register("ada").await;
    let login = |email: &str, password: &str| json!({"email": email, "password": password});
    let good = app
        .post("/api/auth/login", "", login("ADA@example.com", PASSWORD))
        .await;
    assert_eq!(good.status, StatusCode::OK);
    assert_eq!(good.str("/workspaces/0/slug"), "ada");
    let wrong = app
        .post("/api/auth/login", "", login("ada@example.com", "wrong password"))
        .await;
    let unknown = app
        .post("/api/auth/login", "", login("bob@example.com", PASSWORD))
        .await;
    let long = format!("{PASSWORD}{}", "x".repeat(80));
    let cut = app
        .post("/api/auth/login", "", login("ada@example.com", &long))
        .await;
    let nul = app
        .post("/api/auth/login", "", login("ada@example.com\u{0}", PASSWORD))
        .await;
    for answer in [&wrong, &unknown, &cut, &nul] {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body, wrong.body);
        assert!(answer.headers.get(header::SET_COOKIE).is_none());
    }
}

#[tokio::test]
async fn au_10_refresh_rotates_and_a_stale_token_ends_the_session() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let second = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_ne!(second.cookie(), ada.cookie);

    // Another tab, a lost answer: the preceding token gives access, and no further rotation.
    app.clock.advance_ms(9_999);
    let tab = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(tab.status, StatusCode::OK);
    assert!(tab.headers.get(header::SET_COOKIE).is_none());
    assert_eq!(
        app.get("/api/auth/me", tab.str("/accessToken")).await.status,
        StatusCode::OK
    );

    // After 10 s somebody else must have it: everything of this session ends.
    app.clock.advance_ms(1);
    let stale = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(stale.status, StatusCode::UNAUTHORIZED);
    let victim = app.call_with_cookie("/api/auth/refresh", &second.cookie()).await;
    assert_eq!(victim.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        app.get("/api/auth/me", tab.str("/accessToken")).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn au_10_of_two_refreshes_at_once_one_rotates() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let (one, two) = tokio::join!(
        app.call_with_cookie("/api/auth/refresh", &ada.cookie),
        app.call_with_cookie("/api/auth/refresh", &ada.cookie),
    );
    assert_eq!((one.status, two.status), (StatusCode::OK, StatusCode::OK));
    let rotated = [&one, &two]
        .iter()
        .filter(|a| a.headers.contains_key(header::SET_COOKIE))
        .count();
    assert_eq!(rotated, 1);
}

#[tokio::test]
async fn au_10_a_token_of_two_generations_ago_ends_the_session() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let second = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    let third = app.call_with_cookie("/api/auth/refresh", &second.cookie()).await;
    assert_eq!(
        app.call_with_cookie("/api/auth/refresh", &ada.cookie)
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        app.call_with_cookie("/api/auth/refresh", &third.cookie())
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn sessions_end_by_age_and_by_logging_out() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let out = app.call_with_cookie("/api/auth/logout", &ada.cookie).await;
    assert_eq!(
        (out.status, &out.body),
        (StatusCode::OK, &json!({"success": true}))
    );
    assert!(
        out.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(
        app.call_with_cookie("/api/auth/refresh", &ada.cookie)
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        app.get("/api/auth/me", &ada.token).await.status,
        StatusCode::UNAUTHORIZED
    );
    let nobody = app.post("/api/auth/logout", "", json!(null)).await;
    assert_eq!(
        (nobody.status, &nobody.body),
        (StatusCode::OK, &json!({"success": true}))
    );

    let bob = app.register("bob").await;
    app.clock.advance_ms(16 * 60 * 1000);
    assert_eq!(
        app.get("/api/auth/me", &bob.token).await.status,
        StatusCode::UNAUTHORIZED
    );
    app.clock.advance_ms(7 * 24 * 3600 * 1000);
    assert_eq!(
        app.call_with_cookie("/api/auth/refresh", &bob.cookie)
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn refresh_gives_a_token_for_another_workspace_of_the_user_only() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let made = app
        .post("/api/workspaces", &ada.token, json!({"name": "Second"}))
        .await;
    let refresh = |workspace_id: String| {
        Request::post("/api/auth/refresh")
            .header(header::COOKIE, &ada.cookie)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json!({ "workspaceId": workspace_id }).to_string()))
            .unwrap()
    };
    let foreign = app.send(refresh(bob.workspace_id.clone())).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let own = app.send(refresh(made.str("/id").to_owned())).await;
    assert_eq!(own.status, StatusCode::OK, "{own:?}");
    let costs = app.get("/api/costs", own.str("/accessToken")).await;
    assert_eq!(costs.status, StatusCode::OK);
}

#[tokio::test]
async fn ds_03_another_sites_page_cannot_write() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    for path in [
        "/api/auth/refresh",
        "/api/auth/logout",
        "/api/auth/login",
        "/api/auth/register",
    ] {
        let request = Request::post(path)
            .header(header::COOKIE, &ada.cookie)
            .header("sec-fetch-site", "cross-site")
            .body(Body::empty());
        assert_eq!(
            app.send(request.unwrap()).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
        let request = Request::post(path)
            .header(header::COOKIE, &ada.cookie)
            .header(header::ORIGIN, "https://evil.test")
            .header(header::HOST, "console.test")
            .body(Body::empty());
        assert_eq!(
            app.send(request.unwrap()).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    assert_eq!(
        app.call_with_cookie("/api/auth/refresh", &ada.cookie)
            .await
            .status,
        StatusCode::OK
    );
}
