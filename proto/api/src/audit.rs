//! The audit log: who wrote what, when, from where (SPEC 3.1).

use crate::name::AuditAction;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One write. Secrets are in none of its fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub id: String,
    /// When.
    pub at: String,
    pub actor: Actor,
    pub action: AuditAction,
    pub resource: Resource,
    /// As the REST API showed it before; null: it was made, or has nothing to show.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub before: Option<Box<RawValue>>,
    /// As the REST API showed it after; null: it is gone.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub after: Option<Box<RawValue>>,
    /// The address that the request came from.
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    /// As in the answer's `x-request-id` and in the log.
    pub request_id: Option<String>,
}

/// Whose session or token it was. All null: nobody was signed in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    pub user_id: Option<String>,
    /// Null once the user is gone.
    pub email: Option<String>,
    pub session_id: Option<String>,
    /// Of a personal access token.
    pub token_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// `api`, `key`, `rule`, …
    #[serde(rename = "type")]
    pub kind: String,
    pub id: Option<String>,
    /// At the time.
    pub name: String,
}
