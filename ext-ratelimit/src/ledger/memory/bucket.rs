//! What the memory ledger keeps per bucket, in plain integers: the definition that the Lua scripts are compared with.

use crate::ledger::check::{self, WAIT_MS_MAX};
use crate::ledger::{QuotaResult, SettledAmount, Settlement};
use rateguard_model::id::RequestId;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota};
use rateguard_model::window::Window;
use std::collections::BTreeMap;

/// Millionths: one thousandth of a unit per second is one millionth per millisecond.
const MICRO: i128 = 1_000_000;

#[derive(Debug, Clone)]
pub(super) enum Bucket {
    Token(TokenBucket),
    Log(WindowLog),
    Fixed(FixedWindow),
}

impl Bucket {
    pub(super) fn new(quota: &Quota, now_ms: i64) -> Self {
        match quota.meter {
            Meter::TokenBucket { refill_milli_per_s } => Self::Token(TokenBucket {
                level: quota.limit,
                frac: 0,
                at_ms: now_ms,
                limit: quota.limit,
                rate: i128::from(refill_milli_per_s),
            }),
            Meter::SlidingWindow { window_ms } => Self::Log(WindowLog {
                entries: BTreeMap::new(),
                window_ms: window_ms as i64,
            }),
            Meter::FixedWindow { window } => {
                let start_ms = check::bounds(window, now_ms).start_ms;
                let latest = Counts {
                    start_ms,
                    spent: 0,
                    reserved: 0,
                };
                Self::Fixed(FixedWindow {
                    window,
                    latest,
                    before: None,
                })
            }
        }
    }

    /// Lets time pass: refills, forgets, rolls over.
    pub(super) fn advance(&mut self, now_ms: i64) {
        match self {
            Self::Token(bucket) => bucket.refill(now_ms),
            Self::Log(log) => log.forget(now_ms),
            Self::Fixed(fixed) => fixed.roll(check::bounds(fixed.window, now_ms).start_ms),
        }
    }

    /// Whether `quota.amount` can be taken.
    pub(super) fn fits(&mut self, quota: &Quota, now_ms: i64) -> bool {
        let taken = match self {
            Self::Token(bucket) => return quota.amount <= bucket.level,
            Self::Log(log) => log.total(),
            Self::Fixed(fixed) => fixed.in_force(now_ms).total(),
        };
        taken.saturating_add(quota.amount) <= quota.limit
    }

    pub(super) fn take(&mut self, quota: &Quota, id: RequestId, now_ms: i64) {
        match self {
            Self::Token(bucket) => bucket.take(quota.amount),
            Self::Log(log) => log.push(now_ms, id, quota.amount),
            Self::Fixed(fixed) => fixed.in_force(now_ms).add(quota.amount, check::is_held(quota)),
        }
    }

    /// The state as it is, and how long until `quota.amount` could be taken.
    pub(super) fn tell(&mut self, quota: &Quota, now_ms: i64) -> QuotaResult {
        let never = quota.amount > quota.limit;
        match self {
            Self::Token(bucket) => {
                let spent = (quota.limit - bucket.level).min(AMOUNT_MAX);
                QuotaResult {
                    admitted: false,
                    remaining: quota.limit - spent,
                    reset_ms: bucket.wait_ms(quota.limit - bucket.level),
                    retry_after_ms: (!never).then(|| bucket.wait_ms(quota.amount - bucket.level)),
                    spent,
                    reserved: 0,
                    window_start_ms: 0,
                }
            }
            Self::Log(log) => {
                let spent = log.total();
                let excess = spent.saturating_add(quota.amount).saturating_sub(quota.limit);
                QuotaResult {
                    admitted: false,
                    remaining: quota.limit - spent,
                    reset_ms: log.reset_ms(now_ms),
                    retry_after_ms: (!never).then(|| log.wait_ms(excess, now_ms)),
                    spent,
                    reserved: 0,
                    window_start_ms: now_ms,
                }
            }
            Self::Fixed(fixed) => {
                let window = fixed.window;
                let counts = *fixed.in_force(now_ms);
                let reset_ms = check::reset_ms(window, counts.start_ms, now_ms);
                QuotaResult {
                    admitted: false,
                    remaining: quota.limit - counts.total(),
                    reset_ms,
                    retry_after_ms: (!never && window != Window::Total).then_some(reset_ms),
                    spent: counts.spent,
                    reserved: counts.reserved,
                    window_start_ms: counts.start_ms,
                }
            }
        }
    }

