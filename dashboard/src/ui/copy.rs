//! Text to take along: a field and a block of code, each with a button that copies.

use super::button::Button;
use super::icon::Icon;
use crate::browser;
use gloo_timers::callback::Timeout;
use yew::platform::spawn_local;
use yew::prelude::*;

/// Time for which "Copied" stays.
const COPIED_MS: u32 = 2_000;

#[derive(Clone, Copy, PartialEq)]
enum Copied {
    Not,
    Done,
    Refused,
}

#[derive(Properties, PartialEq)]
struct CopyButtonProps {
    text: AttrValue,
    what: AttrValue,
    #[prop_or_default]
    small: bool,
}

#[component]
fn CopyButton(props: &CopyButtonProps) -> Html {
    let state = use_state_eq(|| Copied::Not);
    let timer = use_mut_ref(|| None::<Timeout>);
    let onclick = {
        let (state, text) = (state.clone(), props.text.clone());
        Callback::from(move |_| {
            let (state, text, timer) = (state.clone(), text.clone(), timer.clone());
            spawn_local(async move {
                let done = browser::copy(&text).await;
                state.set(if done { Copied::Done } else { Copied::Refused });
                let back = state.clone();
                *timer.borrow_mut() = Some(Timeout::new(COPIED_MS, move || back.set(Copied::Not)));
            });
        })
    };
    let (icon, text) = match *state {
        Copied::Not => (Icon::Copy, "Copy"),
        Copied::Done => (Icon::Check, "Copied"),
        Copied::Refused => (Icon::Warning, "Select and copy"),
    };
    html! {
        <>
            <Button {icon} {onclick} small={props.small}>
                { text }<span class="unseen">{ format!(" {}", props.what) }</span>
            </Button>
            <span class="unseen" role="status">{ if *state == Copied::Done { "Copied" } else { "" } }</span>
        </>
    }
}

#[derive(Properties, PartialEq)]
pub struct CopyFieldProps {
    pub text: AttrValue,
    /// What it is, for those who do not see it.
    pub what: AttrValue,
    /// For secrets that are shown once.
    #[prop_or_default]
    pub loud: bool,
}

#[component]
pub fn CopyField(props: &CopyFieldProps) -> Html {
    html! {
        <div class={classes!("copy", props.loud.then_some("loud"))}>
            <code tabindex="0" aria-label={props.what.clone()}>{ &props.text }</code>
            <CopyButton text={props.text.clone()} what={props.what.clone()} />
        </div>
    }
}

#[derive(Properties, PartialEq)]
pub struct CodeProps {
    pub title: AttrValue,
    pub code: AttrValue,
}

#[component]
pub fn Code(props: &CodeProps) -> Html {
    html! {
        <figure class="code">
            <header>
                <figcaption>{ &props.title }</figcaption>
                <CopyButton text={props.code.clone()} what={props.title.clone()} small=true />
            </header>
            <pre tabindex="0"><code>{ &props.code }</code></pre>
        </figure>
    }
}
