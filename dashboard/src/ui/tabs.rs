//! Tabs.

use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub label: AttrValue,
    pub names: Vec<AttrValue>,
    pub chosen: usize,
    pub onchoose: Callback<usize>,
    /// What the chosen tab shows.
    pub children: Html,
}

#[component]
pub fn Tabs(props: &Props) -> Html {
    let onkeydown = {
        let (count, chosen, onchoose) = (props.names.len().max(1), props.chosen, props.onchoose.clone());
        Callback::from(move |event: KeyboardEvent| {
            let next = match event.key().as_str() {
                "ArrowRight" => (chosen + 1) % count,
                "ArrowLeft" => (chosen + count - 1) % count,
                "Home" => 0,
                "End" => count - 1,
                _ => return,
            };
            event.prevent_default();
            onchoose.emit(next);
            crate::browser::focus(&format!("tab-{next}"));
        })
    };
    html! {
        <div class="stack">
            <div class="tabs" role="tablist" aria-label={props.label.clone()} {onkeydown}>
                { for props.names.iter().enumerate().map(|(at, name)| {
                    let onchoose = props.onchoose.clone();
                    let chosen = at == props.chosen;
                    html! {
                        <button type="button" role="tab" id={format!("tab-{at}")} aria-selected={chosen.to_string()}
                            aria-controls="tab-panel" tabindex={if chosen { "0" } else { "-1" }}
                            onclick={move |_| onchoose.emit(at)}>{ name }</button>
                    }
                }) }
            </div>
            <div id="tab-panel" role="tabpanel" aria-labelledby={format!("tab-{}", props.chosen)}>{ props.children.clone() }</div>
        </div>
    }
}