    /// Replaces what was taken by what was used.
    pub(super) fn settle(
        &mut self,
        settlement: &Settlement,
        amount: &SettledAmount,
        change: Change,
        now_ms: i64,
    ) {
        let Change { taken, open, used } = change;
        match self {
            Self::Token(bucket) => bucket.take(used.saturating_sub(taken)),
            Self::Log(log) => {
                let at_ms = check::entry_ms(amount.window_start_ms, settlement.reserved_at_ms);
                log.replace(at_ms, settlement.id, used, now_ms);
            }
            Self::Fixed(fixed) => {
                let window =
                    check::charged_window(fixed.window, amount.window_start_ms, settlement.reserved_at_ms);
                fixed.settle(
                    window.start_ms,
                    taken,
                    open && check::is_held(&amount.quota),
                    used,
                );
            }
        }
    }

    /// Moves what an open reservation holds to what is spent.
    pub(super) fn expire(&mut self, quota: &Quota, window_start_ms: i64) {
        if let Self::Fixed(fixed) = self {
            fixed.settle(window_start_ms, quota.amount, true, quota.amount);
        }
    }

    /// Raises what a window has spent; answers by how much.
    pub(super) fn raise(&mut self, window_start_ms: i64, spent: i64) -> i64 {
        match self {
            Self::Fixed(fixed) => fixed.window_at(window_start_ms).map_or(0, |counts| {
                let more = spent.saturating_sub(counts.spent).max(0);
                counts.spent += more;
                more
            }),
            Self::Token(_) | Self::Log(_) => 0,
        }
    }

    /// Whether dropping the bucket would change nothing.
    pub(super) fn is_idle(&self, now_ms: i64) -> bool {
        match self {
            Self::Token(bucket) => bucket.level == bucket.limit,
            Self::Log(log) => log.entries.is_empty(),
            Self::Fixed(fixed) => {
                now_ms.saturating_sub(check::MEMORY_MS)
                    >= check::bounds(fixed.window, fixed.latest.start_ms).end_ms
            }
        }
    }

    /// Entries beyond a fixed size.
    pub(super) fn entry_count(&self) -> usize {
        match self {
            Self::Log(log) => log.entries.len(),
            Self::Token(_) | Self::Fixed(_) => 0,
        }
    }
}

/// What a settlement does to a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// What goes back of what the reservation took; 0 if it was never seen.
    pub(super) taken: i64,
    /// Whether it was open until now.
    pub(super) open: bool,
    /// Below zero when it corrects a report.
    pub(super) used: i64,
}

/// Level in whole units and millionths; below zero after settlements, never above `limit`.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    level: i64,
    frac: i128,
    at_ms: i64,
    limit: i64,
    rate: i128,
}

impl TokenBucket {
    fn refill(&mut self, now_ms: i64) {
        let elapsed = i128::from(now_ms.saturating_sub(self.at_ms).max(0));
        self.at_ms = now_ms;
        let micro = elapsed * self.rate + self.frac;
        self.frac = micro % MICRO;
        let whole = (micro / MICRO).min(i128::from(AMOUNT_MAX)) as i64;
        self.level = self.level.saturating_add(whole);
        self.cap();
    }

    fn take(&mut self, amount: i64) {
        self.level = self.level.saturating_sub(amount).max(-AMOUNT_MAX);
        self.cap();
    }

    fn cap(&mut self) {
        if self.level >= self.limit {
            (self.level, self.frac) = (self.limit, 0);
        }
    }

    /// Milliseconds until `units` more have been refilled.
    fn wait_ms(&self, units: i64) -> i64 {
        if units <= 0 {
            return 0;
        }
        let micro = i128::from(units.min(AMOUNT_MAX)) * MICRO - self.frac;
        let ms = (micro + self.rate - 1) / self.rate;
        ms.min(i128::from(WAIT_MS_MAX)) as i64
    }
}

