//! What the ledger answered → messages.

use crate::degraded::Admission;
use crate::ledger::{BucketStatus, QuotaResult, Resolution};
use rateguard_model::budget::Budget;
use rateguard_model::window::Window;
use rateguard_wire::convert::subject_named;
use rateguard_wire::v1;

pub(super) fn admission(admission: Admission, live_workers: u32) -> v1::ReserveResponse {
    let Admission { reserved, degraded } = admission;
    let outcome = if reserved.admitted {
        v1::Outcome::Admitted
    } else {
        v1::Outcome::Rejected
    };
    v1::ReserveResponse {
        outcome: outcome.into(),
        degraded,
        now_ms: reserved.now_ms,
        results: reserved.results.into_iter().map(quota_result).collect(),
        live_workers,
    }
}

fn quota_result(result: QuotaResult) -> v1::QuotaResult {
    let QuotaResult {
        admitted,
        remaining,
        reset_ms,
        retry_after_ms,
        spent,
        reserved,
        window_start_ms,
    } = result;
    v1::QuotaResult {
        admitted,
        remaining,
        reset_ms,
        // The ledger's `None` of a refused quota: the amount can never be admitted.
        retry_after_ms: retry_after_ms.unwrap_or(if admitted { 0 } else { -1 }),
        spent,
        reserved,
        window_start_ms,
    }
}

pub(super) fn resolutions(resolutions: &[Resolution]) -> Vec<i32> {
    let status = |resolution: &Resolution| match resolution {
        Resolution::Applied => v1::ResolutionStatus::Applied,
        Resolution::Duplicate => v1::ResolutionStatus::Duplicate,
        Resolution::Replaced => v1::ResolutionStatus::Replaced,
        Resolution::Invalid => v1::ResolutionStatus::Invalid,
        Resolution::Unknown => v1::ResolutionStatus::Unknown,
    };
    resolutions
        .iter()
        .map(|resolution| status(resolution).into())
        .collect()
}

pub(super) fn budget_state(budget: &Budget, status: &BucketStatus) -> v1::BudgetState {
    let has_end = !matches!(budget.window, Window::Total);
    let (subject_kind, subject) = subject_named(&budget.subject);
    v1::BudgetState {
        budget_id: budget.id.as_bytes().to_vec(),
        limit: budget.limit.0,
        spent: status.spent,
        reserved: status.reserved,
        window_start_ms: status.window.start_ms,
        window_end_ms: if has_end { status.window.end_ms } else { 0 },
        subject_kind: subject_kind.into(),
        subject,
    }
}
