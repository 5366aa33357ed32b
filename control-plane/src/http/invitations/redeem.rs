//! `/api/auth/invitations/…`: what the holder of an invitation's link may do. It is for the invited address alone: a
//! session of that user joins, or a new account with that address is made (CA-04).

use super::show;
use crate::audit::{Actor, Entry, Origin, Write};
use crate::auth::account::{self, NewAccount};
use crate::auth::{opaque, throttle};
use crate::config::Registration;
use crate::db::invitation::{self, Invitation};
use crate::db::member;
use crate::db::user::{self, User};
use crate::db::workspace::{self, Membership};
use crate::entropy;
use crate::http::auth::{check_new_password, cookie, show_user};
use crate::http::client::Client;
use crate::http::error::{ApiError, Faults};
use crate::http::extract::{Body, SignedIn};
use crate::http::{text, workspaces};
use crate::state::AppState;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum_extra::extract::CookieJar;
use rateguard_api::invitation as body;
use rateguard_api::name::{AuditAction, InvitationStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::http) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(preview))
        .routes(routes!(accept))
        .routes(routes!(decline))
}

const NOT_PENDING: ApiError = ApiError::NotFound("pending invitation");

/// The pending invitation of a link. Whether another one ended, expired or never was is nobody's business.
async fn find(state: &AppState, client: &Client, token: &str) -> Result<Invitation, ApiError> {
    let found = match opaque::digest_of(opaque::INVITATION, token) {
        Some(digest) => invitation::by_sha256(&state.db, digest.as_bytes()).await?,
        None => None,
    };
    let now = state.now();
    if let Some(found) = found.filter(|found| found.status(now) == InvitationStatus::Pending) {
        return Ok(found);
    }
    throttle::admit_network(state, client)?;
    Err(NOT_PENDING)
}

/// Shows what an invitation offers
#[utoipa::path(
    post,
    path = "/api/auth/invitations/preview",
    tag = "Sign-in",
    operation_id = "previewInvitation",
    request_body = body::InvitationToken,
    security(()),
    responses((status = 200, body = body::InvitationOffer), (status = 403), (status = 404), (status = 429))
)]
async fn preview(
    State(state): State<AppState>,
    client: Client,
    Body(body): Body<body::InvitationToken>,
) -> Result<Json<body::InvitationOffer>, ApiError> {
    let found = find(&state, &client, &body.token).await?;
    let workspace_name = workspace::name(&state.db, found.workspace_id)
        .await?
        .ok_or(NOT_PENDING)?;
    let has_account = user::by_email(&state.db, &found.email).await?.is_some();
    Ok(Json(body::InvitationOffer {
        workspace_name,
        email: found.email,
        role: found.role,
        expires_at: text::timestamp(found.expires_at),
        has_account,
    }))
}

/// A session, where one is shown; what is shown and does not hold is refused.
struct MaybeSignedIn(Option<SignedIn>);

impl FromRequestParts<AppState> for MaybeSignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            SignedIn::from_request_parts(parts, state)
                .await
                .map(Some)
                .map(Self)
        } else {
            Ok(Self(None))
        }
    }
}

/// Accepts an invitation
///
/// With a session, its user joins: 200. Without one, a new account with the invited address joins: 201.
#[utoipa::path(
    post,
    path = "/api/auth/invitations/accept",
    tag = "Sign-in",
    operation_id = "acceptInvitation",
    request_body = body::AcceptInvitation,
    security(()),
    responses((status = 200, body = body::InvitationAccepted), (status = 201, body = body::InvitationAccepted),
              (status = 401), (status = 403), (status = 404), (status = 429))
)]
async fn accept(
    State(state): State<AppState>,
    MaybeSignedIn(signed_in): MaybeSignedIn,
    origin: Origin,
    jar: CookieJar,
    Body(body): Body<body::AcceptInvitation>,
) -> Result<(StatusCode, CookieJar, Json<body::InvitationAccepted>), ApiError> {
    let found = find(&state, &origin.client, &body.token).await?;
    if let Some(signed_in) = signed_in {
        let answer = join(&state, signed_in, origin, &found).await?;
        return Ok((StatusCode::OK, jar, Json(answer)));
    }
    let new = new_account(&state, &origin.client, &found, body).await?;
    let client = origin.client.clone();
    let mut tx = Write::begin(&state, Actor::nobody(origin)).await?;
    let user = account::insert_user(&state, &mut tx, new).await?;
    let membership = redeem(&state, &mut tx, &user, &found).await?;
    let workspace_id = Some(membership.workspace.id);
    let opened = account::open_session(&state, &mut tx, user.id, workspace_id, &client).await?;
    tx.by(user.id, Some(opened.session_id));
    tx.commit(accepted(&found)).await?;
    let access_token = account::access_token(&state, user.id, opened.session_id, Some(&membership))?;
    let answer = answer(&user, &membership, Some(access_token));
    Ok((
        StatusCode::CREATED,
        jar.add(cookie(&state, opened.refresh_token)),
        Json(answer),
    ))
}

