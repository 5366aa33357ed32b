//! The client: one for the whole app. It holds the access token (in memory only), renews it after 14 minutes or when the
//! server says 401, with one renewal at a time however many calls wait for it, and tells the session when it has ended.

use super::call::{Call, Method};
use super::failure::Failure;
use crate::browser;
use crate::state::token::Token;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use gloo_net::http::{Request, RequestBuilder, Response};
use js_sys::futures::JsFuture;
use rateguard_api::auth::Refreshed;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::JsCast as _;
use yew::prelude::*;

type Renewal = Shared<LocalBoxFuture<'static, Result<(), Failure>>>;

#[derive(Clone)]
pub struct Client(Rc<Inner>);

#[derive(Default)]
struct Inner {
    token: RefCell<Option<Token>>,
    renewal: RefCell<Option<Renewal>>,
    /// Called when the session is over.
    ended: RefCell<Callback<()>>,
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    pub fn new() -> Self {
        Self(Rc::default())
    }

    /// Takes the token of a sign-in, or forgets it.
    pub fn set_token(&self, text: Option<String>) {
        let token = text.map(|text| Token::new(text, browser::now_ms()));
        *self.0.token.borrow_mut() = token;
    }

    pub fn on_end(&self, ended: Callback<()>) {
        *self.0.ended.borrow_mut() = ended;
    }

    /// Whether it is time to renew the token.
    pub fn is_stale(&self) -> bool {
        let token = self.0.token.borrow();
        token
            .as_ref()
            .is_some_and(|token| token.is_stale(browser::now_ms()))
    }

    /// Makes the call with a valid token.
    pub async fn send<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        self.ask(call).await?.read()
    }

    /// Makes the call with a valid token. What is the same for every kind of answer is here, and so compiled once.
    pub async fn ask(&self, call: &Call) -> Result<Answer, Failure> {
        self.reach(call).await?.text().await
    }

    /// The body of an answer that is to be kept as a file. The browser holds it, not we: it may be large.
    pub async fn download(&self, call: &Call) -> Result<web_sys::Blob, Failure> {
        let reached = self.reach(call).await?;
        let body = web_sys::Response::from(reached.response).blob();
        let body = body.map_err(|_| Failure::Network)?;
        let body = JsFuture::from(body).await.map_err(|_| Failure::Network)?;
        body.dyn_into().map_err(|_| Failure::Network)
    }

    async fn reach(&self, call: &Call) -> Result<Reached, Failure> {
        if self.is_stale() || self.0.token.borrow().is_none() {
            self.renew().await?;
        }
        match self.once(call).await {
            Err(failure) if failure.status() == Some(401) => {
                self.renew().await?;
                self.once(call).await
            }
            other => other,
        }
    }

    /// For `/api/auth/…`: no token is needed and 401 is an answer, not the end of a session.
    pub async fn send_public<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        self.once(call).await?.text().await?.read()
    }

    /// Gets a new access token by the session's cookie. All who ask while it runs share one request.
    pub async fn renew(&self) -> Result<(), Failure> {
        let running = self.0.renewal.borrow().clone();
        let renewal = running.unwrap_or_else(|| {
            let client = self.clone();
            let renewal = async move { client.renew_once().await }.boxed_local().shared();
            *self.0.renewal.borrow_mut() = Some(renewal.clone());
            renewal
        });
        renewal.await
    }

    async fn renew_once(&self) -> Result<(), Failure> {
        let call = Call::post("/api/auth/refresh", json!({}));
        let answer = self.send_public::<Refreshed>(&call).await;
        *self.0.renewal.borrow_mut() = None;
        match answer {
            Ok(refreshed) => {
                self.set_token(Some(refreshed.access_token));
                Ok(())
            }
            Err(failure) if matches!(failure.status(), Some(401 | 403)) => {
                self.set_token(None);
                let ended = self.0.ended.borrow().clone();
                ended.emit(());
                Err(Failure::SignedOut)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn once(&self, call: &Call) -> Result<Reached, Failure> {
        let guard = AbortGuard::new();
        let mut request = builder(call).header("accept", "application/json, text/csv");
        if let Some(guard) = &guard {
            request = request.abort_signal(Some(&guard.0.signal()));
        }
        if let Some(token) = self.0.token.borrow().as_ref() {
            request = request.header("authorization", &token.header());
        }
        if let Some(tag) = &call.if_match {
            request = request.header("if-match", tag);
        }
        let response = send(request, call).await?;
        if !response.ok() {
            let text = response.text().await.map_err(|_| Failure::Network)?;
            return Err(Failure::of(response.status(), &text));
        }
        Ok(Reached {
            response,
            _guard: guard,
        })
    }
}

/// A success whose body is still to come.
struct Reached {
    response: Response,
    /// Held until the body is there.
    _guard: Option<AbortGuard>,
}

impl Reached {
    async fn text(self) -> Result<Answer, Failure> {
        let tag = self.response.headers().get("etag");
        let text = self.response.text().await.map_err(|_| Failure::Network)?;
        Ok(Answer { text, tag })
    }
}

/// The body of a success, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    text: String,
    /// The `ETag`.
    pub tag: Option<String>,
}

impl Answer {
    /// The body as what the caller expects; none at all is `null`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = if self.text.is_empty() { "null" } else { &self.text };
        serde_json::from_str(text).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::Unreadable(error.to_string())
}

/// Ends the request when whoever waited for it is gone.
struct AbortGuard(web_sys::AbortController);

impl AbortGuard {
    fn new() -> Option<Self> {
        web_sys::AbortController::new().ok().map(Self)
    }
}

impl Drop for AbortGuard {
    fn drop(&mut self) {
        // Does nothing to a request that has been answered.
        self.0.abort();
    }
}

fn builder(call: &Call) -> RequestBuilder {
    let builder = match call.method {
        Method::Get => Request::get(&call.path),
        Method::Post => Request::post(&call.path),
        Method::Patch => Request::patch(&call.path),
        Method::Put => Request::put(&call.path),
        Method::Delete => Request::delete(&call.path),
    };
    if call.query.is_empty() {
        return builder;
    }
    builder.query(call.query.iter().map(|(name, value)| (*name, value.as_str())))
}

async fn send(request: RequestBuilder, call: &Call) -> Result<Response, Failure> {
    let sent = match &call.body {
        Some(body) => {
            let request = request.header("content-type", "application/json");
            request
                .body(body.to_string())
                .map_err(|_| Failure::Network)?
                .send()
                .await
        }
        None => request.send().await,
    };
    sent.map_err(|_| Failure::Network)
}

/// The app's client.
#[hook]
pub fn use_client() -> Client {
    use_context::<Client>().unwrap_or_default()
}
