//! Accounts and sessions: what register, login, refresh and logout do to the database.

use super::refresh::{self, NewRefreshToken, Use};
use super::token::Grant;
use crate::audit::{Actor, Entry, Origin, Write};
use crate::db::session::{self, Session, Touch};
use crate::db::user::{self, User};
use crate::db::workspace::{self, Membership, Workspace};
use crate::db::{DbError, feed};
use crate::entropy;
use crate::hex;
use crate::http::client::Client;
use crate::http::error::ApiError;
use crate::http::text;
use crate::state::AppState;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rateguard_api::name::{AuditAction, FailureMode, Role, UnpricedModelPolicy};
use rateguard_model::digest::Digest;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// A checked registration.
pub struct NewAccount {
    pub email: String,
    pub name: String,
    pub password_hash: String,
}

/// A session as its holder gets it.
pub struct Opened {
    pub session_id: Uuid,
    pub refresh_token: String,
}

/// Makes a user, their default workspace, and a first session.
pub async fn register(
    state: &AppState,
    new: NewAccount,
    origin: Origin,
) -> Result<(User, Membership, Opened), ApiError> {
    let now = state.now();
    let client = origin.client.clone();
    let mut tx = Write::begin(state, Actor::nobody(origin)).await?;
    let user = insert_user(state, &mut tx, new).await?;
    let slug = text::slug_from(&user.name, "workspace");
    let workspace = Workspace {
        id: state.new_id(),
        slug,
        name: format!("{}'s workspace", user.name),
        ..empty_workspace(now)
    };
    let workspace = insert_workspace(state, &mut tx, workspace, user.id, true).await?;
    let opened = open_session(state, &mut tx, user.id, Some(workspace.id), &client).await?;
    tx.by(user.id, Some(opened.session_id));
    let entry = Entry::new(AuditAction::UserRegister, workspace.id, user.id, &user.email);
    tx.commit(entry).await?;
    Ok((
        user,
        Membership {
            workspace,
            role: Role::Owner,
        },
        opened,
    ))
}

