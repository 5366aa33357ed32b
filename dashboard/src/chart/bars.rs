//! Bars: a ranking, with each value written out.

use yew::prelude::*;

#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    pub name: AttrValue,
    pub value: f64,
    pub text: AttrValue,
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub label: AttrValue,
    pub bars: Vec<Bar>,
}

/// The widest is the largest value.
#[component]
pub fn Bars(props: &Props) -> Html {
    let max = props.bars.iter().fold(0.0_f64, |max, bar| max.max(bar.value));
    html! {
        <ul class="bars" aria-label={props.label.clone()}>
            { for props.bars.iter().map(|bar| {
                let width = if max > 0.0 { (bar.value / max * 100.0).clamp(0.0, 100.0) } else { 0.0 };
                html! {
                    <li>
                        <div class="what"><span>{ &bar.name }</span><strong class="num nowrap">{ &bar.text }</strong></div>
                        <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect height="4" width={format!("{width:.2}")} /></svg>
                    </li>
                }
            }) }
        </ul>
    }
}
