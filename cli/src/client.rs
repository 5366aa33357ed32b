//! Calls of the REST API with the right token, which is renewed when it has run out.

use crate::arguments::Global;
use crate::credentials::{Credentials, Store};
use crate::error::Error;
use rateguard_api::auth::Refreshed;
use rateguard_api::list::List;
use rateguard_api::problem::Problem;
use rateguard_api::workspace::Workspace;
use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;

const DEFAULT_URL: &str = "http://127.0.0.1:3000";
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the control plane lets a stream last.
const STREAM_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// Pages of one list; beyond it the server is repeating itself.
const PAGES_MAX: usize = 10_000;

pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    /// Given for this command; wins over what is stored.
    token: Option<String>,
    workspace: Option<String>,
    stored: Option<Credentials>,
    store: Store,
}

/// An answer that is no refusal.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// `name=value` of the first cookie that was set.
    pub(crate) cookie: Option<String>,
}

/// An answer that goes on.
pub(crate) struct Stream {
    response: reqwest::Response,
}

impl Stream {
    /// The next piece; `None` when it has ended or broken off.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let chunk = self.response.chunk().await.ok().flatten()?;
        Some(chunk.to_vec())
    }
}

impl Answer {
    pub(crate) fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        serde_json::from_str(&self.text).map_err(|_| Error::Strange {
            url: url.to_owned(),
            status: 200,
        })
    }
}

