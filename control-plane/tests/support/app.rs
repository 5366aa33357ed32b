//! The program's router on a database of its own, with a clock that moves when told to.

use super::postgres;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use rateguard_control_plane::clock::ManualClock;
use rateguard_control_plane::config::Config;
use rateguard_control_plane::entropy::SystemEntropy;
use rateguard_control_plane::http;
use rateguard_control_plane::state::{AppState, Sources};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// 2026-06-15T12:00:00Z.
pub(crate) const START_MS: i64 = 1_781_524_800_000;
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct App {
    router: Router,
    pub(crate) state: AppState,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) db: PgPool,
    _stop: watch::Sender<bool>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The value of the one cookie that was set.
    pub(crate) fn cookie(&self) -> String {
        let set = self
            .headers
            .get(header::SET_COOKIE)
            .expect("no cookie was set")
            .to_str()
            .unwrap();
        set.split(';').next().unwrap().to_owned()
    }

    pub(crate) fn str(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer} in {self:?}"))
    }

    /// `code` and the fields at fault.
    pub(crate) fn problem(&self) -> (u16, String, Vec<String>) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{self:?}"
        );
        let fields = self.body["errors"].as_array().unwrap();
        (
            self.status.as_u16(),
            self.str("/code").to_owned(),
            fields
                .iter()
                .map(|error| error["field"].as_str().unwrap().to_owned())
                .collect(),
        )
    }
}

/// Somebody signed in, in the workspace that registration made.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) cookie: String,
    pub(crate) user_id: String,
    pub(crate) workspace_id: String,
}

impl Person {
    /// A path in the person's workspace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/workspaces/{}{rest}", self.workspace_id)
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a configuration of the test's own. Names under `.test` resolve to public addresses.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let (db, url) = postgres::fresh_database().await;
        let mut config = Config::for_testing(&url);
        let public = |name: &str| (name.to_owned(), vec!["93.184.216.34".parse().unwrap()]);
        let names = BTreeMap::from([
            public("api.openai.test"),
            public("api.other.test"),
            // Of the document's examples.
            public("api.openai.com"),
        ]);
        config.upstream_allow = config.upstream_allow.with_names(names);
        change(&mut config);
        let clock = Arc::new(ManualClock::at_ms(START_MS));
        let (stop, shutdown) = watch::channel(false);
        let sources = Sources {
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            shutdown,
        };
        let state = AppState::new(config, db.clone(), sources);
        Self {
            router: http::router(state.clone()),
            state,
            clock,
            db,
            _stop: stop,
        }
    }

    /// The same database and clock under another configuration, as after a restart.
    pub(crate) fn with_config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.state.config.as_ref().clone();
        change(&mut config);
        self.state.config = Arc::new(config);
        self.router = http::router(self.state.clone());
        self
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A request with an access token, and a body unless it is null.
    pub(crate) async fn call(&self, method: Method, path: &str, token: &str, body: &Value) -> Answer {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.call_text(method, path, token, &text).await
    }

    /// The same with the body's exact text.
    pub(crate) async fn call_text(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// A request with a cookie, as the browser makes it.
    pub(crate) async fn call_with_cookie(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::post(path)
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", "same-origin")
            .body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call(Method::POST, path, token, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, token, &body).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.call(Method::DELETE, path, token, &Value::Null).await
    }

    /// Registers `{name}@example.com`.
    pub(crate) async fn register(&self, name: &str) -> Person {
        let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD, "name": name});
        let answer = self.post("/api/auth/register", "", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        Person {
            token: answer.str("/accessToken").to_owned(),
            cookie: answer.cookie(),
            user_id: answer.str("/user/id").to_owned(),
            workspace_id: answer.str("/workspace/id").to_owned(),
        }
    }

    /// The feed's version, and how many removals it knows.
    pub(crate) async fn feed(&self) -> (i64, i64) {
        sqlx::query_as("SELECT version, (SELECT count(*) FROM feed_removal) FROM feed_version")
            .fetch_one(&self.db)
            .await
            .unwrap()
    }
}
