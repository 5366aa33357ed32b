//! Who polls: a role and the reach of its token.

use rateguard_wire::v1::{PollRole, ResourceType};
use uuid::Uuid;

/// What a data plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Gets upstream credentials and key hashes.
    Filter,
    /// Gets data-plane token hashes and budgets; never a credential or a key's hash.
    Limits,
}

impl Role {
    /// `None` for a role that the request does not name.
    pub fn of(role: PollRole) -> Option<Self> {
        match role {
            PollRole::Unspecified => None,
            PollRole::Filter => Some(Self::Filter),
            PollRole::Limits => Some(Self::Limits),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Limits => "limits",
        }
    }

    const fn gets(self, resource_type: ResourceType) -> bool {
        match resource_type {
            ResourceType::Unspecified => false,
            ResourceType::Workspace | ResourceType::Budget => true,
            ResourceType::Api | ResourceType::Key | ResourceType::Rule => matches!(self, Self::Filter),
            ResourceType::DataPlaneToken => matches!(self, Self::Limits),
        }
    }
}

/// Everything that decides what a client may see. Two clients of one audience see the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Audience {
    pub role: Role,
    /// `None`: every workspace.
    pub workspace_id: Option<Uuid>,
}

impl Audience {
    /// Whether a resource is for this audience. `workspace_id` is the one it belongs to; `None` only for tokens of
    /// all workspaces, which a token of one workspace does not see.
    pub fn sees(&self, resource_type: ResourceType, workspace_id: Option<Uuid>) -> bool {
        let in_reach = self.workspace_id.is_none() || self.workspace_id == workspace_id;
        in_reach && self.role.gets(resource_type)
    }
}
