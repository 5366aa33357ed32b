//! A workspace of a test's own on a shared Stack: user, APIs, keys, rules and budget made over the REST API, as a
//! user would make them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::stack::Stack;

/// How long a change may take until every worker has it. The published figure is 250 ms; a busy machine gets more.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(30);

/// Of every owner.
pub const PASSWORD: &str = "correct horse battery";

/// A workspace and the session of its owner.
pub struct Scene<'s> {
    pub stack: &'s Stack,
    pub workspace_id: String,
    /// The owner's; the password is [`PASSWORD`].
    pub email: String,
    token: String,
}

/// A key and its record's id.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// Sends and reads.
    ///
    /// # Panics
    /// No answer comes: the test wanted one.
    pub async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.expect("an answer")
    }

    /// Sends and reads; an answer that breaks off is an error.
    pub async fn try_of(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            text: response.text().await?,
        })
    }

    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON, null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// `error.code` of our error body.
    pub fn code(&self) -> String {
        self.json()
            .pointer("/error/code")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

impl<'s> Scene<'s> {
    /// Registers a new user, whose default workspace it is.
    pub async fn new(stack: &'s Stack) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "scene-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let email = format!("{name}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "name": name});
        let url = format!("{}/api/auth/register", stack.console_url());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut answer = Answer::try_of(stack.client().post(&url).json(&body)).await?;
        // A suite registers more users at once than the throttle lets one network.
        while answer.status == 429 && std::time::Instant::now() < end {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            answer = Answer::try_of(stack.client().post(&url).json(&body)).await?;
        }
        ensure!(
            answer.status == 201,
            "register answered {}: {}",
            answer.status,
            answer.text
        );
        let text = |pointer: &str| -> Result<String> {
            let body = answer.json();
            Ok(body
                .pointer(pointer)
                .and_then(Value::as_str)
                .with_context(|| pointer.to_owned())?
                .to_owned())
        };
        Ok(Self {
            stack,
            workspace_id: text("/workspace/id")?,
            email,
            token: text("/accessToken")?,
        })
    }

    /// A call of the REST API below the workspace; a status other than 2xx is an error with the body in it.
    pub async fn rest(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let url = format!(
            "{}/api/workspaces/{}{path}",
            self.stack.console_url(),
            self.workspace_id
        );
        let mut request = self
            .stack
            .client()
            .request(method.clone(), url)
            .bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = Answer::try_of(request).await?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path} answered {}: {}",
            answer.status,
            answer.text
        );
        Ok(answer.json())
    }

    /// Ends every session of the owner but the one that made this scene.
    pub async fn end_other_sessions(&self) -> Result<()> {
        let url = format!("{}/api/auth/sessions", self.stack.console_url());
        let request = self.stack.client().delete(url).bearer_auth(&self.token);
        let answer = Answer::try_of(request).await?;
        ensure!(answer.status < 300, "{} {}", answer.status, answer.text);
        Ok(())
    }

    /// `GET /api/workspaces/{id}/costs`.
    pub async fn costs(&self) -> Result<Value> {
        self.rest(Method::GET, "/costs", &Value::Null).await
    }

    /// An API called `openai` whose models cost 1 cent per 1 000 tokens in and 2 out, at this upstream.
    pub async fn openai(&self, upstream: SocketAddr) -> Result<String> {
        self.api(json!({
            "name": "OpenAI", "slug": "openai", "baseUrl": format!("http://{upstream}"), "authType": "BEARER",
            "credential": "sk-upstream-canary", "costModel": {"type": "PER_TOKEN", "models": [
                {"model": "gpt-*", "inputCostPer1kTokens": "1", "outputCostPer1kTokens": "2", "defaultOutputTokens": 100},
            ]},
        }))
        .await
    }

    /// An API called `anthropic` with the same prices.
    pub async fn anthropic(&self, upstream: SocketAddr) -> Result<String> {
        self.api(json!({
            "name": "Anthropic", "slug": "anthropic", "baseUrl": format!("http://{upstream}"),
            "authType": "API_KEY_HEADER", "authHeaderName": "x-api-key", "credential": "sk-ant-upstream-canary",
            "costModel": {"type": "PER_TOKEN", "models": [
                {"model": "claude-*", "inputCostPer1kTokens": "1", "cachedInputCostPer1kTokens": "0.1", "outputCostPer1kTokens": "2"},
            ]},
        }))
        .await
    }

    /// An API called `flat`: every request costs this many cents.
    pub async fn flat(&self, upstream: SocketAddr, cents: &str) -> Result<String> {
        self.api(json!({
            "name": "Flat", "slug": "flat", "baseUrl": format!("http://{upstream}"), "authType": "NONE",
            "costModel": {"type": "PER_REQUEST", "costCentsPerRequest": cents},
        }))
        .await
    }

    /// Makes an API and gives its id.
    pub async fn api(&self, body: Value) -> Result<String> {
        id_of(&self.rest(Method::POST, "/apis", &body).await?)
    }

    /// Makes a key of this body; `name` may be missing.
    pub async fn key(&self, mut body: Value) -> Result<Key> {
        if body.get("name").is_none() {
            body["name"] = json!("test");
        }
        let made = self.rest(Method::POST, "/keys", &body).await?;
        let secret = made
            .get("key")
            .and_then(Value::as_str)
            .context("the key")?
            .to_owned();
        Ok(Key {
            id: id_of(&made)?,
            secret,
        })
    }

    /// Makes a rule and gives its id; `name` may be missing.
    pub async fn rule(&self, mut body: Value) -> Result<String> {
        if body.get("name").is_none() {
            body["name"] = json!("test");
        }
        id_of(&self.rest(Method::POST, "/rules", &body).await?)
    }

    /// A token bucket over all of an API's requests that does not refill within a test.
    pub async fn requests_per_workspace(&self, size: u64) -> Result<String> {
        self.rule(json!({
            "algorithm": "TOKEN_BUCKET", "unit": "REQUESTS", "bucketSize": size, "refillRate": "0.001",
            "scopes": [{"type": "PER_WORKSPACE"}],
        }))
        .await
    }

    /// Sets the monthly budget, hard.
    pub async fn hard_budget(&self, cents: Value) -> Result<()> {
        let body = json!({"monthlyBudgetCents": cents, "autoShutoff": true});
        self.rest(Method::PATCH, "/budget", &body).await.map(drop)
    }

    /// Waits until every change so far is in force at every worker, clusters included. The feed keeps the order of
    /// changes: a worker that knows a key made last knows everything before it.
    pub async fn in_force(&self) -> Result<()> {
        let marker = self.key(json!({"name": "marker"})).await?;
        let end = Instant::now() + IN_FORCE_WITHIN;
        // Connections are spread over the workers by hash: this many in a row miss none of two but once in 65 000.
        let mut in_a_row = 0;
        while in_a_row < 16 {
            let url = format!("{}/proxy/no-such-api/", self.stack.gateway_url());
            let answer = Answer::try_of(self.stack.client().get(url).bearer_auth(&marker.secret)).await?;
            in_a_row = if answer.status == 404 { in_a_row + 1 } else { 0 };
            if Instant::now() > end {
                bail!(
                    "not in force at every worker after {IN_FORCE_WITHIN:?}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }
        let apis = self.rest(Method::GET, "/apis", &Value::Null).await?;
        let list = apis.get("data").and_then(Value::as_array).cloned();
        for api in list.context("a list of APIs")? {
            let cluster = format!("api_{}::", id_of(&api)?);
            while !self.stack.admin("/clusters").await?.contains(&cluster) {
                ensure!(Instant::now() < end, "Envoy has no cluster {cluster}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// A request through the gateway, key in the OpenAI way.
    pub fn request(&self, method: Method, path: &str, key: &Key) -> RequestBuilder {
        let url = format!("{}{path}", self.stack.gateway_url());
        self.stack.client().request(method, url).bearer_auth(&key.secret)
    }

    /// A chat completion with this key.
    pub fn chat(&self, key: &Key) -> RequestBuilder {
        self.request(Method::POST, "/proxy/openai/v1/chat/completions", key)
            .json(&chat_body(false))
    }

    /// A streamed chat completion with this key.
    pub fn chat_stream(&self, key: &Key) -> RequestBuilder {
        self.request(Method::POST, "/proxy/openai/v1/chat/completions", key)
            .json(&chat_body(true))
    }

    /// An Anthropic message with this key.
    pub fn message(&self, key: &Key, stream: bool) -> RequestBuilder {
        let body = json!({
            "model": "claude-sonnet-4-5", "max_tokens": 64, "stream": stream,
            "messages": [{"role": "user", "content": "hi"}],
        });
        let url = format!("{}/proxy/anthropic/v1/messages", self.stack.gateway_url());
        self.stack
            .client()
            .post(url)
            .header("x-api-key", &key.secret)
            .header("anthropic-version", "2023-06-01")
            .json(&body)
    }

    /// A request to the flat-priced API.
    pub fn flat_request(&self, key: &Key) -> RequestBuilder {
        self.request(Method::GET, "/proxy/flat/things", key)
    }
}

/// The body of a chat completion.
pub fn chat_body(stream: bool) -> Value {
    json!({"model": "gpt-4o-mini", "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]})
}

fn id_of(resource: &Value) -> Result<String> {
    Ok(resource
        .get("id")
        .and_then(Value::as_str)
        .with_context(|| format!("no id in {resource}"))?
        .to_owned())
}
