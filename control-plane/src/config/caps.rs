//! How much a workspace may have.

use super::Reader;

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
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            apis: 200,
            keys: 100_000,
            rules: 1_000,
            budgets: 1_000,
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
        } = Caps::default();
        Caps {
            apis: self.cap("WORKSPACE_APIS_MAX", apis),
            keys: self.cap("WORKSPACE_KEYS_MAX", keys),
            rules: self.cap("WORKSPACE_RULES_MAX", rules),
            budgets: self.cap("WORKSPACE_BUDGETS_MAX", budgets),
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
