//! What handlers ask for: a JSON body, the caller, the caller's place in a workspace.

use super::client::Client;
use super::error::ApiError;
use super::layers::RequestId;
use super::permission::{self, Permission};
use crate::audit::{Actor, Origin, Write};
use crate::auth::identity::{Credential, Identity};
use crate::auth::{access_token, opaque};
use crate::db::workspace::Membership;
use crate::db::{self, DbError, tenant};
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rateguard_api::problem::FieldError;
use serde::de::DeserializeOwned;
use sqlx::{Postgres, Transaction};
use std::convert::Infallible;
use uuid::Uuid;

/// A JSON body. What is not JSON is 400; JSON of the wrong shape is 422 and names the field.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        parse(&read_json(request, state).await?).map(Self)
    }
}

/// The text of a JSON body.
pub(super) async fn read_json(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::MediaType);
    }
    read(request, state).await
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

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
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

/// Whoever shows an access token of a session in force, or a personal access token in force.
pub(super) struct Caller(pub Identity);

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let identity = identify(&parts.headers, state).await?;
        require_active(state, identity).await?;
        Ok(Self(identity))
    }
}

/// A person's own session: what a personal access token must not do asks for this.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedIn {
    pub user_id: Uuid,
    pub session_id: Uuid,
}

impl FromRequestParts<AppState> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Caller(Identity { user_id, credential }) = Caller::from_request_parts(parts, state).await?;
        match credential {
            Credential::Session { id, .. } => Ok(Self {
                user_id,
                session_id: id,
            }),
            Credential::AccessToken { .. } => Err(NEEDS_SESSION),
        }
    }
}

const NEEDS_SESSION: ApiError =
    ApiError::Forbidden("this needs a session; personal access tokens cannot do it");
const SEND_A_TOKEN: ApiError = ApiError::Unauthenticated("send an access token as `Authorization: Bearer …`");
const NOT_IN_FORCE: ApiError = ApiError::Unauthenticated("the access token is not in force");

/// What the bearer token says; whether its session still holds is not asked yet.
async fn identify(headers: &HeaderMap, state: &AppState) -> Result<Identity, ApiError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(SEND_A_TOKEN)?;
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(SEND_A_TOKEN)?;
    if token.starts_with(opaque::ACCESS_TOKEN) {
        let identity = access_token::identify(state, token).await?;
        return identity.ok_or(NOT_IN_FORCE);
    }
    let claims = state
        .auth
        .tokens
        .verify(token, state.clock.now_ms())
        .map_err(|_| NOT_IN_FORCE)?;
    Ok(Identity {
        user_id: claims.user_id,
        credential: Credential::Session {
            id: claims.sid,
            workspace_id: claims.workspace_id,
        },
    })
}

async fn require_active(state: &AppState, identity: Identity) -> Result<(), ApiError> {
    match identity.credential {
        Credential::Session { id, .. }
            if !db::session::is_active(&state.db, id, identity.user_id).await? =>
        {
            Err(ApiError::Unauthenticated("the session is over"))
        }
        // A personal access token was found in force when it was identified.
        Credential::Session { .. } | Credential::AccessToken { .. } => Ok(()),
    }
}

/// The caller in the workspace that the route names. Membership, role and session are read from the database for every
/// request and not kept: whoever is removed is out with the next one (TI-09).
pub(super) struct Access {
    pub caller: Identity,
    /// With the role that the caller may use here.
    pub membership: Membership,
    pub origin: Origin,
}

impl FromRequestParts<AppState> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self {
            client: Client::from_request_parts(parts, state).await?,
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0),
        })
    }
}

impl Access {
    /// The caller in this workspace: 404 unless a member.
    pub(super) async fn to(
        state: &AppState,
        caller: Caller,
        origin: Origin,
        workspace_id: Uuid,
    ) -> Result<Self, ApiError> {
        Self::of(state, caller.0, origin, workspace_id).await
    }

    async fn of(
        state: &AppState,
        caller: Identity,
        origin: Origin,
        workspace_id: Uuid,
    ) -> Result<Self, ApiError> {
        let session_id = match caller.credential {
            Credential::Session { id, .. } => Some(id),
            Credential::AccessToken { .. } => None,
        };
        let found = if caller.reaches(workspace_id) {
            db::workspace::for_caller(&state.db, workspace_id, caller.user_id, session_id).await?
        } else {
            None
        };
        let Some(mut membership) = found else {
            require_active(state, caller).await?;
            return Err(ApiError::NotFound("workspace"));
        };
        membership.role = caller.bounded(membership.role);
        Ok(Self {
            caller,
            membership,
            origin,
        })
    }

    pub(super) fn workspace_id(&self) -> Uuid {
        self.membership.workspace.id
    }

    pub(super) fn user_id(&self) -> Uuid {
        self.caller.user_id
    }

    /// Whom the audit log names.
    fn actor(&self) -> Actor {
        Actor::of(self.caller, self.origin.clone())
    }

    /// A transaction that sees this workspace only; nothing is written with it.
    pub(super) async fn read(&self, state: &AppState) -> Result<Transaction<'static, Postgres>, DbError> {
        tenant::begin(&state.db, self.workspace_id()).await
    }

    /// A write in this workspace, by this caller.
    pub(super) async fn write(&self, state: &AppState) -> Result<Write, DbError> {
        Write::begin_in(state, self.workspace_id(), self.actor()).await
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

    /// 403 unless the caller is signed in: personal access tokens cannot do this.
    pub(super) fn require_session(&self) -> Result<(), ApiError> {
        match self.caller.credential {
            Credential::Session { .. } => Ok(()),
            Credential::AccessToken { .. } => Err(NEEDS_SESSION),
        }
    }
}

impl FromRequestParts<AppState> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = identify(&parts.headers, state).await?;
        let Ok(origin) = Origin::from_request_parts(parts, state).await;
        match path_id(parts, state, "workspace_id", "workspace").await {
            Ok(workspace_id) => Self::of(state, caller, origin, workspace_id).await,
            Err(error) => {
                require_active(state, caller).await?;
                Err(error)
            }
        }
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
