//! What stands where there is nothing to show: nothing yet, not allowed, failed, not there yet.

use super::button::Button;
use super::icon::{Glyph, Icon};
use crate::api::Failure;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct EmptyProps {
    pub icon: Icon,
    pub title: AttrValue,
    #[prop_or_default]
    pub text: AttrValue,
    #[prop_or_default]
    pub small: bool,
    /// What to do about it.
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn Empty(props: &EmptyProps) -> Html {
    html! {
        <div class={classes!("empty", props.small.then_some("small"))}>
            <span class="disc"><Glyph icon={props.icon} size={24} /></span>
            <h2>{ &props.title }</h2>
            if !props.text.is_empty() { <p>{ &props.text }</p> }
            { props.children.clone() }
        </div>
    }
}

#[derive(Properties, PartialEq)]
pub struct FailedProps {
    pub failure: Failure,
    #[prop_or_default]
    pub retry: Option<Callback<()>>,
}

#[component]
pub fn Failed(props: &FailedProps) -> Html {
    let (icon, title) = match props.failure.status() {
        Some(403) => (Icon::Lock, "Not allowed"),
        Some(404) => (Icon::Search, "Not found"),
        _ => (Icon::Warning, "This could not be loaded"),
    };
    html! {
        <div class="empty bad" role="alert">
            <span class="disc"><Glyph {icon} size={24} /></span>
            <h2>{ title }</h2>
            <p>{ props.failure.text() }</p>
            if let Some(retry) = &props.retry {
                <Button icon={Icon::Refresh} onclick={retry.reform(|_| ())}>{ "Try again" }</Button>
            }
        </div>
    }
}

#[derive(Properties, PartialEq)]
pub struct ForbiddenProps {
    /// What cannot be seen: "the audit log".
    pub what: AttrValue,
}

#[component]
pub fn Forbidden(props: &ForbiddenProps) -> Html {
    let text = format!(
        "Your role in this workspace does not include {}. An owner or admin can change your role.",
        props.what
    );
    html! { <Empty icon={Icon::Lock} title="Not for your role" {text} /> }
}

#[derive(Properties, PartialEq)]
pub struct SkeletonsProps {
    /// `block`, `tall` or nothing for lines of a table.
    #[prop_or_default]
    pub shape: &'static str,
    #[prop_or(3)]
    pub count: usize,
}

/// The shape of what is being loaded.
#[component]
pub fn Skeletons(props: &SkeletonsProps) -> Html {
    let class = if props.shape == "block" { "grid-4" } else { "stack" };
    html! {
        <div {class} role="status" aria-label="Loading">
            { for (0..props.count).map(|n| {
                let shape = match (props.shape, n % 3) {
                    ("", 1) => "line-m",
                    ("", 2) => "line-s",
                    (shape, _) => shape,
                };
                html! { <span class={classes!("skeleton", shape)}></span> }
            }) }
        </div>
    }
}
