//! `/api/auth/…` (SPEC 3.1): accounts, and the cookie that keeps a session.

mod password;
mod site;

use super::client::Client;
use super::error::{ApiError, Faults};
use super::extract::{Body, Caller, OptionalBody};
use super::invitations::redeem;
use super::{sessions, text, workspaces};
use crate::audit::Origin;
use crate::auth::account::{self, NewAccount};
use crate::auth::password as rules;
use crate::auth::refresh::LIFETIME;
use crate::auth::throttle;
use crate::config::{Environment, Registration};
use crate::db::user::{self, User};
use crate::db::workspace;
use crate::entropy;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use rateguard_api::auth as body;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

const COOKIE: &str = "rateguard_refresh";
const COOKIE_PATH: &str = "/api/auth";

pub(super) fn routes(state: AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(me))
        .routes(routes!(password::change))
        .routes(routes!(password::reset))
        .merge(sessions::routes())
        .merge(redeem::routes())
        .layer(middleware::from_fn_with_state(state, site::refuse_cross_site))
}

/// Makes an account, its first workspace and a session
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "Sign-in",
    operation_id = "register",
    request_body = body::RegisterRequest,
    security(()),
    responses((status = 201, body = body::Registered), (status = 403), (status = 429))
)]
async fn register(
    State(state): State<AppState>,
    origin: Origin,
    jar: CookieJar,
    Body(body): Body<body::RegisterRequest>,
) -> Result<(StatusCode, CookieJar, Json<body::Registered>), ApiError> {
    if state.config.registration != Registration::Open {
        return Err(ApiError::Forbidden("registration is closed"));
    }
    let mut faults = Faults::default();
    let email = text::email(&mut faults, "email", &body.email);
    let name = text::name(&mut faults, "name", &body.name);
    check_new_password(&mut faults, "password", &body.password);
    faults.finish(())?;
    throttle::admit_network(&state, &origin.client)?;
    let salt = entropy::random_bytes(state.entropy.as_ref());
    let password_hash = state.auth.passwords.hash(body.password, salt).await?;
    let (user, membership, opened) = account::register(
        &state,
        NewAccount {
            email,
            name,
            password_hash,
        },
        origin,
    )
    .await?;
    let access_token = account::access_token(&state, user.id, opened.session_id, Some(&membership))?;
    let answer = body::Registered {
        user: show_user(&user),
        workspace: workspaces::show(&membership),
        access_token,
    };
    Ok((
        StatusCode::CREATED,
        jar.add(cookie(&state, opened.refresh_token)),
        Json(answer),
    ))
}

/// What is wrong with a password that somebody wants to have.
pub(super) fn check_new_password(faults: &mut Faults, field: &str, password: &str) {
    if let Err(weak) = rules::check(password) {
        faults.invalid(field, weak.to_string());
    }
}

/// A password that may be somebody's.
pub(super) struct Guess<'a> {
    pub email: &'a str,
    pub user_id: Option<Uuid>,
    pub password: String,
    pub hash: Option<String>,
    pub cookie: Option<&'a str>,
}

impl Guess<'_> {
    /// Whether it is right; 429 if it came too soon after too many that were not.
    pub(super) async fn check(self, state: &AppState, client: &Client) -> Result<bool, ApiError> {
        let attempt = throttle::admit(state, self.email, self.user_id, self.cookie, client).await?;
        match state.auth.passwords.verify(self.password, self.hash).await {
            Ok(true) => {
                attempt.succeeded(state).await?;
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                attempt.was_none(state).await?;
                Err(error.into())
            }
        }
    }
}

