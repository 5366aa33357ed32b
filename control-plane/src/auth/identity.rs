//! Who calls, and what they showed for it.

use rateguard_api::name::Role;
use uuid::Uuid;

/// A user who showed something in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub user_id: Uuid,
    pub credential: Credential,
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// An access token of a login.
    Session {
        id: Uuid,
        /// Which workspace the routes without one mean; none while the user is in none.
        workspace_id: Option<Uuid>,
    },
    /// A personal access token: good for one workspace, for a role at most.
    AccessToken {
        id: Uuid,
        workspace_id: Uuid,
        role_max: Role,
    },
}

impl Identity {
    /// Which workspace the routes without one mean.
    pub fn workspace_id(&self) -> Option<Uuid> {
        match self.credential {
            Credential::Session { workspace_id, .. } => workspace_id,
            Credential::AccessToken { workspace_id, .. } => Some(workspace_id),
        }
    }

    /// Whether this credential reaches a workspace of its user at all.
    pub fn reaches(&self, workspace: Uuid) -> bool {
        match self.credential {
            Credential::Session { .. } => true,
            Credential::AccessToken { workspace_id, .. } => workspace_id == workspace,
        }
    }

    /// The user's role as far as this credential carries it.
    pub fn bounded(&self, role: Role) -> Role {
        match self.credential {
            Credential::Session { .. } => role,
            // The order of roles is from the most powerful down.
            Credential::AccessToken { role_max, .. } => role.max(role_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_lower_of_its_own_and_its_creators_role() {
        let id = Uuid::from_u128(1);
        let with = |credential| Identity {
            user_id: Uuid::nil(),
            credential,
        };
        let session = with(Credential::Session {
            id,
            workspace_id: None,
        });
        for role in Role::ALL {
            assert_eq!(session.bounded(*role), *role);
        }
        for (role_max, present, expected) in [
            (Role::Owner, Role::Viewer, Role::Viewer),
            (Role::Viewer, Role::Owner, Role::Viewer),
            (Role::Member, Role::Admin, Role::Member),
            (Role::Admin, Role::Admin, Role::Admin),
        ] {
            let token = with(Credential::AccessToken {
                id,
                workspace_id: id,
                role_max,
            });
            assert_eq!(token.bounded(present), expected);
            assert!(token.reaches(id) && !token.reaches(Uuid::nil()));
        }
    }
}