async fn join(
    state: &AppState,
    signed_in: SignedIn,
    origin: Origin,
    found: &Invitation,
) -> Result<body::InvitationAccepted, ApiError> {
    let user = user::by_id(&state.db, signed_in.user_id)
        .await?
        .ok_or(ApiError::Unauthenticated("the session is over"))?;
    if user.email.to_lowercase() != found.email.to_lowercase() {
        return Err(ApiError::Forbidden("the invitation is for another address"));
    }
    let actor = Actor::session(signed_in.user_id, signed_in.session_id, origin);
    let mut tx = Write::begin(state, actor).await?;
    let membership = redeem(state, &mut tx, &user, found).await?;
    tx.commit(accepted(found)).await?;
    Ok(answer(&user, &membership, None))
}

fn accepted(found: &Invitation) -> Entry {
    let before = show(found, found.created_at);
    Entry::new(
        AuditAction::InvitationAccept,
        found.workspace_id,
        found.id,
        &found.email,
    )
    .before(&before)
}

/// The account that whoever holds the link wants to have.
async fn new_account(
    state: &AppState,
    client: &Client,
    found: &Invitation,
    body: body::AcceptInvitation,
) -> Result<NewAccount, ApiError> {
    let mut faults = Faults::default();
    let name = text::name(&mut faults, "name", body.name.as_deref().unwrap_or_default());
    let password = body.password.unwrap_or_default();
    check_new_password(&mut faults, "password", &password);
    let name = faults.finish(name)?;
    if user::by_email(&state.db, &found.email).await?.is_some() {
        return Err(ApiError::Conflict {
            field: "email",
            message: "this address has an account already; sign in and accept then".to_owned(),
        });
    }
    if state.config.registration == Registration::Closed {
        return Err(ApiError::Forbidden("registration is closed"));
    }
    throttle::admit_network(state, client)?;
    let salt = entropy::random_bytes(state.entropy.as_ref());
    Ok(NewAccount {
        email: found.email.clone(),
        name,
        password_hash: state.auth.passwords.hash(password, salt).await?,
    })
}

/// Uses the invitation up and makes the member.
async fn redeem(
    state: &AppState,
    tx: &mut Write,
    user: &User,
    found: &Invitation,
) -> Result<Membership, ApiError> {
    let (workspace_id, now) = (found.workspace_id, state.now());
    if !workspace::lock(tx, workspace_id).await?
        || !invitation::end(tx, workspace_id, found.id, InvitationStatus::Accepted, now).await?
    {
        return Err(NOT_PENDING);
    }
    if !member::insert(tx, workspace_id, user.id, found.role, now).await? {
        return Err(ApiError::Conflict {
            field: "",
            message: "you are a member of this workspace already".to_owned(),
        });
    }
    workspace::of_member(tx, workspace_id, user.id)
        .await?
        .ok_or(NOT_PENDING)
}

/// Declines an invitation
#[utoipa::path(
    post,
    path = "/api/auth/invitations/decline",
    tag = "Sign-in",
    operation_id = "declineInvitation",
    request_body = body::InvitationToken,
    security(()),
    responses((status = 204), (status = 403), (status = 404), (status = 429))
)]
async fn decline(
    State(state): State<AppState>,
    origin: Origin,
    Body(body): Body<body::InvitationToken>,
) -> Result<StatusCode, ApiError> {
    let found = find(&state, &origin.client, &body.token).await?;
    let declined = InvitationStatus::Declined;
    let mut tx = Write::begin(&state, Actor::nobody(origin)).await?;
    if !invitation::end(&mut tx, found.workspace_id, found.id, declined, state.now()).await? {
        return Err(NOT_PENDING);
    }
    let entry = Entry::new(
        AuditAction::InvitationDecline,
        found.workspace_id,
        found.id,
        &found.email,
    );
    tx.commit(entry.before(&show(&found, found.created_at))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(user: &User, membership: &Membership, access_token: Option<String>) -> body::InvitationAccepted {
    body::InvitationAccepted {
        user: show_user(user),
        workspace: workspaces::show(membership),
        access_token,
    }
}
