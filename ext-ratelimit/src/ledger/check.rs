//! What every store refuses, and which window a settlement belongs to. Pure.

use super::{
    BucketStatus, LedgerError, Manner, QuotaResult, Reserve, SettledAmount, Settlement, Spent, calendar_memo,
};
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, QUOTAS_MAX, Quota, QuotaKind, Unit, is_partition};
use rateguard_model::window::{Bounds, Window};

/// Longest life of a reservation that is not renewed, in ms.
pub const TTL_MS_MAX: u32 = 3_600_000;

/// How long an id is remembered after it was resolved, in ms (SPEC 1.4).
pub const MEMORY_MS: i64 = 30 * 60 * 1000;

/// Longest wait that is told, in ms: about 278 years. Also what "never" is cut to where a number is due.
pub const WAIT_MS_MAX: i64 = 1 << 43;

/// Longest window in ms. A year has 3.2 · 10^10.
const WINDOW_MS_MAX: u64 = 1 << 40;

/// Last instant that a double counts exactly: the end of windows that never end.
pub(super) const END_OF_TIME_MS: i64 = AMOUNT_MAX;

pub(super) fn reserve(request: &Reserve) -> Result<(), LedgerError> {
    if request.ttl_ms == 0 || request.ttl_ms > TTL_MS_MAX {
        return Err(LedgerError::Invalid("ttl_ms"));
    }
    if request.quotas.len() > QUOTAS_MAX {
        return Err(LedgerError::Invalid("too many quotas"));
    }
    for (i, quota) in request.quotas.iter().enumerate() {
        self::quota(quota)?;
        // Two quotas on one bucket would overwrite each other.
        if request
            .quotas
            .iter()
            .take(i)
            .any(|other| same_bucket(other, quota))
        {
            return Err(LedgerError::Invalid("two quotas of one bucket"));
        }
    }
    Ok(())
}

pub(super) fn quota(quota: &Quota) -> Result<(), LedgerError> {
    if !is_partition(&quota.partition) {
        return Err(LedgerError::Invalid("partition"));
    }
    if !(0..=AMOUNT_MAX).contains(&quota.amount) {
        return Err(LedgerError::Invalid("amount"));
    }
    if !(0..=AMOUNT_MAX).contains(&quota.limit) {
        return Err(LedgerError::Invalid("limit"));
    }
    let fits = match quota.meter {
        Meter::TokenBucket { refill_milli_per_s } => (1..=AMOUNT_MAX as u64).contains(&refill_milli_per_s),
        Meter::SlidingWindow { window_ms }
        | Meter::FixedWindow {
            window: Window::Rolling { ms: window_ms },
        } => (1..=WINDOW_MS_MAX).contains(&window_ms),
        Meter::FixedWindow {
            window: Window::Calendar { .. } | Window::Total,
        } => true,
    };
    if fits {
        Ok(())
    } else {
        Err(LedgerError::Invalid("meter"))
    }
}

pub(super) fn spent(spent: &Spent) -> Result<(), LedgerError> {
    let Spent {
        quota,
        window_start_ms,
        spent,
    } = spent;
    self::quota(quota)?;
    if !matches!(quota.meter, Meter::FixedWindow { .. }) {
        return Err(LedgerError::Invalid("meter"));
    }
    let is_sound = (0..=AMOUNT_MAX).contains(spent) && (0..=AMOUNT_MAX).contains(window_start_ms);
    if is_sound {
        Ok(())
    } else {
        Err(LedgerError::Invalid("spent"))
    }
}

/// Whether a settlement can be applied at all.
pub(super) fn settlement(settlement: &Settlement, manner: Manner, now_ms: i64) -> bool {
    settlement.amounts.len() <= QUOTAS_MAX
        && (0..=AMOUNT_MAX).contains(&settlement.reserved_at_ms)
        && (settlement.part == 0 || manner == Manner::Settle && settlement.amounts.iter().all(is_reportable))
        && settlement.amounts.iter().enumerate().all(|(i, amount)| {
            quota(&amount.quota).is_ok()
                && (manner == Manner::Release || (0..=AMOUNT_MAX).contains(&amount.actual))
                && (0..=AMOUNT_MAX).contains(&amount.window_start_ms)
                && !settlement
                    .amounts
                    .iter()
                    .take(i)
                    .any(|other| same_bucket(&other.quota, &amount.quota))
                && is_not_ahead(
                    &amount.quota.meter,
                    amount.window_start_ms,
                    settlement.reserved_at_ms,
                    now_ms,
                )
        })
}

