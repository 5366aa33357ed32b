//! A list too long to draw: of its rows, all of one height, only those that are seen are in the page.

use crate::state::window::{ROW_PX, drawn, scroll_to};
use std::ops::Range;
use web_sys::HtmlElement;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub label: AttrValue,
    /// Cells of the head.
    pub head: Html,
    pub count: usize,
    /// The cells of a row.
    pub row: Callback<usize, Html>,
    /// A row was chosen.
    pub onopen: Callback<usize>,
    /// What is drawn has changed.
    pub ondraw: Callback<Range<usize>>,
}

/// Pixels below the head.
fn height(host: &HtmlElement) -> i32 {
    host.client_height() - ROW_PX
}

#[component]
pub fn Rows(props: &Props) -> Html {
    let (host, body) = (use_node_ref(), use_node_ref());
    // Scroll position and height.
    let seen = use_state_eq(|| (0, 480));
    let active = use_state_eq(|| None::<usize>);
    let rows = drawn(seen.0, seen.1, props.count);
    let measure = {
        let (host, seen) = (host.clone(), seen.setter());
        Callback::from(move |()| {
            if let Some(host) = host.cast::<HtmlElement>() {
                // To the row: between two there is nothing new to draw.
                seen.set((host.scroll_top() / ROW_PX * ROW_PX, height(&host)));
            }
        })
    };
    use_effect_with((), {
        let measure = measure.clone();
        move |()| measure.emit(())
    });
    use_effect_with((rows.clone(), props.count), {
        let (body, ondraw) = (body.clone(), props.ondraw.clone());
        move |(rows, count)| {
            if let Some(body) = body.cast::<HtmlElement>() {
                // Through the style object: the content security policy refuses the attribute.
                for (name, rows) in [("height", *count), ("padding-top", rows.start)] {
                    let px = format!("{}px", rows * ROW_PX as usize);
                    // A name and a value that every browser takes.
                    let _ = body.style().set_property(name, &px);
                }
            }
            ondraw.emit(rows.clone());
        }
    });
    let onkeydown = {
        let (host, active, onopen, count) = (host.clone(), active.clone(), props.onopen.clone(), props.count);
        Callback::from(move |event: KeyboardEvent| {
            let Some(host) = host.cast::<HtmlElement>() else {
                return;
            };
            let (last, page) = (count.saturating_sub(1), (height(&host) / ROW_PX).max(1) as usize);
            let at = *active;
            let next = match (event.key().as_str(), at) {
                ("ArrowDown", Some(at)) => at + 1,
                ("ArrowUp", Some(at)) => at.saturating_sub(1),
                ("PageDown", at) => at.unwrap_or(0) + page,
                ("PageUp", at) => at.unwrap_or(0).saturating_sub(page),
                ("Home" | "ArrowDown" | "ArrowUp", _) => 0,
                ("End", _) => last,
                ("Enter" | " ", Some(at)) => {
                    event.prevent_default();
                    return onopen.emit(at);
                }
                _ => return,
            };
            event.prevent_default();
            let next = next.min(last);
            host.set_scroll_top(scroll_to(next, host.scroll_top(), height(&host)));
            active.set(Some(next));
        })
    };
    let id = |row: usize| format!("row-{row}");
    html! {
        <div class="log" role="grid" tabindex="0" aria-label={props.label.clone()} aria-rowcount={(props.count + 1).to_string()}
            aria-activedescendant={active.filter(|row| rows.contains(row)).map(id)}
            onscroll={measure.reform(|_: Event| ())} {onkeydown} ref={host}>
            <div class="line head" role="row" aria-rowindex="1">{ props.head.clone() }</div>
            <div role="rowgroup" ref={body}>
                { for rows.clone().map(|row| {
                    let (active, onopen) = (active.clone(), props.onopen.clone());
                    let chosen = *active == Some(row);
                    let onclick = move |_: MouseEvent| {
                        active.set(Some(row));
                        onopen.emit(row);
                    };
                    html! {
                        <div key={row} id={id(row)} class={classes!("line", chosen.then_some("active"))} role="row"
                            aria-rowindex={(row + 2).to_string()} {onclick}>{ props.row.emit(row) }</div>
                    }
                }) }
            </div>
        </div>
    }
}
