//! `Idempotency-Key` of creations (CA-13): the same request again gets the same answer for 24 hours, a new key's text
//! included, for it is kept encrypted. Stored in the transaction that creates, so that it happens once or not at all.

use super::error::ApiError;
use super::etag::Versioned;
use super::extract;
use crate::audit::{Entry, Write};
use crate::db::idempotency::{self, Answer};
use crate::db::tenant;
use crate::state::AppState;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use rateguard_model::digest::Digest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::IntoParams;
use uuid::Uuid;

const HEADER: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";
const KEY_BYTES_MAX: usize = 255;
const LIFETIME: TimeDelta = TimeDelta::hours(24);
const ETAG: &str = "etag";
const BODY: &str = "body";

/// The header for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `Creating` reads")]
pub(super) struct IdempotencyKey {
    /// Your name for this request: sent again within 24 hours it gets the first answer; with another body, 409.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    idempotency_key: Option<String>,
}

/// The body of a creation, and its `Idempotency-Key`.
pub(super) struct Creating<T> {
    pub body: T,
    pub once: Once,
}

/// Whether the request has a name to be remembered by.
pub(super) struct Once(Option<Named>);

struct Named {
    key: String,
    request_hash: Digest,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Creating<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let key = key(request.headers())?;
        let line = format!("{} {}\n", request.method(), request.uri().path());
        let bytes = extract::read_json(request, state).await?;
        let body = extract::parse(&bytes)?;
        let once = key.map(|key| Named {
            key,
            request_hash: Digest::of(&[line.as_bytes(), &bytes].concat()),
        });
        Ok(Self {
            body,
            once: Once(once),
        })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()) && values.next().is_none())
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| ApiError::invalid("Idempotency-Key", "must be 1 to 255 ASCII characters, once"))
}

/// 201: what was made, or the answer that told it the first time.
pub(super) struct Created {
    body: String,
    etag: Option<String>,
    replayed: bool,
}

impl Created {
    fn new(answer: &impl Versioned) -> Result<Self, ApiError> {
        Ok(Self {
            body: serde_json::to_string(answer).map_err(ApiError::internal)?,
            etag: Some(answer.version()),
            replayed: false,
        })
    }
}

impl Created {
    /// Whether this tells of something that was made before.
    pub(super) fn is_replayed(&self) -> bool {
        self.replayed
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (StatusCode::CREATED, [(header::CONTENT_TYPE, json)], self.body).into_response();
        let headers = response.headers_mut();
        if let Some(Ok(tag)) = self.etag.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ETAG, tag);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A creation by somebody, in a workspace or (nil) in none.
pub(super) struct Creation<'a> {
    pub state: &'a AppState,
    pub user_id: Uuid,
    pub workspace_id: Uuid,
    pub once: Once,
}

impl Creation<'_> {
    /// The answer, if this very request was answered before; else counts one more thing that the workspace makes, or
    /// refuses it with 429 (CA-12).
    pub(super) async fn admit(&self) -> Result<Option<Created>, ApiError> {
        if let Some(earlier) = self.replayed().await? {
            return Ok(Some(earlier));
        }
        let subject = if self.workspace_id.is_nil() {
            self.user_id
        } else {
            self.workspace_id
        };
        let taken = self.state.creations.take(subject, self.state.clock.now_ms());
        taken.map_err(ApiError::too_many)?;
        Ok(None)
    }

    async fn replayed(&self) -> Result<Option<Created>, ApiError> {
        let Some(named) = &self.once.0 else {
            return Ok(None);
        };
        let since = self.since();
        let mut db = tenant::begin(&self.state.db, self.workspace_id).await?;
        let found = idempotency::find(&mut db, self.workspace_id, self.user_id, &named.key, since);
        let Some(earlier) = found.await? else {
            return Ok(None);
        };
        if earlier.request_hash != named.request_hash.as_bytes() {
            return Err(ApiError::Conflict {
                field: "Idempotency-Key",
                message: "another request was sent with this key".to_owned(),
            });
        }
        let text = self
            .state
            .keyring
            .open(self.workspace_id, earlier.id, &earlier.answer)
            .map_err(ApiError::internal)?;
        let answer: Value = serde_json::from_str(&text).map_err(ApiError::internal)?;
        let part = |name: &str| answer[name].as_str().map(str::to_owned);
        Ok(Some(Created {
            body: part(BODY).unwrap_or_default(),
            etag: part(ETAG),
            replayed: true,
        }))
    }

    /// Commits what was made, the entry that tells of it and the answer. If another request of the same name was
    /// quicker, nothing is made and its answer is given.
    pub(super) async fn commit(
        self,
        mut write: Write,
        entry: Entry,
        answer: &impl Versioned,
    ) -> Result<Created, ApiError> {
        let created = Created::new(answer)?;
        if let Some(row) = self.row(&created)?
            && let Err(error) = idempotency::insert(&mut write, &row, self.since()).await
        {
            if error.constraint() != Some(idempotency::KEY) {
                return Err(error.into());
            }
            drop(write);
            return self.replayed().await?.ok_or(ApiError::Conflict {
                field: "Idempotency-Key",
                message: "another request with this key is being carried out".to_owned(),
            });
        }
        write.commit(entry).await?;
        Ok(created)
    }

    fn row(&self, created: &Created) -> Result<Option<Answer>, ApiError> {
        let Some(named) = &self.once.0 else {
            return Ok(None);
        };
        let id = self.state.new_id();
        let text = serde_json::json!({ETAG: created.etag, BODY: created.body}).to_string();
        let answer = self
            .state
            .keyring
            .seal(self.workspace_id, id, &text, self.state.entropy.as_ref())
            .map_err(ApiError::internal)?;
        Ok(Some(Answer {
            user_id: self.user_id,
            workspace_id: self.workspace_id,
            key: named.key.clone(),
            id,
            request_hash: named.request_hash.as_bytes().to_vec(),
            answer,
            created_at: self.state.now(),
        }))
    }

    fn since(&self) -> DateTime<Utc> {
        self.state.now() - LIFETIME
    }
}
