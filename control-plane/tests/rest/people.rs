//! People: sessions, passwords, members, invitations, personal access tokens.

mod invitations;
mod mail;
mod members;
mod passwords;
mod sessions;
mod throttle;
mod tokens;

use crate::support::app::{Answer, App, PASSWORD, Person};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

/// A request with headers of the test's own.
async fn call(app: &App, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        Body::empty()
    } else {
        request = request.header(header::CONTENT_TYPE, "application/json");
        Body::from(body.to_string())
    };
    app.send(request.body(body).unwrap()).await
}

/// An app behind one proxy, so that tests say where they come from.
async fn behind_a_proxy() -> App {
    App::start_with(|config| config.trusted_proxy_hops = 1).await
}

async fn log_in(app: &App, name: &str, password: &str, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "password": password});
    call(app, Method::POST, "/api/auth/login", headers, &body).await
}

/// A second person, in the first one's workspace.
pub(crate) async fn join(app: &App, host: &Person, name: &str, role: &str) -> Person {
    let guest = app.register(name).await;
    sqlx::query(
        "INSERT INTO membership (workspace_id, user_id, role, created_at) VALUES ($1::uuid, $2::uuid, $3, now())",
    )
    .bind(&host.workspace_id)
    .bind(&guest.user_id)
    .bind(role)
    .execute(&app.db)
    .await
    .unwrap();
    guest
}

/// Names of what the audit log tells, oldest first.
async fn audited(app: &App) -> Vec<String> {
    sqlx::query_scalar("SELECT action FROM audit_entry ORDER BY at, id")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// The claims of an access token, unchecked.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn who_is_in_no_workspace_can_sign_in_and_make_one() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let gone = app.delete(&ada.path(""), &ada.token).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    assert_eq!(app.get("/api/costs", &ada.token).await.problem().0, 404);
    let again = log_in(&app, "ada", PASSWORD, &[]).await;
    assert_eq!(
        (again.status, &again.body["workspaces"]),
        (StatusCode::OK, &json!([]))
    );
    let token = again.str("/accessToken");
    assert_eq!(claims(token)["workspaceId"], Value::Null);
    assert_eq!(app.get("/api/costs", token).await.problem().0, 404);
    let made = app.post("/api/workspaces", token, json!({"name": "Again"})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let refreshed = app.call_with_cookie("/api/auth/refresh", &again.cookie()).await;
    assert_eq!(
        claims(refreshed.str("/accessToken"))["workspaceId"],
        made.body["id"]
    );
}

#[tokio::test]
async fn only_an_owner_deletes_a_workspace_and_the_feed_is_told() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = join(&app, &ada, "bob", "ADMIN").await;
    app.post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    assert_eq!(app.delete(&ada.path(""), &bob.token).await.problem().0, 403);
    let (version, removals) = app.feed().await;
    assert_eq!(
        app.delete(&ada.path(""), &ada.token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.feed().await, (version + 1, removals + 1));
    let removed: (String, String) = sqlx::query_as(
        "SELECT resource_type, resource_id::text FROM feed_removal ORDER BY version DESC LIMIT 1",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(removed, ("workspace".to_owned(), ada.workspace_id.clone()));
    for (path, token) in [("", &ada.token), ("/keys", &bob.token)] {
        assert_eq!(app.get(&ada.path(path), token).await.problem().0, 404);
    }
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM api_key")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(keys, 0);
    assert!(audited(&app).await.contains(&"workspace.delete".to_owned()));
}
