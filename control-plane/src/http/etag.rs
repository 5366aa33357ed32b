//! `ETag` of what is shown, `If-Match` of who changes it (CA-14).

use super::error::ApiError;
use crate::hex;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use rateguard_api::name::KeyStatus;
use rateguard_api::{access_token, api, budget, data_plane, invitation, key, member, price, rule, workspace};
use rateguard_model::digest::Digest;
use serde::Serialize;
use utoipa::IntoParams;

/// A body that has versions.
pub(super) trait Versioned: Serialize {
    /// Changes with every change that somebody makes.
    fn version(&self) -> String {
        hash(self)
    }
}

impl Versioned for api::Api {}
impl Versioned for rule::Rule {}
impl Versioned for workspace::Workspace {}
impl Versioned for budget::MonthlyBudget {}
impl Versioned for member::Member {}
impl Versioned for invitation::InvitationWithLink {}
impl Versioned for access_token::AccessTokenWithSecret {}
impl Versioned for data_plane::DataPlaneTokenWithSecret {}
impl Versioned for budget::Budget {}
impl Versioned for price::Price {}

impl Versioned for key::Key {
    /// Use and the passing of time are nobody's changes.
    fn version(&self) -> String {
        hash(&Self {
            last_used_at: None,
            status: KeyStatus::Active,
            ..self.clone()
        })
    }
}

impl Versioned for key::KeyWithSecret {
    fn version(&self) -> String {
        self.record.version()
    }
}

fn hash(body: &(impl Serialize + ?Sized)) -> String {
    // The bodies are made of strings, numbers and booleans: serialising cannot fail.
    let digest = Digest::of(&serde_json::to_vec(body).unwrap_or_default());
    let start: String = hex::encode(digest.as_bytes()).chars().take(20).collect();
    format!("\"{start}\"")
}

/// 200 with the body's `ETag`.
pub(super) struct Tagged<T>(pub T);

impl<T: Versioned> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = HeaderValue::from_str(&self.0.version());
        let mut response = Json(self.0).into_response();
        if let Ok(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// The `If-Match` of an update or a deletion.
pub(super) struct IfMatch(Option<String>);

/// The same for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `IfMatch` reads")]
pub(super) struct IfMatchParam {
    /// The `ETag` that was read: 412 if somebody changed the thing meanwhile.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let values: Result<Vec<&str>, _> = parts
            .headers
            .get_all(header::IF_MATCH)
            .iter()
            .map(HeaderValue::to_str)
            .collect();
        let values = values.map_err(|_| ApiError::invalid("If-Match", "must be an ETag"))?;
        Ok(Self((!values.is_empty()).then(|| values.join(","))))
    }
}

impl IfMatch {
    /// 412 if the thing, as it is now, is not what the caller read. To be asked under the lock.
    pub(super) fn check(&self, current: &impl Versioned) -> Result<(), ApiError> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let version = current.version();
        let matches = wanted
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag == version);
        if matches {
            Ok(())
        } else {
            Err(ApiError::PreconditionFailed)
        }
    }
}