/// Starts a session
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "Sign-in",
    operation_id = "login",
    request_body = body::LoginRequest,
    security(()),
    responses((status = 200, body = body::LoggedIn), (status = 401), (status = 403), (status = 429))
)]
async fn login(
    State(state): State<AppState>,
    origin: Origin,
    jar: CookieJar,
    Body(body): Body<body::LoginRequest>,
) -> Result<(CookieJar, Json<body::LoggedIn>), ApiError> {
    const REFUSED: ApiError = ApiError::Unauthenticated("the e-mail or the password is wrong");
    // Text that Postgres cannot hold is nobody's address; it takes as long as any other.
    let known = if body.email.contains('\0') {
        None
    } else {
        user::by_email(&state.db, body.email.trim()).await?
    };
    let (user, hash) = match known {
        Some(credentials) => (Some(credentials.user), Some(credentials.password_hash)),
        None => (None, None),
    };
    let guess = Guess {
        email: &body.email,
        user_id: user.as_ref().map(|user| user.id),
        password: body.password,
        hash,
        cookie: jar.get(COOKIE).map(Cookie::value),
    };
    let right = guess.check(&state, &origin.client).await?;
    let user = user.filter(|_| right).ok_or(REFUSED)?;
    let memberships = workspace::of_user(&state.db, user.id).await?;
    let first = memberships.first();
    let opened = account::open(&state, user.id, first.map(|m| m.workspace.id), origin).await?;
    let access_token = account::access_token(&state, user.id, opened.session_id, first)?;
    let answer = body::LoggedIn {
        user: show_user(&user),
        workspaces: memberships.iter().map(workspaces::show).collect(),
        access_token,
    };
    Ok((jar.add(cookie(&state, opened.refresh_token)), Json(answer)))
}

/// Gives a new access token for the refresh cookie
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "Sign-in",
    operation_id = "refresh",
    request_body = Option<body::RefreshRequest>,
    security(()),
    responses((status = 200, body = body::Refreshed), (status = 401), (status = 403), (status = 404))
)]
async fn refresh(
    State(state): State<AppState>,
    origin: Origin,
    jar: CookieJar,
    OptionalBody(body): OptionalBody<body::RefreshRequest>,
) -> Result<(CookieJar, Json<body::Refreshed>), ApiError> {
    let presented = jar
        .get(COOKIE)
        .ok_or(ApiError::Unauthenticated("there is no session"))?
        .value()
        .to_owned();
    let wanted = body
        .workspace_id
        .map(|text| Uuid::try_parse(&text).map_err(|_| ApiError::NotFound("workspace")))
        .transpose()?;
    let account::Refreshed {
        access_token,
        refresh_token,
    } = account::refresh(&state, &presented, wanted, origin).await?;
    let jar = match refresh_token {
        Some(token) => jar.add(cookie(&state, token)),
        None => jar,
    };
    Ok((jar, Json(body::Refreshed { access_token })))
}

/// Ends the session of the refresh cookie
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "Sign-in",
    operation_id = "logOut",
    security(()),
    responses((status = 200, body = body::LoggedOut), (status = 403))
)]
async fn log_out(
    State(state): State<AppState>,
    origin: Origin,
    jar: CookieJar,
) -> Result<(CookieJar, Json<body::LoggedOut>), ApiError> {
    if let Some(presented) = jar.get(COOKIE) {
        account::log_out(&state, presented.value(), origin).await?;
    }
    let jar = jar.remove(Cookie::build(COOKIE).path(COOKIE_PATH));
    Ok((jar, Json(body::LoggedOut { success: true })))
}

/// Shows who you are, and where
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "Sign-in",
    operation_id = "me",
    responses((status = 200, body = body::Me))
)]
async fn me(State(state): State<AppState>, Caller(identity): Caller) -> Result<Json<body::Me>, ApiError> {
    let user = user::by_id(&state.db, identity.user_id)
        .await?
        .ok_or(ApiError::Unauthenticated("the session is over"))?;
    let memberships = workspaces::reached(&state, identity).await?;
    Ok(Json(body::Me {
        user: show_user(&user),
        workspaces: memberships.iter().map(workspaces::show).collect(),
    }))
}

pub(super) fn cookie(state: &AppState, token: String) -> Cookie<'static> {
    Cookie::build((COOKIE, token))
        .path(COOKIE_PATH)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(state.config.environment == Environment::Production)
        .max_age(LIFETIME.try_into().unwrap_or_default())
        .build()
}

pub(super) fn show_user(user: &User) -> body::User {
    let User {
        id,
        email,
        name,
        created_at,
    } = user;
    body::User {
        id: id.to_string(),
        email: email.clone(),
        name: name.clone(),
        created_at: text::timestamp(*created_at),
    }
}
