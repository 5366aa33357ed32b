//! What the console offers to a role: the same table as the server's (SPEC 3.1). The server decides; this only hides
//! what it would refuse.

use rateguard_api::name::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Read,
    /// APIs, keys, rules.
    Write,
    /// Settings, budget, prices, members, data planes, audit.
    Administer,
    /// Deleting the workspace, giving it away.
    Own,
}

pub fn can(role: Role, need: Need) -> bool {
    match need {
        Need::Read => true,
        Need::Write => matches!(role, Role::Owner | Role::Admin | Role::Member),
        Need::Administer => matches!(role, Role::Owner | Role::Admin),
        Need::Own => role == Role::Owner,
    }
}

/// The role as people say it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Admin => "Admin",
        Role::Member => "Member",
        Role::Viewer => "Viewer",
    }
}

/// What a role may do, in a sentence.
pub fn role_help(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything, including deleting the workspace.",
        Role::Admin => "Everything but deleting the workspace or giving it away.",
        Role::Member => {
            "Changes APIs, keys and rate limits; reads everything but the audit log and data planes."
        }
        Role::Viewer => "Reads what a member reads; changes nothing.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_get_what_the_contract_says() {
        let table = [
            (Role::Owner, [true, true, true, true]),
            (Role::Admin, [true, true, true, false]),
            (Role::Member, [true, true, false, false]),
            (Role::Viewer, [true, false, false, false]),
        ];
        for (role, expected) in table {
            let found = [Need::Read, Need::Write, Need::Administer, Need::Own].map(|need| can(role, need));
            assert_eq!(found, expected, "{role}");
        }
    }
}
