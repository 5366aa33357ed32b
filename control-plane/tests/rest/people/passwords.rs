//! Passwords: change, and reset with a one-time link.

use super::{audited, log_in};
use crate::support::app::{App, PASSWORD};
use axum::http::StatusCode;
use rateguard_control_plane::auth::reset;
use rateguard_control_plane::entropy::SystemEntropy;
use serde_json::json;
use std::process::Stdio;
use tokio::process::Command;

const NEW: &str = "battery staple";

#[tokio::test]
async fn a_change_needs_the_password_in_force_and_ends_the_other_sessions() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let other = log_in(&app, "ada", PASSWORD, &[]).await;
    let change = async |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        app.post("/api/auth/password", &ada.token, body).await
    };
    let field = |name: &str| (422, "invalid".to_owned(), vec![name.to_owned()]);
    assert_eq!(
        change("wrong password", NEW).await.problem(),
        field("currentPassword")
    );
    assert_eq!(change(PASSWORD, "short").await.problem(), field("newPassword"));
    let long = "x".repeat(73);
    assert_eq!(change(PASSWORD, &long).await.problem(), field("newPassword"));
    assert_eq!(
        app.get("/api/auth/me", other.str("/accessToken")).await.status,
        StatusCode::OK
    );

    assert_eq!(change(PASSWORD, NEW).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        app.get("/api/auth/me", other.str("/accessToken"))
            .await
            .problem()
            .0,
        401
    );
    assert_eq!(app.get("/api/auth/me", &ada.token).await.status, StatusCode::OK);
    assert_eq!(log_in(&app, "ada", PASSWORD, &[]).await.problem().0, 401);
    assert_eq!(log_in(&app, "ada", NEW, &[]).await.status, StatusCode::OK);
    assert!(audited(&app).await.contains(&"user.password-change".to_owned()));
}

#[tokio::test]
async fn a_reset_link_works_once_for_a_day_and_ends_every_session() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let link = async || {
        let made = reset::create(&app.db, app.clock.as_ref(), &SystemEntropy, "ADA@example.com").await;
        made.unwrap().unwrap()
    };
    let redeem = async |token: &str, new: &str| {
        let body = json!({"token": token, "newPassword": new});
        app.post("/api/auth/password/reset", "", body).await
    };
    let refused = (422, "invalid".to_owned(), vec!["token".to_owned()]);
    let replaced = link().await;
    let token = link().await;
    assert_eq!(redeem(&replaced, NEW).await.problem(), refused);
    assert_eq!(redeem("rgreset_x", NEW).await.problem(), refused);
    assert_eq!(redeem(&token, "short").await.problem().2, ["newPassword"]);
    let (one, two) = tokio::join!(redeem(&token, NEW), redeem(&token, "another one"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422], "of two at once, one gets it");
    assert_eq!(redeem(&token, NEW).await.problem(), refused);
    assert_eq!(app.get("/api/auth/me", &ada.token).await.problem().0, 401);
    let refresh = app.call_with_cookie("/api/auth/refresh", &ada.cookie).await;
    assert_eq!(refresh.problem().0, 401);
    assert_eq!(log_in(&app, "ada", PASSWORD, &[]).await.problem().0, 401);

    let old = link().await;
    app.clock.advance_ms(24 * 3600 * 1000);
    assert_eq!(redeem(&old, NEW).await.problem(), refused);
    let none = reset::create(&app.db, app.clock.as_ref(), &SystemEntropy, "bob@example.com").await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn reset_password_prints_a_link_to_the_console() {
    let app = App::start().await;
    app.register("ada").await;
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&app.db)
        .await
        .unwrap();
    let url = crate::support::postgres::url(&database);
    let run = async |email: &str| {
        Command::new(env!("CARGO_BIN_EXE_rateguard-control-plane"))
            .env_clear()
            .env("DATABASE_URL", &url)
            .env("CONSOLE_PUBLIC_URL", "https://console.test/")
            .args(["reset-password", "--email", email])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
    };
    let output = run("ada@example.com").await;
    let said = String::from_utf8(output.stdout).unwrap();
    let token = said
        .trim()
        .strip_prefix("https://console.test/reset-password#token=")
        .unwrap_or_else(|| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)));
    assert!(token.starts_with("rgreset_") && token.len() == 51, "{token}");
    let output = run("nobody@example.com").await;
    assert!(!output.status.success() && output.stdout.is_empty());
}
