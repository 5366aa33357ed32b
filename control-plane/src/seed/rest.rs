//! The program's REST API, called in process.

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt as _;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) struct Rest {
    router: Router,
    token: String,
    /// The workspace that paths are in.
    pub(super) workspace_id: String,
}

impl Rest {
    pub(super) fn new(router: Router) -> Self {
        Self {
            router,
            token: String::new(),
            workspace_id: String::new(),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "ends the same expression as what can fail"
    )]
    pub(super) fn signed_in(self, token: String, workspace_id: String) -> anyhow::Result<Self> {
        Ok(Self {
            token,
            workspace_id,
            ..self
        })
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, body).await
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, &self.here(path), &Value::Null).await
    }

    pub(super) async fn post_here(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, &self.here(path), body).await
    }

    pub(super) async fn patch_here(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, &self.here(path), body).await
    }

    fn here(&self, path: &str) -> String {
        format!("/api/workspaces/{}{path}", self.workspace_id)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let named = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(path);
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header(CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        };
        let response = self.router.clone().oneshot(request.body(body)?).await?;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await?;
        if !status.is_success() {
            anyhow::bail!("{named} answered {status}: {}", String::from_utf8_lossy(&bytes));
        }
        serde_json::from_slice(&bytes).with_context(|| format!("{named} did not answer JSON"))
    }
}
