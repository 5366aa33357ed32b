//! `/api/auth/password`: change one's own, or set a new one with a one-time link.

use super::{Guess, check_new_password};
use crate::audit::{Actor, Entry, Origin, Write};
use crate::auth::{opaque, throttle};
use crate::db::{password_reset, session, user};
use crate::entropy;
use crate::http::error::{ApiError, Faults};
use crate::http::extract::{Body, SignedIn};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use rateguard_api::auth as body;
use rateguard_api::name::AuditAction;

/// Changes your password
///
/// Needs the password in force; ends the user's other sessions and unused reset links.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    tag = "Sign-in",
    operation_id = "changePassword",
    request_body = body::ChangePassword,
    responses((status = 204), (status = 403), (status = 429))
)]
pub(super) async fn change(
    State(state): State<AppState>,
    signed_in: SignedIn,
    origin: Origin,
    jar: CookieJar,
    Body(body): Body<body::ChangePassword>,
) -> Result<StatusCode, ApiError> {
    let mut faults = Faults::default();
    check_new_password(&mut faults, "newPassword", &body.new_password);
    faults.finish(())?;
    let known = user::credentials(&state.db, signed_in.user_id)
        .await?
        .ok_or(ApiError::Unauthenticated("the session is over"))?;
    let guess = Guess {
        email: &known.user.email,
        user_id: Some(known.user.id),
        password: body.current_password,
        hash: Some(known.password_hash.clone()),
        cookie: jar.get(super::COOKIE).map(Cookie::value),
    };
    if !guess.check(&state, &origin.client).await? {
        return Err(ApiError::invalid(
            "currentPassword",
            "is not the password in force",
        ));
    }
    let salt = entropy::random_bytes(state.entropy.as_ref());
    let hash = state.auth.passwords.hash(body.new_password, salt).await?;
    let now = state.now();
    let actor = Actor::session(signed_in.user_id, signed_in.session_id, origin);
    let mut tx = Write::begin(&state, actor).await?;
    let present = user::for_update(&mut tx, signed_in.user_id)
        .await?
        .ok_or(ApiError::Unauthenticated("the session is over"))?;
    if present.password_hash != known.password_hash {
        return Err(ApiError::Conflict {
            field: "currentPassword",
            message: "the password was changed meanwhile".to_owned(),
        });
    }
    user::set_password(&mut tx, signed_in.user_id, &hash).await?;
    password_reset::end_all(&mut tx, signed_in.user_id).await?;
    session::revoke_others(&mut tx, signed_in.user_id, Some(signed_in.session_id), now).await?;
    let user = &present.user;
    tx.commit(Entry::outside(
        AuditAction::UserPasswordChange,
        Some(user.id),
        &user.email,
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a new password with a one-time link
///
/// Needs the token of a link; ends every session of the user.
#[utoipa::path(
    post,
    path = "/api/auth/password/reset",
    tag = "Sign-in",
    operation_id = "resetPassword",
    request_body = body::ResetPassword,
    security(()),
    responses((status = 204), (status = 403), (status = 429))
)]
pub(super) async fn reset(
    State(state): State<AppState>,
    origin: Origin,
    Body(body): Body<body::ResetPassword>,
) -> Result<StatusCode, ApiError> {
    let no_such_link = || ApiError::invalid("token", "is not that of a link in force");
    let mut faults = Faults::default();
    check_new_password(&mut faults, "newPassword", &body.new_password);
    faults.finish(())?;
    let digest = opaque::digest_of(opaque::PASSWORD_RESET, &body.token).ok_or_else(no_such_link)?;
    let sha256 = digest.as_bytes();
    // Asked before the hash, which costs; decided below.
    if password_reset::owner(&state.db, sha256, state.now())
        .await?
        .is_none()
    {
        throttle::admit_network(&state, &origin.client)?;
        return Err(no_such_link());
    }
    let salt = entropy::random_bytes(state.entropy.as_ref());
    let hash = state.auth.passwords.hash(body.new_password, salt).await?;
    let now = state.now();
    let mut tx = Write::begin(&state, Actor::nobody(origin)).await?;
    let user_id = password_reset::redeem(&mut tx, sha256, now)
        .await?
        .ok_or_else(no_such_link)?;
    user::set_password(&mut tx, user_id, &hash).await?;
    session::revoke_others(&mut tx, user_id, None, now).await?;
    tx.by(user_id, None);
    tx.commit(Entry::outside(
        AuditAction::UserPasswordReset,
        Some(user_id),
        "password",
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
