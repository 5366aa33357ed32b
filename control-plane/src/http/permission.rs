//! Who may do what in a workspace: the table of SPEC 3.1.

use rateguard_api::name::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Settings, APIs, keys, rules, budget, costs.
    Read,
    /// Name, slug, settings.
    WriteWorkspace,
    WriteApis,
    WriteKeys,
    /// Resets too.
    WriteRules,
    WriteBudget,
    /// Prices of the workspace's own.
    WritePrices,
    ReadDataPlanes,
    WriteDataPlanes,
    ReadAudit,
    /// Members up to one's own reach ([`managed_by`]), and invitations.
    WriteMembers,
    TransferOwnership,
    DeleteWorkspace,
}

const EVERYBODY: &[Role] = &[Role::Owner, Role::Admin, Role::Member, Role::Viewer];
const WRITERS: &[Role] = &[Role::Owner, Role::Admin, Role::Member];
const ADMINS: &[Role] = &[Role::Owner, Role::Admin];
const OWNERS: &[Role] = &[Role::Owner];

const fn roles(permission: Permission) -> &'static [Role] {
    match permission {
        Permission::Read => EVERYBODY,
        Permission::WriteApis | Permission::WriteKeys | Permission::WriteRules => WRITERS,
        Permission::WriteWorkspace
        | Permission::WriteBudget
        | Permission::WritePrices
        | Permission::ReadDataPlanes
        | Permission::WriteDataPlanes
        | Permission::ReadAudit
        | Permission::WriteMembers => ADMINS,
        Permission::TransferOwnership | Permission::DeleteWorkspace => OWNERS,
    }
}

/// Whether a member of this role may do that.
pub fn allows(role: Role, permission: Permission) -> bool {
    roles(permission).contains(&role)
}

/// The roles that a member of this role may give, and whose holders they may change, invite and remove.
pub const fn managed_by(role: Role) -> &'static [Role] {
    match role {
        Role::Owner => EVERYBODY,
        Role::Admin => &[Role::Admin, Role::Member, Role::Viewer],
        Role::Member | Role::Viewer => &[],
    }
}
