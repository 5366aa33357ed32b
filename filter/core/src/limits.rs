//! What responses say about limits and budgets (SPEC 1.7), and which quota refused.

use crate::event::{Now, QuotaResult};
use crate::policy::Label;
use crate::reply::Refusal;
use crate::text::HeaderText;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::QuotaId;
use rateguard_model::money::{NANO_USD_MAX, NanoUsd};
use rateguard_model::quota::{Mode, Quota, QuotaKind};
use serde_json::Value;
use std::rc::Rc;

/// What a request met and what the ledger said about it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub quotas: &'a [Quota],
    pub labels: &'a [Rc<Label>],
    /// Empty when the ledger could not be asked.
    pub results: &'a [QuotaResult],
}

impl<'a> View<'a> {
    fn iter(self) -> impl Iterator<Item = (&'a Quota, &'a Rc<Label>, &'a QuotaResult)> {
        self.quotas
            .iter()
            .zip(self.labels)
            .zip(self.results)
            .map(|((quota, label), result)| (quota, label, result))
    }

    fn of_kind(self, kind: QuotaKind) -> impl Iterator<Item = (&'a Quota, &'a Rc<Label>, &'a QuotaResult)> {
        self.iter().filter(move |(quota, _, _)| quota.kind == kind)
    }

    /// The first shadow rule that would have refused.
    pub fn shadow_refusal(self) -> Option<QuotaId> {
        self.of_kind(QuotaKind::Rule)
            .find(|(quota, _, result)| quota.mode == Mode::Shadow && !result.admitted)
            .map(|(quota, _, _)| quota.id)
    }
}

/// `X-RateLimit-*`, `RateLimit-Policy` and `RateLimit`, of the rules that enforce.
pub fn rule_headers(headers: &mut HeaderText, view: View<'_>, now: Now) {
    let enforced = || {
        view.of_kind(QuotaKind::Rule)
            .filter(|(quota, _, _)| quota.mode == Mode::Enforce)
    };
    let Some((quota, label, result)) = enforced().min_by(|a, b| tighter((a.0, a.2), (b.0, b.2))) else {
        return;
    };
    let remaining = result.remaining.max(0);
    let reset_s = result.reset_ms.max(0).saturating_add(999) / 1_000;
    headers.push("x-ratelimit-limit", quota.limit);
    headers.push("x-ratelimit-remaining", remaining);
    headers.push(
        "x-ratelimit-reset",
        (now.unix_ms() / 1_000).saturating_add(reset_s),
    );
    for (index, (_, label, _)) in enforced().enumerate() {
        if index > 0 {
            headers.part(", ");
        }
        headers.part(&label.policy_item);
    }
    headers.close("ratelimit-policy");
    headers.push(
        "ratelimit",
        format_args!("{};r={remaining};t={reset_s}", label.quoted_name),
    );
}

/// `X-RateGuard-Budget-*`. `used_by_call` is what this call used, or will by our estimate.
pub fn budget_headers(headers: &mut HeaderText, view: View<'_>, used_by_call: NanoUsd) {
    let Some((quota, _, result)) = view
        .of_kind(QuotaKind::Budget)
        .min_by(|a, b| tighter((a.0, a.2), (b.0, b.2)))
    else {
        return;
    };
    let used = NanoUsd(result.spent).saturating_add(used_by_call);
    let others = result
        .reserved
        .saturating_sub(if result.admitted { quota.amount } else { 0 })
        .max(0);
    let remaining = NanoUsd(quota.limit)
        .saturating_sub(used)
        .saturating_sub(NanoUsd(others));
    headers.push("x-rateguard-budget-used", used.cents());
    headers.push("x-rateguard-budget-limit", NanoUsd(quota.limit).cents());
    headers.push(
        "x-rateguard-budget-remaining",
        remaining.max(NanoUsd::ZERO).cents(),
    );
}

/// Least remaining ÷ limit first, without dividing.
fn tighter(a: (&Quota, &QuotaResult), b: (&Quota, &QuotaResult)) -> std::cmp::Ordering {
    let left = i128::from(a.1.remaining).saturating_mul(i128::from(b.0.limit));
    let right = i128::from(b.1.remaining).saturating_mul(i128::from(a.0.limit));
    left.cmp(&right)
}

