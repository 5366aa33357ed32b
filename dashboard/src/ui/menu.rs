//! A menu behind a button.

use super::icon::{Glyph, Icon};
use wasm_bindgen::JsCast as _;
use web_sys::{Element, HtmlElement, Node};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    /// What the menu is about, for those who do not see it.
    pub label: AttrValue,
    /// Instead of the three dots.
    #[prop_or_default]
    pub trigger: Option<Html>,
    /// Of the button.
    #[prop_or("btn quiet icon sm".into())]
    pub class: AttrValue,
    /// `up`, `left`.
    #[prop_or_default]
    pub place: Classes,
    /// Buttons and links.
    pub children: Html,
}

#[component]
pub fn Menu(props: &Props) -> Html {
    let open = use_state_eq(|| false);
    let node = use_node_ref();
    let toggle = {
        let open = open.clone();
        Callback::from(move |_: MouseEvent| open.set(!*open))
    };
    // Clicking an entry does its work, then the menu goes.
    let onpick = {
        let open = open.clone();
        Callback::from(move |event: MouseEvent| {
            let entry = event
                .target()
                .and_then(|target| target.dyn_into::<Element>().ok());
            let entry = entry.and_then(|element| element.closest("button, a").ok().flatten());
            if entry.is_some() {
                open.set(false);
            }
        })
    };
    let onfocusout = {
        let (open, node) = (open.clone(), node.clone());
        Callback::from(move |event: FocusEvent| {
            let next = event
                .related_target()
                .and_then(|target| target.dyn_into::<Node>().ok());
            let inside = node
                .cast::<Node>()
                .is_some_and(|menu| menu.contains(next.as_ref()));
            if !inside {
                open.set(false);
            }
        })
    };
    let onkeydown = {
        let (open, node) = (open.clone(), node.clone());
        Callback::from(move |event: KeyboardEvent| match event.key().as_str() {
            "Escape" if *open => {
                event.stop_propagation();
                open.set(false);
                focus_at(&node, ":scope > button", 0);
            }
            "ArrowDown" => {
                event.prevent_default();
                open.set(true);
                move_focus(&node, 1);
            }
            "ArrowUp" => {
                event.prevent_default();
                move_focus(&node, -1);
            }
            _ => {}
        })
    };
    {
        let node = node.clone();
        use_effect_with(*open, move |open| {
            if *open {
                focus_at(&node, ".list button, .list a", 0);
            }
        });
    }
    html! {
        <div class={classes!("menu", props.place.clone())} ref={node} {onfocusout} {onkeydown}>
            <button type="button" class={props.class.clone()} aria-haspopup="menu" aria-expanded={open.to_string()}
                aria-label={props.trigger.is_none().then(|| props.label.clone())} onclick={toggle}>
                { props.trigger.clone().unwrap_or_else(|| html! { <Glyph icon={Icon::More} /> }) }
            </button>
            if *open {
                <div class="list" role="group" aria-label={props.label.clone()} onclick={onpick}>{ props.children.clone() }</div>
            }
        </div>
    }
}

fn entries(node: &NodeRef, selector: &str) -> Vec<HtmlElement> {
    let Some(found) = node
        .cast::<Element>()
        .and_then(|menu| menu.query_selector_all(selector).ok())
    else {
        return Vec::new();
    };
    (0..found.length())
        .filter_map(|at| found.get(at)?.dyn_into().ok())
        .collect()
}

fn focus_at(node: &NodeRef, selector: &str, at: usize) {
    if let Some(entry) = entries(node, selector).get(at) {
        // What cannot take the focus can still be clicked.
        let _ = entry.focus();
    }
}

fn move_focus(node: &NodeRef, step: isize) {
    let all = entries(node, ".list button, .list a");
    let active = crate::browser::document().and_then(|document| document.active_element());
    let at = all
        .iter()
        .position(|entry| active.as_ref() == Some(entry.as_ref()));
    let count = all.len() as isize;
    if count > 0 {
        let next = at.map_or(0, |at| (at as isize + step).rem_euclid(count));
        focus_at(node, ".list button, .list a", next as usize);
    }
}