impl Client {
    pub(crate) fn new(global: &Global, store: Store) -> Result<Self, Error> {
        let stored = store.read()?;
        let url = global
            .url
            .clone()
            .or_else(|| stored.as_ref().map(|stored| stored.url.clone()))
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = url.trim_end_matches('/').to_owned();
        let parsed = url::Url::parse(&url).ok();
        if !parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Error::Usage(format!(
                "{url} is not a URL of the form https://host:port"
            )));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A token goes where it was meant to go and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rateguard-cli/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Self {
            http,
            // What was signed in to is of no use elsewhere, and must not be sent there.
            stored: stored.filter(|stored| stored.url == url),
            url,
            token: global.token.clone().filter(|token| !token.is_empty()),
            workspace: global.workspace.clone().filter(|workspace| !workspace.is_empty()),
            store,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Uses and remembers a sign-in.
    pub(crate) fn remember(&mut self, credentials: Credentials) -> Result<(), Error> {
        self.store.write(&credentials)?;
        self.stored = Some(credentials);
        Ok(())
    }

    /// Tries a token without remembering it.
    pub(crate) fn try_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    pub(crate) fn forget(&mut self) -> Result<(), Error> {
        self.stored = None;
        self.store.remove()
    }

    pub(crate) fn stored(&self) -> Option<&Credentials> {
        self.stored.as_ref()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Error> {
        self.call(Method::GET, path, None).await
    }

    /// A call as whoever is signed in. A session's token is renewed once when it is refused.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answer, Error> {
        let given = self.token.clone();
        let token = given
            .clone()
            .or_else(|| self.stored.as_ref().map(|stored| stored.token.clone()))
            .ok_or_else(|| Error::NotSignedIn {
                url: self.url.clone(),
            })?;
        let refused = match self.send(method.clone(), path, Some(&token), None, body).await {
            Err(Error::Refused { problem, request_id }) if problem.status == 401 && given.is_none() => {
                Error::Refused { problem, request_id }
            }
            answer => return answer,
        };
        match self.renew().await? {
            Some(token) => self.send(method, path, Some(&token), None, body).await,
            None => Err(refused),
        }
    }

    /// An answer that goes on, as whoever is signed in.
    pub(crate) async fn follow(&mut self, path: &str) -> Result<Stream, Error> {
        // Renews the token where that is due.
        self.get("/api/workspaces?limit=1").await?;
        let token = self
            .token
            .clone()
            .or_else(|| self.stored.as_ref().map(|stored| stored.token.clone()));
        let mut request = self
            .http
            .get(format!("{}{path}", self.url))
            .timeout(STREAM_TIMEOUT)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| Error::Unreachable {
            url: self.url.clone(),
            reason: root(&error.without_url()),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Stream { response });
        }
        let text = response.text().await.unwrap_or_default();
        Err(match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Error::Refused {
                problem: Box::new(problem),
                request_id: None,
            },
            Err(_) => strange(&self.url, status),
        })
    }

    /// A new access token; `None` where the session has ended.
    async fn renew(&mut self) -> Result<Option<String>, Error> {
        let Some((stored, cookie)) = self
            .stored
            .clone()
            .and_then(|stored| Some((stored.clone(), stored.refresh_cookie?)))
        else {
            return Ok(None);
        };
        let answer = match self
            .send(Method::POST, "/api/auth/refresh", None, Some(&cookie), None)
            .await
        {
            Ok(answer) => answer,
            Err(Error::Refused { problem, .. }) if problem.status == 401 => return Ok(None),
            Err(error) => return Err(error),
        };
        let Refreshed { access_token } = answer.read(&self.url)?;
        // Without a cookie in the answer another command has just rotated it, and has written it down.
        let latest = self
            .store
            .read()?
            .filter(|latest| latest.url == self.url)
            .unwrap_or(stored);
        self.remember(Credentials {
            token: access_token.clone(),
            refresh_cookie: answer.cookie.or(latest.refresh_cookie),
            ..latest
        })?;
        Ok(Some(access_token))
    }

    /// One exchange.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        cookie: Option<&str>,
        body: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(cookie) = cookie {
            // The server wants to know that no other site sent the cookie.
            request = request
                .header(header::COOKIE, cookie)
                .header("sec-fetch-site", "same-origin");
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_owned());
        }
        let unreachable = |error: reqwest::Error| Error::Unreachable {
            url: self.url.clone(),
            reason: root(&error.without_url()),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text_of = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let request_id = text_of("x-request-id");
        let cookie = text_of("set-cookie").and_then(|cookie| Some(cookie.split(';').next()?.to_owned()));
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer { text, cookie });
        }
        Err(match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Error::Refused {
                problem: Box::new(problem),
                request_id,
            },
            Err(_) => strange(&self.url, status),
        })
    }

    /// Every page of a list, each entry as the server wrote it.
    pub(crate) async fn list(&mut self, path: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = match &cursor {
                None => path.to_owned(),
                Some(cursor) => {
                    let query: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                    format!("{path}?cursor={query}")
                }
            };
            let url = self.url.clone();
            let List { data, next_cursor } = self.get(&page).await?.read::<List<Box<RawValue>>>(&url)?;
            entries.extend(data);
            cursor = next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(entries)
    }

    /// Id of the workspace that the command is about.
    pub(crate) async fn workspace_id(&mut self) -> Result<String, Error> {
        if let Some(named) = self.workspace.clone() {
            return self.find_workspace(&named).await.map(|workspace| workspace.id);
        }
        if let Some(id) = self
            .stored
            .as_ref()
            .filter(|_| self.token.is_none())
            .and_then(|s| s.workspace_id.clone())
        {
            return Ok(id);
        }
        let workspaces = self.workspaces().await?;
        match workspaces.as_slice() {
            [only] => Ok(only.id.clone()),
            [] => Err(Error::Usage(
                "you have no workspace: rateguard workspaces create name=…".to_owned(),
            )),
            several => {
                let slugs: Vec<&str> = several.iter().map(|workspace| workspace.slug.as_str()).collect();
                Err(Error::Usage(format!(
                    "you have several workspaces ({}): name one with --workspace, or rateguard workspaces use",
                    slugs.join(", ")
                )))
            }
        }
    }

    /// By id or slug.
    pub(crate) async fn find_workspace(&mut self, named: &str) -> Result<Workspace, Error> {
        let workspaces = self.workspaces().await?;
        let found = workspaces
            .into_iter()
            .find(|one| one.id == named || one.slug == named);
        found.ok_or_else(|| Error::Usage(format!("you have no workspace `{named}` (rateguard workspaces)")))
    }

    async fn workspaces(&mut self) -> Result<Vec<Workspace>, Error> {
        let url = self.url.clone();
        let strange = |_| strange(&url, StatusCode::OK);
        let entries = self.list("/api/workspaces").await?;
        entries
            .iter()
            .map(|entry| serde_json::from_str(entry.get()).map_err(strange))
            .collect()
    }
}

fn strange(url: &str, status: StatusCode) -> Error {
    Error::Strange {
        url: url.to_owned(),
        status: status.as_u16(),
    }
}

/// The innermost reason: what is above it only says that a request was sent.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(below) = innermost.source() {
        innermost = below;
    }
    innermost.to_string()
}

/// A body's text.
pub(crate) fn text(body: &Value) -> String {
    body.to_string()
}
