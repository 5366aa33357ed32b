//! How much a set of quotas is asked for, and how large a block it may have.

use super::book::only_alerts;
use crate::event::Reserved;
use rateguard_model::quota::{AMOUNT_MAX, Quota};

/// Length of the windows in which requests are counted.
pub(super) const WINDOW_MS: i64 = 100;

/// Requests in one window that make a set hot.
const HOT_COUNT: u32 = 8;

/// Draws of one block at most.
const DRAWS_MAX: u32 = 1_024;

/// A block is for this many windows.
const WINDOWS_AHEAD: u32 = 2;

/// A block takes at most one part in this many of what is left for each worker.
const SHARES: i64 = 16;

/// No blocks if this many windows as busy, on all workers, would use up what is left: nearer to the limit each request
/// asks, so that what one worker holds too much is back before another is refused for it.
const WINDOWS_TO_LIMIT: i64 = 20;

/// Requests of one set, and what they wanted to hold, in the current window and the one before.
#[derive(Debug)]
pub(super) struct Demand {
    start_ms: i64,
    now: Sums,
    before: Sums,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    count: u32,
    /// Per quota.
    amounts: Vec<i64>,
}

/// What to reserve ahead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) draw_count: u32,
    pub(super) amounts: Vec<i64>,
}

impl Demand {
    pub(super) fn new(now_ms: i64) -> Self {
        Self {
            start_ms: now_ms,
            now: Sums::default(),
            before: Sums::default(),
        }
    }

    pub(super) fn note(&mut self, quotas: &[Quota], now_ms: i64) {
        self.roll(now_ms);
        let sums = &mut self.now;
        sums.count = sums.count.saturating_add(1);
        sums.amounts.resize(quotas.len(), 0);
        for (sum, quota) in sums.amounts.iter_mut().zip(quotas) {
            *sum = sum.saturating_add(quota.amount);
        }
    }

    fn roll(&mut self, now_ms: i64) {
        let elapsed = now_ms.saturating_sub(self.start_ms);
        if (0..WINDOW_MS).contains(&elapsed) {
            return;
        }
        let is_next = (0..2 * WINDOW_MS).contains(&elapsed);
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        if !is_next {
            self.before.clear();
        }
        self.start_ms = now_ms;
    }

    /// Whether there were enough requests lately for a block.
    pub(super) fn is_hot(&mut self, now_ms: i64) -> bool {
        self.roll(now_ms);
        self.busier().count >= HOT_COUNT
    }

    fn busier(&self) -> &Sums {
        if self.now.count >= self.before.count {
            &self.now
        } else {
            &self.before
        }
    }

    /// The block to ask for while `draws_left` are at hand. `None`: none is wanted, or none is to be had.
    pub(super) fn size(
        &mut self,
        quotas: &[Quota],
        seen: &Reserved,
        draws_left: u32,
        now_ms: i64,
    ) -> Option<Size> {
        if !self.is_hot(now_ms) {
            return None;
        }
        let Sums { count, amounts } = self.busier();
        if draws_left >= *count {
            return None;
        }
        let workers = i64::from(seen.live_workers.max(1));
        let mut draw_count = i64::from(count.saturating_mul(WINDOWS_AHEAD).min(DRAWS_MAX));
        for ((quota, result), sum) in quotas.iter().zip(&seen.results).zip(amounts) {
            if only_alerts(quota) {
                continue;
            }
            let to_limit = sum.saturating_mul(WINDOWS_TO_LIMIT).saturating_mul(workers);
            if result.remaining < to_limit.max(1) {
                return None;
            }
            if *sum > 0 {
                let share = i128::from(result.remaining / workers / SHARES);
                let draws = share.saturating_mul(i128::from(*count)) / i128::from(*sum);
                draw_count = draw_count.min(i64::try_from(draws).unwrap_or(i64::MAX));
            }
        }
        if draw_count < 2 {
            return None;
        }
        let block = |sum: &i64| {
            let whole = i128::from(*sum).saturating_mul(i128::from(draw_count));
            let amount = whole.saturating_add(i128::from(*count) - 1) / i128::from(*count);
            i64::try_from(amount).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX)
        };
        Some(Size {
            draw_count: u32::try_from(draw_count).unwrap_or(DRAWS_MAX),
            amounts: amounts.iter().map(block).collect(),
        })
    }
}

impl Sums {
    fn clear(&mut self) {
        self.count = 0;
        self.amounts.clear();
    }
}
