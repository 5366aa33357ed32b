//! Leases: blocks of hot counters' quotas, reserved ahead, from which a worker admits without a call.
//!
//! A lease is an ordinary reservation of the ledger for several requests that meet exactly the same quotas. Each takes
//! its amounts from what is left of the block; what was used is reported in totals, and what nobody took goes back
//! when the lease closes. A worker never admits more than the ledger gave it. A joint reservation of requests that wait
//! at the same time ([`Desk`]) is a lease for exactly these.

mod book;
mod demand;
mod desk;
mod joint;
mod queue;

pub use book::{Counts, LeaseBook};
pub use desk::{Ask, Desk, JointCounts, Outcome, Verdict};

use crate::effect::{SettledAmount, Settlement};
use crate::event::{QuotaResult, Reserved};
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_model::quota::{Meter, Quota};
use std::rc::Rc;

/// How long a lease is drawn on: what it holds too much is missing elsewhere for no longer.
const LIFE_MS: i64 = 500;

/// How long a change of a lease waits to be reported. Whenever a batch of events is closed, it is reported with them.
const REPORT_EVERY_MS: i64 = 100;

/// A block that was asked for.
#[derive(Debug)]
struct Block {
    workspace_id: WorkspaceId,
    /// Hash of its set.
    set: u64,
    /// As the set's, with the block's amounts.
    quotas: Rc<[Quota]>,
    draw_count: u32,
    asked_ms: i64,
}

/// A block that was granted.
#[derive(Debug)]
struct Lease {
    block: Block,
    results: Vec<QuotaResult>,
    /// `None`: closed, nothing is drawn any more.
    until_ms: Option<i64>,
    draws_left: u32,
    /// Draws whose requests are still on their way.
    in_flight: u32,
    amounts: Vec<Amount>,
    /// Number of the last report.
    part: u32,
    changed: bool,
    reported_ms: i64,
}

/// Where the units of one quota are: left + returned + in flight = the block's amount.
#[derive(Debug, Clone, Copy)]
struct Amount {
    left: i64,
    returned: i64,
    used: i64,
}

impl Lease {
    fn new(block: Block, reserved: &Reserved) -> Self {
        // No window may be drawn on after its end.
        let windows = block
            .quotas
            .iter()
            .zip(&reserved.results)
            .filter(|(quota, _)| matches!(quota.meter, Meter::FixedWindow { .. }));
        let life_ms = windows.map(|(_, result)| result.reset_ms).fold(LIFE_MS, i64::min);
        let amounts = block.quotas.iter().map(|quota| Amount {
            left: quota.amount,
            returned: 0,
            used: 0,
        });
        Self {
            results: reserved.results.clone(),
            until_ms: Some(block.asked_ms.saturating_add(life_ms)),
            draws_left: block.draw_count,
            in_flight: 0,
            amounts: amounts.collect(),
            part: 0,
            changed: false,
            reported_ms: block.asked_ms,
            block,
        }
    }

    fn is_drawable(&self, now_ms: i64) -> bool {
        self.draws_left > 0 && self.until_ms.is_some_and(|until_ms| now_ms < until_ms)
    }

    /// Takes the amounts of all quotas, or none.
    fn draw(&mut self, quotas: &[Quota], now_ms: i64) -> bool {
        let suffices = self.is_drawable(now_ms)
            && self
                .amounts
                .iter()
                .zip(quotas)
                .all(|(amount, quota)| quota.amount <= amount.left);
        if suffices {
            for (amount, quota) in self.amounts.iter_mut().zip(quotas) {
                amount.left = amount.left.saturating_sub(quota.amount);
            }
            self.draws_left = self.draws_left.saturating_sub(1);
            self.in_flight = self.in_flight.saturating_add(1);
        }
        suffices
    }

    /// Makes what the ledger said of the lease true for one draw on it: what is left of it is not taken yet.
    fn count_as_free(&self, results: &mut [QuotaResult]) {
        for ((result, amount), quota) in results
            .iter_mut()
            .zip(&self.amounts)
            .zip(self.block.quotas.iter())
        {
            result.remaining = result.remaining.saturating_add(amount.left);
            if book::is_held(quota) {
                result.reserved = result.reserved.saturating_sub(amount.left).max(0);
            } else {
                result.spent = result.spent.saturating_sub(amount.left).max(0);
            }
        }
    }

    /// A draw's request is over. What never reached the upstream can be drawn again.
    fn settle(&mut self, settlement: &Settlement, released: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let back = released && self.until_ms.is_some();
        let settled = settlement.quotas.iter().zip(&settlement.amounts);
        for (amount, (quota, settled)) in self.amounts.iter_mut().zip(settled) {
            if back {
                amount.left = amount.left.saturating_add(quota.amount);
            } else {
                amount.returned = amount.returned.saturating_add(quota.amount);
                amount.used = amount
                    .used
                    .saturating_add(if released { 0 } else { settled.actual });
            }
        }
        if back {
            self.draws_left = self.draws_left.saturating_add(1);
        } else {
            self.changed = true;
        }
    }

    /// Ends the drawing; answers how many draws were left.
    fn close(&mut self) -> u32 {
        if self.until_ms.take().is_none() {
            return 0;
        }
        for amount in &mut self.amounts {
            self.changed |= amount.left != 0;
            amount.returned = amount.returned.saturating_add(amount.left);
            amount.left = 0;
        }
        std::mem::take(&mut self.draws_left)
    }

    fn is_over(&self) -> bool {
        self.until_ms.is_none() && self.in_flight == 0
    }

    /// Whether a report has waited long enough.
    fn is_report_due(&self, now_ms: i64, hurry: bool) -> bool {
        let waited = hurry || now_ms.saturating_sub(self.reported_ms) >= REPORT_EVERY_MS;
        self.is_over() || self.changed && waited
    }

    /// What is to be said of it, if there is anything new. A settlement without a number is the last word.
    fn report(&mut self, id: RequestId, now_ms: i64) -> Option<Settlement> {
        let is_last = self.is_over();
        if !(is_last || self.changed) {
            return None;
        }
        self.changed = false;
        self.reported_ms = now_ms;
        self.part = self.part.saturating_add(1);
        let amounts = self.amounts.iter().zip(&self.results);
        Some(Settlement {
            id,
            workspace_id: self.block.workspace_id,
            reserved_at_ms: self.block.asked_ms,
            quotas: Rc::clone(&self.block.quotas),
            amounts: amounts
                .map(|(amount, result)| SettledAmount {
                    window_start_ms: result.window_start_ms,
                    actual: amount.used,
                    returned: amount.returned,
                })
                .collect(),
            part: if is_last { 0 } else { self.part },
            is_block: true,
        })
    }
}
