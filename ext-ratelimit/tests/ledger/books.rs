//! The books of one total budget, kept by rules of their own, for any sequence of operations.

use rateguard_ext_ratelimit::ledger::{Reserve, Reserved, Resolution, SettledAmount, Settlement};
use rateguard_model::id::RequestId;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota};
use rateguard_model::window::Window;
use std::collections::BTreeMap;

/// What the total budget must say, kept by rules of its own.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// What is held.
    pub(crate) open: BTreeMap<RequestId, i64>,
    charged: BTreeMap<RequestId, i64>,
    settled: BTreeMap<RequestId, i64>,
    /// Last report, and what was used until then.
    reported: BTreeMap<RequestId, (u32, i64)>,
}

impl Books {
    pub(crate) fn reserved(&mut self, request: &Reserve, reserved: &Reserved) {
        let known = [&self.open, &self.charged, &self.settled]
            .iter()
            .any(|book| book.contains_key(&request.id))
            || self.reported.contains_key(&request.id);
        if let (true, false, Some(amount)) = (reserved.admitted, known, total_amount(&request.quotas)) {
            self.open.insert(request.id, amount);
        }
    }

    pub(crate) fn resolved(&mut self, settlement: &Settlement, resolution: Resolution, release: bool) {
        let quota = |amount: &&SettledAmount| is_total(&amount.quota);
        let actual = settlement
            .amounts
            .iter()
            .find(quota)
            .map_or(0, |amount| amount.actual);
        let is_told_again = resolution == Resolution::Replaced && self.settled.contains_key(&settlement.id);
        if !is_told_again && matches!(resolution, Resolution::Applied | Resolution::Replaced) {
            self.open.remove(&settlement.id);
            self.charged.remove(&settlement.id);
            self.reported.remove(&settlement.id);
            let before = self
                .settled
                .insert(settlement.id, if release { 0 } else { actual });
            assert_eq!(before, None, "resolved twice");
        }
    }

    pub(crate) fn reported(&mut self, report: &Settlement, resolution: Resolution) {
        if !matches!(resolution, Resolution::Applied | Resolution::Replaced) {
            return;
        }
        let Some(amount) = report.amounts.iter().find(|amount| is_total(&amount.quota)) else {
            return;
        };
        let (last, _) = self.reported.get(&report.id).copied().unwrap_or_default();
        assert!(report.part > last, "a late report was applied");
        self.reported.insert(report.id, (report.part, amount.actual));
        let left = amount.quota.amount - amount.returned;
        if let Some(held) = self.open.get_mut(&report.id) {
            *held = left.min(*held);
        }
    }

    pub(crate) fn expired(&mut self, id: RequestId) {
        if let Some(amount) = self.open.remove(&id) {
            self.charged.insert(id, amount);
        }
    }

    /// Charged whole, whatever was reported before.
    pub(crate) fn overdue(&mut self, settlement: &Settlement, resolution: Resolution) {
        if resolution != Resolution::Applied {
            return;
        }
        self.open.remove(&settlement.id);
        self.reported.remove(&settlement.id);
        let total = settlement.amounts.iter().find(|amount| is_total(&amount.quota));
        let held = total.map_or(0, |amount| amount.actual);
        let before = self.charged.insert(settlement.id, held);
        assert_eq!(before, None, "charged twice");
    }

    pub(crate) fn spent(&self) -> i64 {
        let reported = self.reported.values().map(|(_, used)| used);
        let all = self.charged.values().chain(self.settled.values()).chain(reported);
        all.fold(0, |sum: i64, amount| sum.saturating_add(*amount))
            .min(AMOUNT_MAX)
    }
}

pub(crate) fn is_total(quota: &Quota) -> bool {
    matches!(
        quota.meter,
        Meter::FixedWindow {
            window: Window::Total
        }
    )
}

fn total_amount(quotas: &[Quota]) -> Option<i64> {
    quotas
        .iter()
        .find(|quota| is_total(quota))
        .map(|quota| quota.amount)
}
