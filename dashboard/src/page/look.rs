//! What the pages that watch look at: a range of time, followed while the page is seen unless somebody pauses it.

use crate::api::{Call, Load, use_load, use_poll};
use crate::app::Here;
use crate::browser;
use crate::state::range::Range;
use crate::ui::range::use_range;
use crate::ui::{Live, RangePicker};
use serde::de::DeserializeOwned;
use std::rc::Rc;
use yew::prelude::*;

pub const REFRESH_MS: u32 = 5_000;

#[derive(Clone, PartialEq)]
pub struct Look {
    pub range: Range,
    /// As the API takes them.
    pub start: String,
    pub end: String,
    /// Every so often; nothing while it is paused.
    pub every_ms: Option<u32>,
    /// Looks at the range as it is now.
    pub again: Callback<()>,
    /// Chooses the range and pauses.
    pub controls: Html,
}

#[hook]
pub fn use_look(here: &Here) -> Look {
    let (range, choose) = use_range();
    let live = use_state_eq(|| true);
    let turn = use_state_eq(|| 0_u32);
    let bounds = use_memo((range, *turn, here.zone.name.clone()), |(range, ..)| {
        let now = browser::now_ms() as i64;
        range.query(now, here.zone.midnight(now))
    });
    let again = {
        let turn = turn.clone();
        Callback::from(move |()| turn.set(turn.wrapping_add(1)))
    };
    let toggle = {
        let live = live.clone();
        Callback::from(move |on| live.set(on))
    };
    let controls =
        html! { <><Live on={*live} ontoggle={toggle} /><RangePicker {range} onchange={choose} /></> };
    Look {
        range,
        start: bounds.0.clone(),
        end: bounds.1.clone(),
        every_ms: live.then_some(REFRESH_MS),
        again,
        controls,
    }
}

/// A query parameter of the analytics that is a filter: its name and value.
pub type Filter = (&'static str, String);

impl Look {
    /// Asks for one part of the analytics.
    pub fn call(&self, here: &Here, part: &str, filters: &[Filter]) -> Call {
        let mut call = Call::get(here.path(&["/analytics/", part].concat()))
            .with("start", self.start.clone())
            .with("end", self.end.clone());
        if matches!(part, "requests" | "latency") {
            call = call.with("granularity", self.range.granularity().as_str());
        }
        if matches!(part, "requests" | "summary") {
            call = call.with("compare", "previous");
        }
        for (name, value) in filters {
            call = call.maybe(name, Some(value.clone()));
        }
        call
    }
}

#[hook]
pub fn use_part<T: DeserializeOwned + 'static>(
    here: &Here,
    look: &Look,
    part: &'static str,
    filters: &[Filter],
) -> Load<T> {
    use_load::<T>(Some(look.call(here, part, filters)))
}

/// Looks again every few seconds, unless what was asked before is still to come.
#[hook]
pub fn use_following(look: &Look, waiting: Vec<Rc<std::cell::Cell<bool>>>) {
    let again = look.again.clone();
    use_poll(
        look.every_ms,
        Callback::from(move |()| {
            if !waiting.iter().any(|one| one.get()) {
                again.emit(());
            }
        }),
    );
}