/// Stores a user; 409 if the address has an account.
pub async fn insert_user(
    state: &AppState,
    tx: &mut Transaction<'_, Postgres>,
    new: NewAccount,
) -> Result<User, ApiError> {
    let NewAccount {
        email,
        name,
        password_hash,
    } = new;
    let user = User {
        id: state.new_id(),
        email,
        name,
        created_at: state.now(),
    };
    match user::insert(tx, &user, &password_hash).await {
        Ok(()) => Ok(user),
        Err(error) if error.constraint() == Some(user::EMAIL_KEY) => Err(ApiError::Conflict {
            field: "email",
            message: "this address has an account already".to_owned(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// A workspace with every setting at its default.
pub fn empty_workspace(now: DateTime<Utc>) -> Workspace {
    Workspace {
        id: Uuid::nil(),
        slug: String::new(),
        name: String::new(),
        time_zone: Tz::UTC,
        unpriced_model_policy: UnpricedModelPolicy::Block,
        failure_mode: FailureMode::FailOpen,
        default_key_budget: None,
        created_at: now,
        updated_at: now,
    }
}

/// How many numbered slugs are tried before a random one.
const NUMBERED_SLUGS: u32 = 5;

/// Stores a workspace and its owner. A taken slug gets a suffix, or is a conflict.
pub async fn insert_workspace(
    state: &AppState,
    tx: &mut Transaction<'_, Postgres>,
    workspace: Workspace,
    owner_id: Uuid,
    suffix: bool,
) -> Result<Workspace, ApiError> {
    let feed_version = feed::next_version(tx).await?;
    let mut workspace = workspace;
    let base = workspace.slug.clone();
    let mut attempt = 1;
    while !workspace::insert(tx, &workspace, feed_version).await? {
        if !suffix {
            return Err(slug_taken());
        }
        attempt += 1;
        workspace.slug = if attempt <= NUMBERED_SLUGS {
            format!("{base}-{attempt}")
        } else {
            let random = hex::encode(&entropy::random_bytes::<6>(state.entropy.as_ref()));
            format!("{base}-{random}")
        };
    }
    workspace::insert_member(tx, workspace.id, owner_id, Role::Owner, workspace.created_at).await?;
    Ok(workspace)
}

/// 409 of a workspace's slug.
pub fn slug_taken() -> ApiError {
    ApiError::Conflict {
        field: "slug",
        message: "another workspace has this slug".to_owned(),
    }
}

/// Starts a session of a user whose password was right.
pub async fn open(
    state: &AppState,
    user_id: Uuid,
    workspace_id: Option<Uuid>,
    origin: Origin,
) -> Result<Opened, ApiError> {
    let client = origin.client.clone();
    let mut tx = Write::begin(state, Actor::nobody(origin)).await?;
    let opened = open_session(state, &mut tx, user_id, workspace_id, &client).await?;
    tx.by(user_id, Some(opened.session_id));
    tx.commit(about(AuditAction::SessionCreate, opened.session_id))
        .await?;
    Ok(opened)
}

/// The same in a transaction.
pub async fn open_session(
    state: &AppState,
    tx: &mut Transaction<'_, Postgres>,
    user_id: Uuid,
    workspace_id: Option<Uuid>,
    client: &Client,
) -> Result<Opened, DbError> {
    let now = state.now();
    let session_id = state.new_id();
    let NewRefreshToken { text, hash } = refresh::generate(session_id, state.entropy.as_ref());
    let row = Session {
        id: session_id,
        user_id,
        workspace_id,
        token_hash: hash.as_bytes().to_vec(),
        previous_hash: None,
        rotated_at: None,
        created_at: now,
        last_used_at: now,
        expires_at: now + refresh::LIFETIME,
        revoked_at: None,
        user_agent: client.user_agent.clone(),
        ip: client.ip_text(),
    };
    session::insert(tx, &row).await?;
    Ok(Opened {
        session_id,
        refresh_token: text,
    })
}

fn about(action: AuditAction, session_id: Uuid) -> Entry {
    Entry::outside(action, Some(session_id), "session")
}

/// What a refresh gives.
pub struct Refreshed {
    pub access_token: String,
    /// `None`: the presented token was the preceding one; the cookie stays.
    pub refresh_token: Option<String>,
}

/// Uses a refresh token. One that was replaced longer ago ends the session. The access token is for the wanted
/// workspace, or else that of the session's last one, or else the user's first; nothing is rotated if the wanted one
/// cannot be had.
pub async fn refresh(
    state: &AppState,
    presented: &str,
    wanted: Option<Uuid>,
    origin: Origin,
) -> Result<Refreshed, ApiError> {
    const REFUSED: ApiError = ApiError::Unauthenticated("the session is over; sign in again");
    let session_id = refresh::session_of(presented).ok_or(REFUSED)?;
    let now = state.now();
    let client = origin.client.clone();
    let mut tx = Write::begin(state, Actor::nobody(origin)).await?;
    let session = session::for_update(&mut tx, session_id).await?.ok_or(REFUSED)?;
    tx.by(session.user_id, Some(session_id));
    let refresh_token = match refresh::judge(&session, Digest::of(presented.as_bytes()), now) {
        Use::Rotate => {
            let next = refresh::generate(session_id, state.entropy.as_ref());
            session::rotate(
                &mut tx,
                session_id,
                next.hash.as_bytes(),
                now,
                now + refresh::LIFETIME,
            )
            .await?;
            Some(next.text)
        }
        Use::AccessOnly => None,
        Use::Revoke => {
            session::revoke(&mut tx, session_id, now).await?;
            tx.commit(about(AuditAction::SessionEnd, session_id)).await?;
            tracing::warn!(session.id = %session_id, "a replaced refresh token was used; the session ends");
            return Err(REFUSED);
        }
        Use::Ended => return Err(REFUSED),
    };
    let memberships = workspace::of_user_in(&mut tx, session.user_id).await?;
    let of = |id: Uuid| memberships.iter().find(|m| m.workspace.id == id);
    let membership = match wanted {
        Some(id) => Some(of(id).ok_or(ApiError::NotFound("workspace"))?),
        None => session.workspace_id.and_then(of).or(memberships.first()),
    };
    let touch = Touch {
        workspace_id: membership.map(|m| m.workspace.id),
        used_at: now,
        user_agent: &client.user_agent,
        ip: &client.ip_text(),
    };
    session::touch(&mut tx, session_id, touch).await?;
    let access_token = access_token(state, session.user_id, session_id, membership)?;
    tx.commit(about(AuditAction::SessionRefresh, session_id)).await?;
    Ok(Refreshed {
        access_token,
        refresh_token,
    })
}

/// Ends the session of a refresh token, if it is one that was issued last or just before.
pub async fn log_out(state: &AppState, presented: &str, origin: Origin) -> Result<(), ApiError> {
    let Some(session_id) = refresh::session_of(presented) else {
        return Ok(());
    };
    let mut tx = Write::begin(state, Actor::nobody(origin)).await?;
    if let Some(session) = session::for_update(&mut tx, session_id).await?
        && session.revoked_at.is_none()
    {
        // A token that names a session and is not its own is a stolen or forged one: that ends the session as well.
        session::revoke(&mut tx, session_id, state.now()).await?;
        tx.by(session.user_id, Some(session_id));
        tx.commit(about(AuditAction::SessionEnd, session_id)).await?;
    }
    Ok(())
}

/// Signs an access token, for a workspace if the user is in any.
pub fn access_token(
    state: &AppState,
    user_id: Uuid,
    session_id: Uuid,
    membership: Option<&Membership>,
) -> Result<String, ApiError> {
    let grant = Grant {
        user_id,
        workspace_id: membership.map(|m| m.workspace.id),
        role: membership.map(|m| m.role),
        session_id,
    };
    state
        .auth
        .tokens
        .sign(grant, state.new_id(), state.clock.now_ms())
        .map_err(ApiError::internal)
}
