//! Badges: a word about a state, always written out.

use yew::prelude::*;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Info,
    Brand,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Brand => "brand",
        }
    }
}

#[derive(Properties, PartialEq)]
pub struct Props {
    #[prop_or_default]
    pub tone: Tone,
    #[prop_or_default]
    pub dot: bool,
    pub children: Html,
}

#[component]
pub fn Badge(props: &Props) -> Html {
    html! {
        <span class={classes!("badge", props.tone.class(), props.dot.then_some("dot"))}>{ props.children.clone() }</span>
    }
}
