//! Budgets (SPEC 1.4): quotas whose unit is money, and their status.

use crate::id::{QuotaId, WorkspaceId};
use crate::money::NanoUsd;
use crate::quota::FailureMode;
use crate::window::{Bounds, Window};

/// Whose spend a budget counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetSubject {
    Workspace,
    Api(crate::id::ApiId),
    Key(crate::id::KeyId),
    Tag { name: String, value: String },
    Model { glob: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub id: QuotaId,
    pub workspace_id: WorkspaceId,
    pub version: u32,
    pub name: String,
    pub subject: BudgetSubject,
    pub limit: NanoUsd,
    pub window: Window,
    /// Hard: refuses with 402. Otherwise it only records.
    pub auto_shutoff: bool,
    pub failure_mode: FailureMode,
}

/// What a budget has spent, and where that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    pub reserved: NanoUsd,
    /// limit − spent − reserved, at least 0.
    pub remaining: NanoUsd,
    /// (spent ÷ limit) in hundredths of a percent; 0 when the limit is 0 and nothing was spent, else capped at `u32::MAX`.
    pub percent_used_centi: u32,
    /// Spend per day of the window so far; days are 24 h, at least one hour is counted.
    pub daily_rate: NanoUsd,
    /// Spend at the window's end if the rate holds; the spend itself for windows that never end.
    pub projected: NanoUsd,
}

impl BudgetStatus {
    pub fn compute(
        _limit: NanoUsd,
        _spent: NanoUsd,
        _reserved: NanoUsd,
        _window: Bounds,
        _now_ms: i64,
    ) -> Self {
        todo!()
    }
}
