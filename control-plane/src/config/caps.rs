//! How much a workspace may have, and how fast it may make it.

use super::Reader;
use crate::pace::Pace;
use uuid::Uuid;

/// Things per workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// `WORKSPACE_APIS_MAX`
    pub apis: u32,
    /// `WORKSPACE_KEYS_MAX`
    pub keys: u32,
    /// `WORKSPACE_RULES_MAX`
    pub rules: u32,
    /// `WORKSPACE_BUDGETS_MAX`
    pub budgets: u32,
    /// `WORKSPACE_CREATIONS_PER_MINUTE`: as many at once, then evenly. At least 1.
    pub creations_per_minute: u32,
}

/// Workspaces whose pace is remembered; beyond it newcomers are not bound until others are back at full.
const PACED_MAX: usize = 100_000;

impl Caps {
    /// How fast each workspace may make things, on this replica.
    pub(crate) fn creations(&self) -> Pace<Uuid> {
        let burst = i64::from(self.creations_per_minute.max(1));
        Pace::new(burst, (60_000 / burst).max(1), PACED_MAX)
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            apis: 200,
            keys: 100_000,
            rules: 1_000,
            budgets: 1_000,
            creations_per_minute: 600,
        }
    }
}

impl Reader<'_> {
    pub(super) fn caps(&mut self) -> Caps {
        let Caps {
            apis,
            keys,
            rules,
            budgets,
            creations_per_minute,
        } = Caps::default();
        Caps {
            apis: self.cap("WORKSPACE_APIS_MAX", apis),
            keys: self.cap("WORKSPACE_KEYS_MAX", keys),
            rules: self.cap("WORKSPACE_RULES_MAX", rules),
            budgets: self.cap("WORKSPACE_BUDGETS_MAX", budgets),
            creations_per_minute: self.cap("WORKSPACE_CREATIONS_PER_MINUTE", creations_per_minute),
        }
    }

    fn cap(&mut self, variable: &'static str, default: u32) -> u32 {
        let Some(text) = self.get(variable) else {
            return default;
        };
        text.trim().parse().unwrap_or_else(|_| {
            self.problem(variable, format!("`{text}` is not a whole number"));
            default
        })
    }
}
