//! What handlers ask for: a JSON body, the caller, the caller's place in a workspace.

use super::error::ApiError;
use super::permission::{self, Permission};
use crate::auth::token::Claims;
use crate::db;
use crate::db::workspace::Membership;
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rateguard_api::problem::FieldError;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A JSON body. What is not JSON is 400; JSON of the wrong shape is 422 and names the field.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::MediaType);
        }
        let bytes = read(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(super) struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let json = is_json(request.headers());
        let bytes = read(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !json {
            return Err(ApiError::MediaType);
        }
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::TooLarge
        } else {
            ApiError::Malformed("the body cannot be read".to_owned())
        }
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde reads an array as a struct's fields in order; nobody means that.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid("body", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    deserializer
        .end()
        .map_err(|_| ApiError::Malformed("there is more after the JSON value".to_owned()))?;
    Ok(value)
}

fn refusal(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    if !error.is_data() {
        return ApiError::Malformed(format!("the body is not JSON: {text}"));
    }
    let parent = if path == "." { "" } else { path };
    // serde names a missing or unknown field in its message, not in the path.
    let field = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.split_once('`'))
        .map(|(name, _)| name);
    let field = match (parent, field) {
        ("", None) => "body".to_owned(),
        ("", Some(field)) => field.to_owned(),
        (parent, None) => parent.to_owned(),
        (parent, Some(field)) if parent == field || parent.ends_with(&format!(".{field}")) => {
            parent.to_owned()
        }
        (parent, Some(field)) => format!("{parent}.{field}"),
    };
    ApiError::Invalid(vec![FieldError {
        field,
        message: message.to_owned(),
    }])
}

/// Whoever holds an access token of a session in force.
pub(super) struct Caller(pub Claims);

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let claims = claims(&parts.headers, state)?;
        if db::session::is_active(&state.db, claims.sid, claims.user_id).await? {
            Ok(Self(claims))
        } else {
            Err(ApiError::Unauthenticated("the session is over"))
        }
    }
}

fn claims(headers: &HeaderMap, state: &AppState) -> Result<Claims, ApiError> {
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or(ApiError::Unauthenticated(
            "send an access token as `Authorization: Bearer …`",
        ))?;
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(ApiError::Unauthenticated(
            "send an access token as `Authorization: Bearer …`",
        ))?;
    state
        .auth
        .tokens
        .verify(token, state.clock.now_ms())
        .map_err(|_| ApiError::Unauthenticated("the access token is not in force"))
}

/// The caller in the workspace that the route names; membership and role are read from the database.
pub(super) struct Access {
    pub claims: Claims,
    pub membership: Membership,
}

impl Access {
    /// The caller in this workspace: 404 unless a member.
    pub(super) async fn to(state: &AppState, caller: Caller, workspace_id: Uuid) -> Result<Self, ApiError> {
        let Caller(claims) = caller;
        let membership = db::workspace::for_session(&state.db, workspace_id, claims.user_id, claims.sid)
            .await?
            .ok_or(ApiError::NotFound("workspace"))?;
        Ok(Self { claims, membership })
    }

    pub(super) fn workspace_id(&self) -> Uuid {
        self.membership.workspace.id
    }

    /// 403 unless the caller's role may do this.
    pub(super) fn require(&self, permission: Permission) -> Result<(), ApiError> {
        if permission::allows(self.membership.role, permission) {
            Ok(())
        } else {
            Err(ApiError::Forbidden(
                "your role in this workspace does not allow that",
            ))
        }
    }
}

impl FromRequestParts<AppState> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let workspace_id = path_id(parts, state, "workspace_id", "workspace").await?;
        Self::to(state, caller, workspace_id).await
    }
}

/// The id at the end of a route below a workspace (`{id}`). What is not a UUID names nothing.
pub(super) struct ItemId(pub Uuid);

impl FromRequestParts<AppState> for ItemId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        path_id(parts, state, "id", "item").await.map(Self)
    }
}

async fn path_id(
    parts: &mut Parts,
    state: &AppState,
    name: &str,
    noun: &'static str,
) -> Result<Uuid, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::NotFound(noun))?;
    params
        .iter()
        .find(|(param, _)| *param == name)
        .and_then(|(_, value)| Uuid::try_parse(value).ok())
        .ok_or(ApiError::NotFound(noun))
}