/// A refusal and whom to blame in the event.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub rule_id: Option<QuotaId>,
    pub budget_id: Option<QuotaId>,
}

/// The first rule that refuses decides, else the first budget. `None`: nothing refuses, the answer makes no sense.
pub fn refusal(view: View<'_>, now: Now) -> Option<Refused> {
    let refuses = |kind| {
        view.of_kind(kind)
            .find(|(quota, _, result)| quota.mode == Mode::Enforce && !result.admitted)
    };
    let (rule, budget) = (refuses(QuotaKind::Rule), refuses(QuotaKind::Budget));
    let mut refused = match (rule, budget) {
        (Some((quota, label, result)), _) => {
            let mut refusal = Refusal::new(ErrorCode::RateLimited);
            let wait_ms = result.retry_after_ms.unwrap_or(result.reset_ms).max(1);
            refusal.retry_after_s = Some(wait_ms.unsigned_abs().div_ceil(1_000));
            refusal.detail("rule", label.name.as_str());
            refusal.detail("limit", quota.limit);
            refusal.detail("remaining", result.remaining.max(0));
            refusal.detail(
                "resetsAt",
                timestamp(now.unix_ms().saturating_add(result.reset_ms.max(0))),
            );
            refusal.detail("retryAfterMs", result.retry_after_ms);
            Refused {
                refusal,
                rule_id: Some(quota.id),
                budget_id: None,
            }
        }
        (None, Some(_)) => Refused {
            refusal: Refusal::new(ErrorCode::BudgetExceeded),
            rule_id: None,
            budget_id: None,
        },
        (None, None) => return None,
    };
    if let Some((quota, label, result)) = budget {
        refused.budget_id = Some(quota.id);
        budget_details(&mut refused, quota, label, result, now);
    }
    Some(refused)
}

/// A budget refused because the worker's share is used up and the ledger cannot be asked.
pub fn exhausted(quota: &Quota, label: &Label) -> Refused {
    let mut refusal = Refusal::new(ErrorCode::BudgetExceeded);
    refusal.detail("budget", label.name.as_str());
    refusal.detail("limit", cents(quota.limit));
    refusal.detail("degraded", true);
    Refused {
        refusal,
        rule_id: None,
        budget_id: Some(quota.id),
    }
}

fn budget_details(refused: &mut Refused, quota: &Quota, label: &Label, result: &QuotaResult, now: Now) {
    let refusal = &mut refused.refusal;
    let figures = [
        ("used", cents(result.spent)),
        ("reserved", cents(result.reserved)),
        ("limit", cents(quota.limit)),
        ("resetsAt", resets_at(label, now)),
    ];
    refusal.detail("budget", label.name.as_str());
    for (name, figure) in figures {
        // Beside a rule's own details the budget's get a name of their own.
        let name = match (refusal.code, name) {
            (ErrorCode::RateLimited, "used") => "budgetUsed",
            (ErrorCode::RateLimited, "reserved") => "budgetReserved",
            (ErrorCode::RateLimited, "limit") => "budgetLimit",
            (ErrorCode::RateLimited, _) => "budgetResetsAt",
            (_, name) => name,
        };
        refusal.detail(name, figure);
    }
}

fn resets_at(label: &Label, now: Now) -> Value {
    match label.window.map(|window| window.bounds(now.unix_ms()).end_ms) {
        Some(end_ms) if end_ms != i64::MAX => timestamp(end_ms).into(),
        Some(_) | None => Value::Null,
    }
}

/// Cents as a JSON number.
fn cents(nanos: i64) -> Value {
    let amount = NanoUsd(nanos.clamp(-NANO_USD_MAX, NANO_USD_MAX));
    serde_json::from_str(&amount.cents().to_string()).unwrap_or(Value::Null)
}

/// RFC 3339 in UTC, to the second. Days are turned into dates as in Howard Hinnant's `civil_from_days`.
pub fn timestamp(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_827_696_000), "2000-02-29T12:34:56Z");
        assert_eq!(timestamp(1_796_083_199_999), "2026-11-30T23:59:59Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn cents_are_numbers() {
        assert_eq!(cents(15_000).to_string(), "0.0015");
        assert_eq!(cents(100_000_000_000).to_string(), "10000");
    }
}
