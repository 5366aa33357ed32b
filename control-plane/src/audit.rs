//! The one door for writes of the REST API: a transaction that commits together with an audit entry, or not at all.
//!
//! What an entry shows before and after is the REST form of the resource, and only forms without secrets implement
//! [`Shown`]: there is nothing to redact, and nothing to forget to redact.

use crate::auth::identity::{Credential, Identity};
use crate::db::audit::{self as rows, Record};
use crate::db::{DbError, tenant, transaction};
use crate::http::client::Client;
use crate::state::AppState;
use chrono::{DateTime, Utc};
use rateguard_api::name::AuditAction;
use serde::Serialize;
use sqlx::{Postgres, Transaction};
use std::ops::{Deref, DerefMut};
use uuid::Uuid;

/// Where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub client: Client,
    /// As in the answer's `x-request-id`.
    pub request_id: Option<Uuid>,
}

/// Who writes, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    pub user_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    /// Of a personal access token.
    pub token_id: Option<Uuid>,
    pub origin: Origin,
}

impl Actor {
    /// Whoever showed something in force.
    pub fn of(identity: Identity, origin: Origin) -> Self {
        let (session_id, token_id) = match identity.credential {
            Credential::Session { id, .. } => (Some(id), None),
            Credential::AccessToken { id, .. } => (None, Some(id)),
        };
        Self {
            user_id: Some(identity.user_id),
            session_id,
            token_id,
            origin,
        }
    }

    /// Somebody signed in.
    pub fn session(user_id: Uuid, session_id: Uuid, origin: Origin) -> Self {
        Self {
            user_id: Some(user_id),
            session_id: Some(session_id),
            token_id: None,
            origin,
        }
    }

    /// Nobody yet: [`Write::by`] tells who it turned out to be.
    pub fn nobody(origin: Origin) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }
}

/// A body of the REST API that holds no secret.
pub trait Shown: Serialize {}

impl Shown for rateguard_api::access_token::AccessToken {}
impl Shown for rateguard_api::api::Api {}
impl Shown for rateguard_api::auth::Session {}
impl Shown for rateguard_api::auth::User {}
impl Shown for rateguard_api::budget::Budget {}
impl Shown for rateguard_api::budget::MonthlyBudget {}
impl Shown for rateguard_api::data_plane::DataPlaneToken {}
impl Shown for rateguard_api::invitation::Invitation {}
impl Shown for rateguard_api::key::Key {}
impl Shown for rateguard_api::member::Member {}
impl Shown for rateguard_api::price::Price {}
impl Shown for rateguard_api::rule::ResetRule {}
impl Shown for rateguard_api::rule::Rule {}
impl Shown for rateguard_api::workspace::Workspace {}

/// What was done, as the audit log will tell it.
#[derive(Debug, Clone)]
#[must_use = "an entry does nothing until a write commits with it"]
pub struct Entry {
    action: AuditAction,
    workspace_id: Option<Uuid>,
    resource_id: Option<Uuid>,
    resource_name: String,
    before: Option<String>,
    after: Option<String>,
}

impl Entry {
    /// Something done in a workspace, to the resource of this id and name.
    pub fn new(action: AuditAction, workspace_id: Uuid, id: Uuid, name: &str) -> Self {
        Self {
            workspace_id: Some(workspace_id),
            ..Self::outside(action, Some(id), name)
        }
    }

    /// Something done in no workspace.
    pub fn outside(action: AuditAction, id: Option<Uuid>, name: &str) -> Self {
        Self {
            action,
            workspace_id: None,
            resource_id: id,
            resource_name: name.to_owned(),
            before: None,
            after: None,
        }
    }

    pub fn before(self, shown: &impl Shown) -> Self {
        Self {
            before: json(shown),
            ..self
        }
    }

    pub fn after(self, shown: &impl Shown) -> Self {
        Self {
            after: json(shown),
            ..self
        }
    }
}

/// Text, so that decimals stay exact. The bodies are made of strings, numbers and booleans: they cannot fail.
fn json(shown: &impl Shown) -> Option<String> {
    serde_json::to_string(shown).ok()
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A transaction that writes. Dropped without [`Write::commit`], it changes nothing.
pub struct Write {
    tx: Transaction<'static, Postgres>,
    actor: Actor,
    id: Uuid,
    at: DateTime<Utc>,
}

impl Write {
    /// A write in no workspace, or in one that the actor is not in yet.
    pub async fn begin(state: &AppState, actor: Actor) -> Result<Self, DbError> {
        Ok(Self::of(state, transaction::begin(&state.db).await?, actor))
    }

    /// A write in a workspace, which can touch no other.
    pub async fn begin_in(state: &AppState, workspace_id: Uuid, actor: Actor) -> Result<Self, DbError> {
        Ok(Self::of(
            state,
            tenant::begin(&state.db, workspace_id).await?,
            actor,
        ))
    }

    fn of(state: &AppState, tx: Transaction<'static, Postgres>, actor: Actor) -> Self {
        Self {
            tx,
            actor,
            id: state.new_id(),
            at: state.now(),
        }
    }

    /// For writes whose actor is known only now: a registration, a login.
    pub fn by(&mut self, user_id: Uuid, session_id: Option<Uuid>) {
        self.actor.user_id = Some(user_id);
        self.actor.session_id = session_id.or(self.actor.session_id);
    }

    /// Makes the changes durable, and the entry with them.
    pub async fn commit(mut self, entry: Entry) -> Result<(), DbError> {
        let Self { actor, id, at, .. } = &self;
        let record = Record {
            id: *id,
            workspace_id: entry.workspace_id,
            at: *at,
            user_id: actor.user_id,
            session_id: actor.session_id,
            token_id: actor.token_id,
            action: entry.action,
            resource_id: entry.resource_id,
            resource_name: entry.resource_name,
            before: entry.before,
            after: entry.after,
            ip: given(actor.origin.client.ip_text()),
            user_agent: given(actor.origin.client.user_agent.clone()),
            request_id: actor.origin.request_id,
        };
        rows::insert(&mut self.tx, &record).await?;
        self.tx.commit().await?;
        Ok(())
    }
}

impl Deref for Write {
    type Target = Transaction<'static, Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.tx
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tx
    }
}
