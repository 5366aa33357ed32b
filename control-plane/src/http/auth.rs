//! `/api/auth/…` (SPEC 3.1).

use super::error::{ApiError, Faults};
use super::extract::{Body, Caller, OptionalBody};
use super::{text, workspaces};
use crate::auth::account::{self, NewAccount};
use crate::auth::password;
use crate::auth::refresh::LIFETIME;
use crate::config::{Environment, Registration};
use crate::db::user::{self, User};
use crate::db::workspace;
use crate::entropy;
use crate::state::AppState;
use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use rateguard_api::auth as body;
use uuid::Uuid;

const COOKIE: &str = "rateguard_refresh";
const COOKIE_PATH: &str = "/api/auth";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/auth/register", post(register))
        .route("/api/auth/login", post(login))
        .route("/api/auth/refresh", post(refresh))
        .route("/api/auth/logout", post(log_out))
        .route("/api/auth/me", get(me))
        .layer(middleware::from_fn(refuse_cross_site))
}

/// Refuses writes that another site's page sends (DS-03). Programs send neither header.
async fn refuse_cross_site(request: Request, next: Next) -> Result<Response, ApiError> {
    if request.method() == Method::POST && is_cross_site(request.headers()) {
        return Err(ApiError::Forbidden("the request comes from another site"));
    }
    Ok(next.run(request).await)
}

fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|text| text.split_once("://"))
        .map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) => !authority.eq_ignore_ascii_case(host),
        _ => true,
    }
}

async fn register(
    State(state): State<AppState>,
    jar: CookieJar,
    Body(body): Body<body::RegisterRequest>,
) -> Result<(StatusCode, CookieJar, Json<body::Registered>), ApiError> {
    if state.config.registration != Registration::Open {
        return Err(ApiError::Forbidden("registration is closed"));
    }
    let mut faults = Faults::default();
    let email = text::email(&mut faults, "email", &body.email);
    let name = text::name(&mut faults, "name", &body.name);
    if let Err(weak) = password::check(&body.password) {
        faults.invalid("password", weak.to_string());
    }
    faults.finish(())?;
    let salt = entropy::random_bytes(state.entropy.as_ref());
    let password_hash = state.auth.passwords.hash(body.password, salt).await?;
    let (user, membership, opened) = account::register(
        &state,
        NewAccount {
            email,
            name,
            password_hash,
        },
    )
    .await?;
    let access_token = account::access_token(&state, user.id, opened.session_id, &membership)?;
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

async fn login(
    State(state): State<AppState>,
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
    let right = state.auth.passwords.verify(body.password, hash).await?;
    let user = user.filter(|_| right).ok_or(REFUSED)?;
    let memberships = workspace::of_user(&state.db, user.id).await?;
    let first = memberships
        .first()
        .ok_or(ApiError::Forbidden("you are in no workspace"))?;
    let opened = account::open(&state, user.id).await?;
    let access_token = account::access_token(&state, user.id, opened.session_id, first)?;
    let answer = body::LoggedIn {
        user: show_user(&user),
        workspaces: memberships.iter().map(workspaces::show).collect(),
        access_token,
    };
    Ok((jar.add(cookie(&state, opened.refresh_token)), Json(answer)))
}

async fn refresh(
    State(state): State<AppState>,
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
    } = account::refresh(&state, &presented, wanted).await?;
    let jar = match refresh_token {
        Some(token) => jar.add(cookie(&state, token)),
        None => jar,
    };
    Ok((jar, Json(body::Refreshed { access_token })))
}

async fn log_out(
    State(state): State<AppState>,
    jar: CookieJar,
) -> Result<(CookieJar, Json<body::LoggedOut>), ApiError> {
    if let Some(presented) = jar.get(COOKIE) {
        account::log_out(&state, presented.value()).await?;
    }
    let jar = jar.remove(Cookie::build(COOKIE).path(COOKIE_PATH));
    Ok((jar, Json(body::LoggedOut { success: true })))
}

async fn me(State(state): State<AppState>, Caller(claims): Caller) -> Result<Json<body::Me>, ApiError> {
    let user = user::by_id(&state.db, claims.user_id)
        .await?
        .ok_or(ApiError::Unauthenticated("the session is over"))?;
    let memberships = workspace::of_user(&state.db, user.id).await?;
    Ok(Json(body::Me {
        user: show_user(&user),
        workspaces: memberships.iter().map(workspaces::show).collect(),
    }))
}

fn cookie(state: &AppState, token: String) -> Cookie<'static> {
    Cookie::build((COOKIE, token))
        .path(COOKIE_PATH)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(state.config.environment == Environment::Production)
        .max_age(LIFETIME.try_into().unwrap_or_default())
        .build()
}

fn show_user(user: &User) -> body::User {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ds_03_only_the_own_site_and_programs_may_write() {
        for (headers, cross) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (
                &[("origin", "https://console.test"), ("host", "console.test")],
                false,
            ),
            (
                &[("origin", "http://localhost:3000"), ("host", "localhost:3000")],
                false,
            ),
            (
                &[("origin", "http://localhost:3001"), ("host", "localhost:3000")],
                true,
            ),
            (&[("origin", "https://evil.test"), ("host", "console.test")], true),
            (&[("origin", "null"), ("host", "console.test")], true),
            (&[("origin", "https://console.test")], true),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            assert_eq!(is_cross_site(&map), cross, "{headers:?}");
        }
    }
}
