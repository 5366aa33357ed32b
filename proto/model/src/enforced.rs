//! What the data plane enforces and prices today: the one table of SPEC 1.3. Whatever is not in it is refused at
//! write time with 422 `not_supported` and not offered in the console. Later work only extends it.

use crate::budget::BudgetSubject;
use crate::cost::CostModel;
use crate::quota::{Algorithm, Unit};
use crate::rule::Scope;

pub const ALGORITHMS: &[Algorithm] = &[Algorithm::TokenBucket, Algorithm::SlidingWindow];

pub const UNITS: &[Unit] = &[
    Unit::Requests,
    Unit::Tokens,
    Unit::InputTokens,
    Unit::OutputTokens,
    Unit::NanoUsd,
];

/// Scope names as the REST API spells them.
pub const SCOPES: &[&str] = &["GLOBAL", "PER_WORKSPACE", "PER_KEY", "PER_IP"];

/// Cost model names as the REST API spells them.
///
/// CATALOGUE reaches the data plane as PER_TOKEN: the control plane compiles it.
pub const COST_MODELS: &[&str] = &["PER_REQUEST", "PER_TOKEN", "CATALOGUE"];

/// Budget subjects as the REST API spells them.
pub const BUDGET_SUBJECTS: &[&str] = &["WORKSPACE", "API", "KEY"];

/// Budget windows as the REST API spells them: calendar ones in the workspace's time zone, or one that never ends.
pub const BUDGET_WINDOWS: &[&str] = &["HOUR", "DAY", "WEEK", "MONTH", "TOTAL"];

impl Algorithm {
    pub fn is_enforced(self) -> bool {
        ALGORITHMS.contains(&self)
    }
}

impl Unit {
    pub fn is_enforced(self) -> bool {
        UNITS.contains(&self)
    }
}

impl Scope {
    /// As the REST API spells it, without its parameters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Global => "GLOBAL",
            Self::PerWorkspace => "PER_WORKSPACE",
            Self::PerKey => "PER_KEY",
            Self::PerIp { .. } => "PER_IP",
            Self::PerHeader { .. } => "PER_HEADER",
            Self::PerModel => "PER_MODEL",
            Self::PerTag { .. } => "PER_TAG",
        }
    }

    pub fn is_enforced(&self) -> bool {
        SCOPES.contains(&self.kind())
    }
}

impl CostModel {
    /// As the REST API spells it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PerRequest { .. } => "PER_REQUEST",
            Self::PerToken(_) => "PER_TOKEN",
        }
    }

    pub fn is_enforced(&self) -> bool {
        COST_MODELS.contains(&self.kind())
    }
}

impl BudgetSubject {
    /// As the REST API spells it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Workspace => "WORKSPACE",
            Self::Api(_) => "API",
            Self::Key(_) => "KEY",
            Self::Tag { .. } => "TAG",
            Self::Model { .. } => "MODEL",
        }
    }

    pub fn is_enforced(&self) -> bool {
        BUDGET_SUBJECTS.contains(&self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_decides() {
        assert!(Algorithm::TokenBucket.is_enforced());
        assert!(!Algorithm::Concurrency.is_enforced());
        assert!(Unit::NanoUsd.is_enforced());
        assert!(Scope::PerIp { trusted_hops: 1 }.is_enforced());
        assert!(!Scope::PerModel.is_enforced());
        assert!(BudgetSubject::Workspace.is_enforced());
        let tag = BudgetSubject::Tag {
            name: "team".to_owned(),
            value: "a".to_owned(),
        };
        assert!(!tag.is_enforced());
        assert!(
            CostModel::PerRequest {
                cost: crate::money::NanoUsd(1)
            }
            .is_enforced()
        );
    }
}
