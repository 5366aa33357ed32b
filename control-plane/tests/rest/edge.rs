//! What holds for every route: bodies, sizes, methods, headers, probes.

use crate::support::app::App;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

#[tokio::test]
async fn bodies_that_are_not_json_are_400_and_ones_of_the_wrong_shape_422() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deeper = format!("{{\"name\":\"x\",\"settings\":{{\"defaultKeyBudget\":{deep}}}}}");
    for (body, status) in [
        ("{", 400),
        ("{\"name\":", 400),
        ("nonsense", 400),
        ("{\"name\":\"a\"} trailing", 400),
        ("{\"name\":NaN}", 400),
        (deep.as_str(), 422),
        (deeper.as_str(), 422),
        ("[]", 422),
        ("[\"name\", null, null]", 422),
        ("\"x\"", 422),
        ("null", 422),
        ("{}", 422),
        ("{\"name\":\"a\",\"name\":\"b\"}", 422),
    ] {
        let answer = app
            .call_text(Method::POST, "/api/workspaces", &ada.token, body)
            .await;
        assert_eq!(answer.status.as_u16(), status, "{body:.40} {answer:?}");
        let code = answer.str("/code");
        assert_eq!(code == "malformed", status == 400, "{body:.40} {answer:?}");
        assert_eq!(answer.str("/type"), format!("urn:rateguard:problem:{code}"));
        assert!(!answer.str("/title").is_empty() && !answer.str("/detail").is_empty());
        assert_eq!(answer.body["status"], json!(status));
    }
    let form = Request::post("/api/workspaces")
        .header(header::AUTHORIZATION, format!("Bearer {}", ada.token))
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from("{\"name\":\"x\"}"));
    assert_eq!(app.send(form.unwrap()).await.problem().0, 415);
}

#[tokio::test]
async fn ca_11_large_bodies_are_413() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let large = json!({"name": "x".repeat(1024 * 1024)});
    let answer = app.post("/api/workspaces", &ada.token, large).await;
    assert_eq!(answer.problem(), (413, "too_large".into(), vec![]));
}

#[tokio::test]
async fn everything_under_api_needs_a_session() {
    let app = App::start().await;
    let id = "00000000-0000-7000-8000-000000000000";
    let forged = "eyJhbGciOiJub25lIn0.e30.";
    for token in ["", forged, "x"] {
        for path in [
            "/api/workspaces".to_owned(),
            format!("/api/workspaces/{id}"),
            format!("/api/workspaces/{id}/apis"),
            format!("/api/workspaces/{id}/keys/{id}"),
            "/api/costs".to_owned(),
            "/api/auth/me".to_owned(),
            "/api/nothing".to_owned(),
        ] {
            let answer = app.get(&path, token).await;
            assert_eq!(
                answer.problem(),
                (401, "unauthenticated".into(), vec![]),
                "{path}"
            );
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
        }
    }
    let basic = Request::get("/api/workspaces")
        .header(header::AUTHORIZATION, "Basic YTpi")
        .body(Body::empty());
    assert_eq!(app.send(basic.unwrap()).await.status, StatusCode::UNAUTHORIZED);
    let garbled = Request::get("/api/workspaces")
        .header(
            header::AUTHORIZATION,
            axum::http::HeaderValue::from_bytes(b"Bearer \xff").unwrap(),
        )
        .body(Body::empty());
    assert_eq!(app.send(garbled.unwrap()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    assert_eq!(app.get("/api/nothing", &ada.token).await.problem().0, 404);
    // Pages are the console's to know: it answers a GET of any other path.
    assert_eq!(app.post("/nothing", "", json!({})).await.problem().0, 404);
    assert_eq!(app.delete("/api/workspaces", &ada.token).await.problem().0, 405);
    assert_eq!(
        app.get(&ada.path("/keys/not-a-uuid"), &ada.token)
            .await
            .problem()
            .0,
        404
    );
}

#[tokio::test]
async fn answers_carry_an_id_of_ours_and_are_not_kept() {
    let app = App::start().await;
    let request = Request::get("/api/auth/me")
        .header("x-request-id", "theirs")
        .body(Body::empty());
    let answer = app.send(request.unwrap()).await;
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[tokio::test]
async fn the_probes_tell_the_database() {
    let app = App::start().await;
    assert_eq!(app.get("/health", "").await.body["status"], "ok");
    let ready = app.get("/ready", "").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(
        ready.body["services"],
        json!({"database": "ok", "limits": "not configured"})
    );
    assert!(ready.body["timestamp"].is_string());
    let metrics = app.get("/metrics", "").await;
    let Value::String(text) = &metrics.body else {
        panic!("{metrics:?}")
    };
    assert!(
        text.contains("rateguard_control_plane_request_duration_seconds_count{"),
        "{text}"
    );
    assert!(text.contains("route=\"/ready\""), "{text}");
    let page = app.get("/", "").await;
    assert!(
        page.headers[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );

    app.db.close().await;
    assert_eq!(app.get("/health", "").await.status, StatusCode::OK);
    // What was found last is kept for a second.
    let becomes_unready = async {
        loop {
            let ready = app.get("/ready", "").await;
            if ready.status == StatusCode::SERVICE_UNAVAILABLE {
                return ready;
            }
        }
    };
    let deadline = std::time::Duration::from_secs(30);
    let ready = tokio::time::timeout(deadline, becomes_unready).await.unwrap();
    assert_eq!(ready.body["services"]["database"], "unavailable");
    let login = app
        .post(
            "/api/auth/login",
            "",
            json!({"email": "a@b.co", "password": "whatever1"}),
        )
        .await;
    assert_eq!(login.problem(), (503, "unavailable".into(), vec![]));
}

#[tokio::test]
async fn closed_registration_is_403() {
    use rateguard_control_plane::config::Registration;
    for mode in [Registration::Closed, Registration::Invite] {
        let app = App::start_with(|config| config.registration = mode).await;
        let body = json!({"email": "a@b.co", "password": "12345678", "name": "A"});
        assert_eq!(app.post("/api/auth/register", "", body).await.problem().0, 403);
    }
}

#[tokio::test]
async fn cookies_are_secure_outside_development() {
    use rateguard_control_plane::config::Environment;
    let app = App::start_with(|config| config.environment = Environment::Production).await;
    let body = json!({"email": "a@b.co", "password": "12345678", "name": "A"});
    let answer = app.post("/api/auth/register", "", body).await;
    assert!(
        answer.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("; Secure")
    );
}
