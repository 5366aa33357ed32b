//! Cards, figures and the meter of a budget.

use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct CardProps {
    #[prop_or_default]
    pub title: Option<AttrValue>,
    #[prop_or_default]
    pub note: Option<AttrValue>,
    #[prop_or_default]
    pub actions: Html,
    pub children: Html,
}

#[component]
pub fn Card(props: &CardProps) -> Html {
    html! {
        <section class="card">
            if let Some(title) = &props.title {
                <header>
                    <div><h2>{ title }</h2>if let Some(note) = &props.note { <p>{ note }</p> }</div>
                    { props.actions.clone() }
                </header>
            }
            { props.children.clone() }
        </section>
    }
}

#[derive(Properties, PartialEq)]
pub struct StatProps {
    pub label: AttrValue,
    pub value: AttrValue,
    /// The exact value, for whoever points at it.
    #[prop_or_default]
    pub exact: Option<AttrValue>,
    #[prop_or_default]
    pub note: Html,
}

#[component]
pub fn Stat(props: &StatProps) -> Html {
    html! {
        <section class="card stat">
            <p class="label">{ &props.label }</p>
            <p class="value" title={props.exact.clone()}>{ &props.value }</p>
            <p class="note">{ props.note.clone() }</p>
        </section>
    }
}

#[derive(Properties, PartialEq)]
pub struct MeterProps {
    pub label: AttrValue,
    /// Percent of the limit that is spent; may be over 100.
    pub spent: f64,
    /// Percent that is held for calls in flight.
    #[prop_or_default]
    pub held: f64,
    /// Percentages worth a mark.
    #[prop_or_default]
    pub ticks: Vec<u8>,
}

/// How bad a share of a budget is.
pub fn alarm(percent: f64) -> &'static str {
    match percent {
        p if p >= 100.0 => "bad",
        p if p >= 80.0 => "warn",
        _ => "",
    }
}

#[component]
pub fn Meter(props: &MeterProps) -> Html {
    let spent = props.spent.clamp(0.0, 100.0);
    let held = props.held.clamp(0.0, 100.0 - spent);
    let class = classes!("meter", alarm(props.spent));
    html! {
        <svg {class} viewBox="0 0 100 10" preserveAspectRatio="none" role="meter" aria-label={props.label.clone()}
            aria-valuemin="0" aria-valuemax="100" aria-valuenow={format!("{spent:.0}")}
            aria-valuetext={format!("{:.1} percent", props.spent)}>
            <rect class="spent" height="10" width={spent.to_string()} />
            <rect class="held" height="10" x={spent.to_string()} width={held.to_string()} />
            { for props.ticks.iter().filter(|tick| **tick < 100).map(|tick| html! {
                <rect class="tick" x={tick.to_string()} width="0.35" height="10" />
            }) }
        </svg>
    }
}
