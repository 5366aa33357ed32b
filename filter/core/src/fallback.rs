//! What happens while the limit service cannot be asked (SPEC 1.9). The one place that applies failure modes.

use crate::effect::Effect;
use rateguard_model::id::QuotaId;
use rateguard_model::quota::{FailureMode, Mode, Quota};
use std::collections::BTreeMap;

/// Buckets remembered at most. Beyond, a new one counts as never seen.
const SHARES_MAX: usize = 10_000;

/// What one worker may still admit by itself, per bucket with failure mode BOUNDED_OPEN.
#[derive(Debug, Default)]
pub struct Shares {
    buckets: BTreeMap<(QuotaId, u32, String), Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    /// What was left when the ledger was last heard, divided by the workers then alive.
    amount: i64,
    /// Drawn since.
    drawn: i64,
}

impl Shares {
    /// The ledger spoke: whatever was drawn before is settled or on its way to be.
    pub fn saw(&mut self, quota: &Quota, remaining: i64, live_workers: u32) {
        let share = Share {
            amount: remaining.max(0) / i64::from(live_workers.max(1)),
            drawn: 0,
        };
        let key = key(quota);
        if self.buckets.len() < SHARES_MAX || self.buckets.contains_key(&key) {
            self.buckets.insert(key, share);
        }
    }

    pub fn drew(&mut self, quota: &Quota) {
        let key = key(quota);
        if self.buckets.len() >= SHARES_MAX && !self.buckets.contains_key(&key) {
            return;
        }
        let share = self
            .buckets
            .entry(key)
            .or_insert_with(|| Share::never_seen(quota));
        share.drawn = share.drawn.saturating_add(quota.amount);
    }

    fn left(&self, quota: &Quota) -> i64 {
        let share = self
            .buckets
            .get(&key(quota))
            .copied()
            .unwrap_or_else(|| Share::never_seen(quota));
        share.amount.saturating_sub(share.drawn)
    }
}

impl Share {
    /// A thousandth of the limit.
    fn never_seen(quota: &Quota) -> Self {
        Self {
            amount: quota.limit / 1_000,
            drawn: 0,
        }
    }
}

fn key(quota: &Quota) -> (QuotaId, u32, String) {
    (quota.id, quota.version, quota.partition.clone())
}

/// What the failure modes of a request's quotas add up to.
#[derive(Debug, PartialEq)]
pub enum Fallback {
    /// Admitted; the effects note what it drew on.
    Admit(Vec<Effect>),
    /// A quota is FAIL_CLOSED.
    Closed,
    /// This budget's share is used up: its place among the quotas.
    Exhausted(usize),
}

/// Decides without the ledger. Shadow quotas never refuse.
pub fn decide(quotas: &[Quota], shares: &Shares) -> Fallback {
    let mut drawn = Vec::new();
    let mut exhausted = None;
    for (index, quota) in quotas
        .iter()
        .enumerate()
        .filter(|(_, quota)| quota.mode == Mode::Enforce)
    {
        match quota.failure_mode {
            FailureMode::FailOpen => {}
            FailureMode::FailClosed => return Fallback::Closed,
            FailureMode::BoundedOpen => {
                if quota.amount > shares.left(quota) {
                    exhausted = exhausted.or(Some(index));
                } else {
                    drawn.push(Effect::DrewShare {
                        quota: Box::new(quota.clone()),
                    });
                }
            }
        }
    }
    exhausted.map_or(Fallback::Admit(drawn), Fallback::Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_model::quota::{Meter, QuotaKind, Unit};
    use rateguard_model::window::Window;

    fn budget(limit: i64, amount: i64, failure_mode: FailureMode) -> Quota {
        Quota {
            id: QuotaId::from_bytes([7; 16]),
            version: 1,
            kind: QuotaKind::Budget,
            unit: Unit::NanoUsd,
            limit,
            meter: Meter::FixedWindow {
                window: Window::Total,
            },
            mode: Mode::Enforce,
            failure_mode,
            partition: "w".to_owned(),
            amount,
        }
    }

    #[test]
    fn dp_16_open_admits_and_closed_refuses() {
        let shares = Shares::default();
        assert_eq!(
            decide(&[budget(10, 10, FailureMode::FailOpen)], &shares),
            Fallback::Admit(vec![])
        );
        assert_eq!(
            decide(&[budget(10, 10, FailureMode::FailClosed)], &shares),
            Fallback::Closed
        );
        let mut shadow = budget(10, 10, FailureMode::FailClosed);
        shadow.mode = Mode::Shadow;
        assert_eq!(decide(&[shadow], &shares), Fallback::Admit(vec![]));
    }

    #[test]
    fn rl_08_bounded_open_admits_its_share_and_no_more() {
        let mut shares = Shares::default();
        let quota = budget(1_000_000, 30, FailureMode::BoundedOpen);
        shares.saw(&quota, 200, 2);
        for _ in 0..3 {
            assert!(
                matches!(decide(std::slice::from_ref(&quota), &shares), Fallback::Admit(drawn) if drawn.len() == 1)
            );
            shares.drew(&quota);
        }
        assert_eq!(
            decide(std::slice::from_ref(&quota), &shares),
            Fallback::Exhausted(0)
        );
        shares.saw(&quota, 60, 1);
        assert!(matches!(
            decide(std::slice::from_ref(&quota), &shares),
            Fallback::Admit(_)
        ));
    }

    #[test]
    fn a_budget_never_seen_admits_a_thousandth_of_its_limit() {
        let shares = Shares::default();
        assert!(matches!(
            decide(&[budget(100_000, 100, FailureMode::BoundedOpen)], &shares),
            Fallback::Admit(_)
        ));
        assert_eq!(
            decide(&[budget(100_000, 101, FailureMode::BoundedOpen)], &shares),
            Fallback::Exhausted(0)
        );
    }

    #[test]
    fn an_overspent_budget_has_no_share() {
        let mut shares = Shares::default();
        let quota = budget(1_000, 1, FailureMode::BoundedOpen);
        shares.saw(&quota, -50, 3);
        assert_eq!(decide(&[quota], &shares), Fallback::Exhausted(0));
    }
}
