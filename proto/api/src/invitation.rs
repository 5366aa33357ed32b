//! Invitations to a workspace: made by its admins, redeemed with the token of the accept link.

use crate::auth::User;
use crate::name::{InvitationStatus, Role};
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    pub id: String,
    pub email: String,
    pub role: Role,
    pub status: InvitationStatus,
    /// User id of who invited; null if they are gone.
    pub invited_by: Option<String>,
    pub created_at: String,
    /// 7 days after its creation.
    pub expires_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"email": "grace@example.com", "role": "MEMBER"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateInvitation {
    pub email: String,
    pub role: Role,
}

/// 201 of a creation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationWithLink {
    #[serde(flatten)]
    pub record: Invitation,
    /// Where the invited person accepts; never shown again.
    pub accept_url: String,
    /// Whether the link goes out by e-mail too.
    pub mailed: bool,
}

/// Names an invitation by the token of its link.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"token": "rginv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvitationToken {
    /// `rginv_…`.
    pub token: String,
}

/// What an invitation offers, for whoever holds its link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationOffer {
    pub workspace_name: String,
    pub email: String,
    pub role: Role,
    pub expires_at: String,
    /// Whether the address has an account: sign in with it, then accept. Else accept with a name and a password.
    pub has_account: bool,
}

/// With a session: its user joins. Without: a new account with the invited address joins.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"token": "rginv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "name": "Grace", "password": "correct horse"})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptInvitation {
    /// `rginv_…`.
    pub token: String,
    /// Of the new account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the new account: at least 8 characters, at most 72 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationAccepted {
    pub user: User,
    pub workspace: Workspace,
    /// Of the new account's first session, with 201; absent where a session accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
}
