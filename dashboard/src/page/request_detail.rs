//! One request of the log, with everything that is known of it.

use super::request_words::{plain, status};
use crate::app::Here;
use crate::route::Route;
use crate::show::money::exact_dollars;
use crate::show::number::{grouped, millis};
use crate::ui::{Badge, CopyField, Dialog, Go};
use rateguard_api::analytics::Event;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub event: Rc<Event>,
    pub here: Rc<Here>,
    pub onclose: Callback<()>,
}

/// Facts with their names; those without a value are left out.
fn facts(facts: Vec<(&'static str, Html)>) -> Html {
    let known = facts.into_iter().filter(|(_, value)| *value != Html::default());
    html! { <dl class="facts">{ for known.map(|(name, value)| html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> }) }</dl> }
}

fn text(text: impl Into<AttrValue>) -> Html {
    Html::from(text.into())
}

fn some(value: Option<&String>) -> Html {
    value.map_or_else(Html::default, |value| text(value.clone()))
}

/// A number, unless there is nothing of it.
fn number(number: i64) -> Html {
    match u64::try_from(number) {
        Ok(number) if number > 0 => text(grouped(number)),
        _ => Html::default(),
    }
}

fn duration(ms: Option<u32>) -> Html {
    ms.map_or_else(Html::default, |ms| text(millis(f64::from(ms))))
}

/// Its page, by the name that it has.
fn link(id: Option<&String>, name: Option<&String>, to: fn(String) -> Route) -> Html {
    let Some(id) = id else { return Html::default() };
    let text = name.map_or("One that is deleted", String::as_str);
    html! { <Go to={to(id.clone())}>{ text }</Go> }
}

fn chips(texts: &[String]) -> Html {
    if texts.is_empty() {
        return Html::default();
    }
    html! { <div class="chips">{ for texts.iter().map(|text| html! { <Badge>{ text }</Badge> }) }</div> }
}

/// What of it is out of the ordinary.
fn marks(event: &Event) -> Vec<String> {
    let marks = [
        (event.stream, "Streamed"),
        (event.rate_limited, "Rate limited"),
        (event.budget_exceeded, "Over budget"),
        (event.shadow, "A shadow limit would have refused it"),
        (event.degraded, "Limits were not certain"),
        (event.revision > 0, "Late settlement: differences"),
    ];
    marks
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, text)| text.to_owned())
        .collect()
}

#[component]
pub fn RequestDetail(props: &Props) -> Html {
    let (event, here) = (&*props.event, &*props.here);
    let (tone, answer) = status(event);
    let tokens = &event.tokens;
    let tags: Vec<String> = event
        .tags
        .iter()
        .map(|(name, value)| [name, "=", value].concat())
        .collect();
    html! {
        <Dialog title="Request" onclose={props.onclose.clone()}>
            <p class="row"><Badge {tone}>{ answer }</Badge><code class="break">{ &event.method }{ " " }{ &event.endpoint }</code></p>
            { chips(&marks(event)) }
            <CopyField text={event.id.clone()} what="Request id" />
            { facts(vec![
                ("Time", text(here.zone.show(&event.timestamp))),
                ("Reason", some(event.error_type.as_deref().map(plain).as_ref())),
                ("API", link(event.api_id.as_ref(), event.api_name.as_ref(), |id| Route::Api { id })),
                ("Key", link(event.key_id.as_ref(), event.key_name.as_ref(), |id| Route::Key { id })),
                (if event.shadow && !event.rate_limited { "Shadow limit" } else { "Rate limit" }, link(event.rule_id.as_ref(), Some(&"Look at it".to_owned()), |id| Route::Rule { id })),
                ("Budget", link(event.budget_id.as_ref(), Some(&"Costs & budgets".to_owned()), |_| Route::Costs)),
                ("Model", some(event.model.as_ref())),
                ("Client", some(event.client_ip.as_ref())),
            ]) }
            <hr />
            { facts(vec![
                ("Cost", text(exact_dollars(event.cost_cents))),
                ("Usage", text(plain(&event.usage_source))),
                ("Tokens in", number(tokens.input)),
                ("Cached", number(tokens.cached)),
                ("Written to the cache", number(tokens.cache_write)),
                ("Tokens out", number(tokens.output)),
                ("Reasoning", number(tokens.reasoning)),
                ("Audio", number(tokens.audio)),
                ("Units", number(event.units)),
                ("Prices", some(event.price_version.as_ref())),
            ]) }
            <hr />
            { facts(vec![
                ("Took", duration(Some(event.latency_ms))),
                ("Of it the provider", duration(Some(event.upstream_latency_ms))),
                ("First token after", duration(event.ttft_ms)),
                ("Sent, bytes", text(grouped(event.request_bytes))),
                ("Answered, bytes", text(grouped(event.response_bytes))),
            ]) }
            { chips(&tags) }
        </Dialog>
    }
}
