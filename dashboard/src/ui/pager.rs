//! Forth and back through a list that is given by pages.

use super::button::Button;
use super::icon::Icon;
use crate::state::cursor::{Cursors, Turn};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub cursors: UseReducerHandle<Cursors>,
    /// The cursor of the page after this one.
    pub next: Option<String>,
}

/// Nothing while there is one page only.
#[component]
pub fn Pager(props: &Props) -> Html {
    let page = props.cursors.page();
    if page == 1 && props.next.is_none() {
        return html! {};
    }
    let back = {
        let cursors = props.cursors.dispatcher();
        Callback::from(move |_: MouseEvent| cursors.dispatch(Turn::Back))
    };
    let forth = {
        let (cursors, next) = (props.cursors.dispatcher(), props.next.clone());
        Callback::from(move |_: MouseEvent| {
            if let Some(next) = &next {
                cursors.dispatch(Turn::Next(next.clone()));
            }
        })
    };
    html! {
        <nav class="pager" aria-label="Pages">
            <span role="status">{ format!("Page {page}") }</span>
            <span class="row">
                <Button small=true icon={Icon::Back} disabled={page == 1} onclick={back}>{ "Previous" }</Button>
                <Button small=true disabled={props.next.is_none()} onclick={forth}>{ "Next" }</Button>
            </span>
        </nav>
    }
}
