//! A message that stays where it belongs.

use super::badge::Tone;
use super::icon::{Glyph, Icon};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    #[prop_or(Tone::Info)]
    pub tone: Tone,
    pub children: Html,
}

#[component]
pub fn Notice(props: &Props) -> Html {
    let (icon, role) = match props.tone {
        Tone::Bad => (Icon::Warning, "alert"),
        Tone::Warn => (Icon::Warning, "note"),
        Tone::Good => (Icon::Check, "status"),
        Tone::Info | Tone::Plain | Tone::Brand => (Icon::Info, "note"),
    };
    html! {
        <div class={classes!("notice", props.tone.class())} {role}>
            <Glyph {icon} /><div>{ props.children.clone() }</div>
        </div>
    }
}
