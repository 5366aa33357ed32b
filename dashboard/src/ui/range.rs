//! The range of time, kept in the URL, and whether the page refreshes itself.

use super::button::{Button, Kind};
use super::icon::Icon;
use crate::browser;
use crate::state::range::Range;
use wasm_bindgen::JsValue;
use yew::prelude::*;

/// The range that the URL names, and a way to change both.
#[hook]
pub fn use_range() -> (Range, Callback<Range>) {
    let range = use_state_eq(|| {
        let location = browser::location();
        Range::of_query(location.split_once('?').map_or("", |(_, query)| query))
    });
    let choose = {
        let range = range.clone();
        Callback::from(move |next: Range| {
            range.set(next);
            let history = browser::window().and_then(|window| window.history().ok());
            if let Some(history) = history {
                let url = format!("?range={}", next.name());
                // Without it only the link is less useful.
                let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&url));
            }
        })
    };
    (*range, choose)
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub range: Range,
    pub onchange: Callback<Range>,
}

#[component]
pub fn RangePicker(props: &Props) -> Html {
    html! {
        <div class="segments" role="group" aria-label="Range of time">
            { for Range::ALL.into_iter().map(|range| {
                let onchange = props.onchange.clone();
                html! {
                    <button type="button" aria-pressed={(range == props.range).to_string()}
                        onclick={move |_| onchange.emit(range)}>{ range.label() }</button>
                }
            }) }
        </div>
    }
}

#[derive(Properties, PartialEq)]
pub struct LiveProps {
    pub on: bool,
    pub ontoggle: Callback<bool>,
}

/// Says that the page follows what happens, and lets that be paused.
#[component]
pub fn Live(props: &LiveProps) -> Html {
    let (on, ontoggle) = (props.on, props.ontoggle.clone());
    html! {
        <span class="live">
            <span class={classes!("pulse", (!on).then_some("off"))} aria-hidden="true"></span>
            { if on { "Every 5 s" } else { "Paused" } }
            <Button kind={Kind::Quiet} small=true icon={if on { Icon::Pause } else { Icon::Play }}
                label={if on { "Pause refreshing" } else { "Refresh every 5 seconds" }} onclick={move |_| ontoggle.emit(!on)} />
        </span>
    }
}
