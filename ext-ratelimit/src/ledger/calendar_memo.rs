//! Calendar windows that were found last. Finding one in a time zone takes dozens of date computations, every call of
//! a budget needs three, and for hours or days the answer is the same. Pure: it changes what a call costs, not what
//! it answers.

use rateguard_model::window::{Bounds, Window};
use std::cell::RefCell;

/// Units and zones in use at a time; beyond, the oldest is found anew.
const CAPACITY: usize = 8;

#[derive(Default)]
struct Memo {
    found: [Option<(Window, [Bounds; 3])>; CAPACITY],
    /// Which one the next takes the place of.
    oldest: usize,
}

thread_local! {
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// [`Window::around`], which is the same for every instant of one window.
pub(super) fn around(window: Window, at_ms: i64) -> [Bounds; 3] {
    MEMO.with_borrow_mut(|memo| {
        let known = memo
            .found
            .iter()
            .flatten()
            .find(|(of, [_, at, _])| *of == window && at.contains(at_ms));
        if let Some((_, around)) = known {
            return *around;
        }
        let around = window.around(at_ms);
        if let Some(place) = memo.found.get_mut(memo.oldest) {
            *place = Some((window, around));
        }
        memo.oldest = (memo.oldest + 1) % CAPACITY;
        around
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rateguard_model::window::CalendarUnit;

    const ZONES: [&str; 5] = [
        "UTC",
        "Europe/Berlin",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];

    const UNITS: [CalendarUnit; 4] = [
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Week,
        CalendarUnit::Month,
    ];

    fn window() -> impl Strategy<Value = Window> {
        (prop::sample::select(&UNITS[..]), prop::sample::select(&ZONES[..])).prop_map(|(unit, zone)| {
            let time_zone = zone.parse().expect("a time zone");
            Window::Calendar { unit, time_zone }
        })
    }

    proptest! {
        // Around 2011 Apia skipped a day; the others change their clocks twice a year. Steps of minutes to weeks: most
        // instants meet a window that is remembered, and many lie next to a boundary.
        #[test]
        fn what_is_remembered_is_what_would_be_found(
            start_ms in 1_300_000_000_000_i64..1_400_000_000_000,
            asked in prop::collection::vec((window(), -700_000_000_i64..700_000_000, any::<bool>()), 1..40),
        ) {
            for (window, offset_ms, at_boundary) in asked {
                let at_ms = start_ms + offset_ms;
                let at_ms = if at_boundary { window.bounds(at_ms).end_ms - i64::from(offset_ms % 2 == 0) } else { at_ms };
                prop_assert_eq!(around(window, at_ms), window.around(at_ms));
            }
        }

        #[test]
        fn the_ends_of_time_are_remembered_too(window in window(), late in any::<bool>(), by in 0_i64..100) {
            let at_ms = if late { i64::MAX - by } else { i64::MIN + by };
            prop_assert_eq!(around(window, at_ms), window.around(at_ms));
            prop_assert_eq!(around(window, at_ms), window.around(at_ms));
        }
    }
}