/// Every amount of the last `window_ms`, at its time and by its reservation. An amount of time t counts until
/// t + window, exclusive.
#[derive(Debug, Clone)]
pub(super) struct WindowLog {
    entries: BTreeMap<(i64, RequestId), i64>,
    window_ms: i64,
}

impl WindowLog {
    fn forget(&mut self, now_ms: i64) {
        while let Some(entry) = self.entries.first_entry() {
            if entry.key().0 > now_ms.saturating_sub(self.window_ms) {
                break;
            }
            entry.remove();
        }
    }

    fn total(&self) -> i64 {
        self.entries
            .values()
            .fold(0, |sum: i64, amount| sum.saturating_add(*amount))
            .min(AMOUNT_MAX)
    }

    fn push(&mut self, at_ms: i64, id: RequestId, amount: i64) {
        if amount > 0 {
            self.entries.insert((at_ms, id), amount);
        }
    }

    /// Replaces what `id` took at `at_ms`, unless that has left the window.
    fn replace(&mut self, at_ms: i64, id: RequestId, amount: i64, now_ms: i64) {
        let at_ms = at_ms.min(now_ms);
        if at_ms > now_ms.saturating_sub(self.window_ms) {
            self.entries.remove(&(at_ms, id));
            self.push(at_ms, id, amount);
        }
    }

    /// Milliseconds until nothing is left in the window.
    fn reset_ms(&self, now_ms: i64) -> i64 {
        self.entries
            .last_key_value()
            .map_or(0, |((at, _), _)| at + self.window_ms - now_ms)
    }

    /// Milliseconds until at least `units` have left the window.
    fn wait_ms(&self, units: i64, now_ms: i64) -> i64 {
        let mut left = units;
        for ((at, _), amount) in &self.entries {
            left = left.saturating_sub(*amount);
            if left <= 0 {
                return at + self.window_ms - now_ms;
            }
        }
        0
    }
}

/// Spent and reserved of the latest window that was touched, and of the one before it.
#[derive(Debug, Clone)]
pub(super) struct FixedWindow {
    window: Window,
    latest: Counts,
    before: Option<Counts>,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    start_ms: i64,
    spent: i64,
    reserved: i64,
}

impl Counts {
    fn total(&self) -> i64 {
        self.spent.saturating_add(self.reserved)
    }

    fn add(&mut self, amount: i64, held: bool) {
        let count = if held { &mut self.reserved } else { &mut self.spent };
        *count = count.saturating_add(amount).clamp(0, AMOUNT_MAX);
    }

    fn give_back(&mut self, amount: i64, held: bool) {
        let count = if held { &mut self.reserved } else { &mut self.spent };
        *count = count.saturating_sub(amount).max(0);
    }
}

impl FixedWindow {
    fn roll(&mut self, start_ms: i64) {
        if start_ms > self.latest.start_ms {
            self.before = Some(self.latest);
            self.latest = Counts {
                start_ms,
                spent: 0,
                reserved: 0,
            };
        }
    }

    /// The window in force: the latest, unless the clock went back into the one before.
    fn in_force(&mut self, now_ms: i64) -> &mut Counts {
        let start_ms = check::bounds(self.window, now_ms).start_ms;
        match &mut self.before {
            Some(before) if before.start_ms == start_ms => before,
            _ => &mut self.latest,
        }
    }

    /// Gives back what was taken and charges what was used, in the window that starts at `start_ms`. A window older
    /// than the two that are kept is not read by anybody.
    fn settle(&mut self, start_ms: i64, taken: i64, held: bool, used: i64) {
        let Some(counts) = self.window_at(start_ms) else {
            return;
        };
        counts.give_back(taken, held);
        counts.add(used, false);
    }

    /// The window that starts at `start_ms`, made if need be; `None` if it is older than the two that are kept.
    fn window_at(&mut self, start_ms: i64) -> Option<&mut Counts> {
        self.roll(start_ms);
        let older = self.before.is_none_or(|before| before.start_ms < start_ms);
        if start_ms < self.latest.start_ms && older {
            self.before = Some(Counts {
                start_ms,
                spent: 0,
                reserved: 0,
            });
        }
        match &mut self.before {
            Some(before) if before.start_ms == start_ms => Some(before),
            _ if self.latest.start_ms == start_ms => Some(&mut self.latest),
            _ => None,
        }
    }
}