/// A log's entry is replaced as a whole, and a reservation of nothing but one never stays open for long.
fn is_reportable(amount: &SettledAmount) -> bool {
    !matches!(amount.quota.meter, Meter::SlidingWindow { .. })
        && (0..=amount.quota.amount).contains(&amount.returned)
}

/// A window further ahead than the next one would hide the current one.
fn is_not_ahead(meter: &Meter, window_start_ms: i64, reserved_at_ms: i64, now_ms: i64) -> bool {
    match meter {
        Meter::FixedWindow { window } => {
            let charged = charged_window(*window, window_start_ms, reserved_at_ms);
            charged.start_ms < around(*window, now_ms)[2].end_ms
        }
        Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => true,
    }
}

fn same_bucket(a: &Quota, b: &Quota) -> bool {
    a.id == b.id && a.version == b.version && a.partition == b.partition
}

/// Whether the amount is held until settled. Everything else is counted at once.
pub(super) fn is_held(quota: &Quota) -> bool {
    quota.unit != Unit::Requests && matches!(quota.meter, Meter::FixedWindow { .. })
}

/// Whether a reservation with this quota stays open until somebody settles it.
pub(super) fn needs_settling(quota: &Quota) -> bool {
    quota.unit != Unit::Requests
}

/// How a quota takes part in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Enforce,
    /// A shadow rule counts what it would have admitted, or it would refuse ever more.
    ShadowWhenItFits,
    /// A budget that only alerts counts everything.
    ShadowAlways,
}

pub(super) fn part(quota: &Quota) -> Part {
    match (quota.mode, quota.kind) {
        (Mode::Enforce, _) => Part::Enforce,
        (Mode::Shadow, QuotaKind::Rule) => Part::ShadowWhenItFits,
        (Mode::Shadow, QuotaKind::Budget) => Part::ShadowAlways,
    }
}

/// The window at an instant, within what a double counts.
pub(super) fn bounds(window: Window, at_ms: i64) -> Bounds {
    match window {
        Window::Total => Bounds {
            start_ms: 0,
            end_ms: END_OF_TIME_MS,
        },
        Window::Rolling { .. } => window.bounds(at_ms),
        Window::Calendar { .. } => {
            let [_, at, _] = calendar_memo::around(window, at_ms);
            at
        }
    }
}

/// The windows before, at and after an instant, within what a double counts.
pub(super) fn around(window: Window, at_ms: i64) -> [Bounds; 3] {
    match window {
        Window::Total => {
            let none = |at| Bounds {
                start_ms: at,
                end_ms: at,
            };
            [none(0), bounds(window, at_ms), none(END_OF_TIME_MS)]
        }
        Window::Rolling { .. } => window.around(at_ms),
        Window::Calendar { .. } => calendar_memo::around(window, at_ms),
    }
}

/// The window that a settlement belongs to: the one it names, else the one it was reserved in.
pub(super) fn charged_window(window: Window, window_start_ms: i64, reserved_at_ms: i64) -> Bounds {
    bounds(
        window,
        if window_start_ms > 0 {
            window_start_ms
        } else {
            reserved_at_ms
        },
    )
}

/// The time of a sliding window's entry that a settlement replaces.
pub(super) fn entry_ms(window_start_ms: i64, reserved_at_ms: i64) -> i64 {
    if window_start_ms > 0 {
        window_start_ms
    } else {
        reserved_at_ms
    }
}

/// Milliseconds until the window that starts at `start_ms` is over; [`WAIT_MS_MAX`] if it never is.
pub(super) fn reset_ms(window: Window, start_ms: i64, now_ms: i64) -> i64 {
    bounds(window, start_ms)
        .end_ms
        .saturating_sub(now_ms)
        .clamp(0, WAIT_MS_MAX)
}

/// A bucket's status from what it tells of itself. A token bucket's window ends when it is full.
pub(super) fn status(quota: &Quota, told: &QuotaResult, now_ms: i64) -> BucketStatus {
    let window = match quota.meter {
        Meter::FixedWindow {
            window: Window::Total,
        } => Bounds {
            start_ms: 0,
            end_ms: i64::MAX,
        },
        Meter::FixedWindow { window } => bounds(window, told.window_start_ms),
        Meter::SlidingWindow { window_ms } => Bounds {
            start_ms: now_ms - window_ms as i64,
            end_ms: now_ms,
        },
        Meter::TokenBucket { .. } => Bounds {
            start_ms: now_ms,
            end_ms: now_ms + told.reset_ms,
        },
    };
    BucketStatus {
        spent: told.spent,
        reserved: told.reserved,
        window,
    }
}
