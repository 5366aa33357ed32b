//! Short messages in the corner.

use super::button::{Button, Kind};
use super::icon::{Glyph, Icon};
use crate::state::toast::{Say, Toast, Toasts};
use gloo_timers::callback::Timeout;
use yew::prelude::*;

pub type Toaster = UseReducerHandle<Toasts>;

const GOOD_MS: u32 = 5_000;
const BAD_MS: u32 = 12_000;

/// Says something in the corner.
#[hook]
pub fn use_say() -> Callback<Say> {
    let toaster = use_context::<Toaster>();
    Callback::from(move |say| {
        if let Some(toaster) = &toaster {
            toaster.dispatch(say);
        }
    })
}

#[component]
pub fn ToastArea() -> Html {
    let toaster = use_context::<Toaster>();
    let shown = toaster.map(|toaster| toaster.shown.clone()).unwrap_or_default();
    html! {
        <div class="toasts" role="status" aria-live="polite">
            { for shown.iter().map(|toast| html! { <One key={toast.id} toast={toast.clone()} /> }) }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct OneProps {
    toast: Toast,
}

#[component]
fn One(props: &OneProps) -> Html {
    let say = use_say();
    let id = props.toast.id;
    {
        let say = say.clone();
        let stay_ms = if props.toast.bad { BAD_MS } else { GOOD_MS };
        use_effect_with(id, move |id| {
            let id = *id;
            let timer = Timeout::new(stay_ms, move || say.emit(Say::Dismiss(id)));
            move || drop(timer)
        });
    }
    let icon = if props.toast.bad {
        Icon::Warning
    } else {
        Icon::Check
    };
    html! {
        <div class={classes!("toast", props.toast.bad.then_some("bad"))}>
            <Glyph {icon} /><p>{ &props.toast.text }</p>
            <Button kind={Kind::Quiet} small=true icon={Icon::Close} label="Dismiss"
                onclick={move |_| say.emit(Say::Dismiss(id))} />
        </div>
    }
}
