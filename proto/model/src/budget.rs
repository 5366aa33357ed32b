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

const DAY_MS: i64 = 86_400_000;

/// A rate over less would jump with every request.
const ELAPSED_MIN_MS: i64 = 3_600_000;

impl BudgetStatus {
    pub fn compute(limit: NanoUsd, spent: NanoUsd, reserved: NanoUsd, window: Bounds, now_ms: i64) -> Self {
        let remaining = limit.saturating_sub(spent).saturating_sub(reserved);
        let now_ms = now_ms.clamp(window.start_ms, window.end_ms.max(window.start_ms));
        let elapsed_ms = now_ms.saturating_sub(window.start_ms).max(ELAPSED_MIN_MS);
        let left_ms = match window.end_ms {
            i64::MAX => 0,
            end => end.saturating_sub(now_ms).max(0),
        };
        Self {
            limit,
            spent,
            reserved,
            remaining: remaining.max(NanoUsd::ZERO),
            percent_used_centi: percent_centi(spent, limit),
            daily_rate: at_rate(spent, elapsed_ms, DAY_MS),
            projected: spent.saturating_add(at_rate(spent, elapsed_ms, left_ms)),
        }
    }
}

/// What `length_ms` costs when `elapsed_ms`, which is positive, cost `spent`.
fn at_rate(spent: NanoUsd, elapsed_ms: i64, length_ms: i64) -> NanoUsd {
    let nanos = i128::from(spent.0) * i128::from(length_ms) / i128::from(elapsed_ms);
    NanoUsd(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

/// Rounded down, so that only a spent budget shows 100 %.
fn percent_centi(spent: NanoUsd, limit: NanoUsd) -> u32 {
    if spent.0 <= 0 {
        return 0;
    }
    if limit.0 <= 0 {
        return u32::MAX;
    }
    let centi = i128::from(spent.0) * 10_000 / i128::from(limit.0);
    u32::try_from(centi).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MONTH: Bounds = Bounds {
        start_ms: 0,
        end_ms: 30 * DAY_MS,
    };

    fn status(limit: i64, spent: i64, reserved: i64, window: Bounds, now_ms: i64) -> BudgetStatus {
        BudgetStatus::compute(NanoUsd(limit), NanoUsd(spent), NanoUsd(reserved), window, now_ms)
    }

    #[test]
    fn projects_the_rate_to_the_end_of_the_window() {
        let status = status(1_000, 100, 50, MONTH, 10 * DAY_MS);
        assert_eq!(status.remaining, NanoUsd(850));
        assert_eq!(status.percent_used_centi, 1_000);
        assert_eq!(status.daily_rate, NanoUsd(10));
        assert_eq!(status.projected, NanoUsd(300));
    }

    #[test]
    fn a_fresh_window_counts_one_hour() {
        let status = status(1_000, 2, 0, MONTH, 1);
        assert_eq!(status.daily_rate, NanoUsd(48));
        assert_eq!(status.projected, NanoUsd(2 + 30 * 48 - 1));
    }

    #[test]
    fn an_ended_or_endless_window_projects_its_spend() {
        assert_eq!(status(1_000, 100, 0, MONTH, 60 * DAY_MS).projected, NanoUsd(100));
        let total = Bounds {
            start_ms: 0,
            end_ms: i64::MAX,
        };
        assert_eq!(status(1_000, 100, 0, total, DAY_MS).projected, NanoUsd(100));
    }

    #[test]
    fn overspending_and_empty_limits_have_a_percentage() {
        assert_eq!(status(1_000, 1_500, 0, MONTH, 1).percent_used_centi, 15_000);
        assert_eq!(status(1_000, 1_500, 0, MONTH, 1).remaining, NanoUsd::ZERO);
        assert_eq!(status(100_000, 99_999, 0, MONTH, 1).percent_used_centi, 9_999);
        assert_eq!(status(0, 0, 0, MONTH, 1).percent_used_centi, 0);
        assert_eq!(status(0, 1, 0, MONTH, 1).percent_used_centi, u32::MAX);
    }

    proptest! {
        #[test]
        fn no_figures_panic(limit: i64, spent: i64, reserved: i64, start_ms: i64, end_ms: i64, now_ms: i64) {
            let status = status(limit, spent, reserved, Bounds { start_ms, end_ms }, now_ms);
            prop_assert!(status.remaining >= NanoUsd::ZERO);
            prop_assert!(spent < 0 || status.projected >= NanoUsd(spent));
        }
    }
}
