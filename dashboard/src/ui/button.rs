//! Buttons.

use super::icon::{Glyph, Icon};
use yew::prelude::*;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Plain,
    /// The one thing that the page is for.
    Primary,
    /// Without a frame.
    Quiet,
    /// Opens a question about destroying something.
    Danger,
    /// Destroys it.
    Destroy,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "attributes, each named where it is set"
)]
#[derive(Properties, PartialEq)]
pub struct Props {
    #[prop_or_default]
    pub kind: Kind,
    #[prop_or_default]
    pub icon: Option<Icon>,
    #[prop_or_default]
    pub small: bool,
    #[prop_or_default]
    pub wide: bool,
    /// Working: says so and takes no clicks.
    #[prop_or_default]
    pub busy: bool,
    #[prop_or_default]
    pub disabled: bool,
    /// Sends the form that it is in.
    #[prop_or_default]
    pub submit: bool,
    /// For buttons that are only an icon.
    #[prop_or_default]
    pub label: Option<AttrValue>,
    #[prop_or_default]
    pub onclick: Callback<MouseEvent>,
    #[prop_or_default]
    pub id: Option<AttrValue>,
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn Button(props: &Props) -> Html {
    let kind = match props.kind {
        Kind::Plain => "",
        Kind::Primary => "primary",
        Kind::Quiet => "quiet",
        Kind::Danger => "danger",
        Kind::Destroy => "danger solid",
    };
    let only_icon = props.label.is_some();
    let class = classes!(
        "btn",
        kind,
        props.small.then_some("sm"),
        props.wide.then_some("wide"),
        only_icon.then_some("icon")
    );
    html! {
        <button type={if props.submit { "submit" } else { "button" }} {class} id={props.id.clone()}
            disabled={props.disabled || props.busy} aria-busy={props.busy.then_some("true")}
            aria-label={props.label.clone()} title={props.label.clone()} onclick={props.onclick.clone()}>
            if props.busy {
                <span class="spin" aria-hidden="true"></span>
            } else if let Some(icon) = props.icon {
                <Glyph {icon} size={16} />
            }
            { props.children.clone() }
        </button>
    }
}
