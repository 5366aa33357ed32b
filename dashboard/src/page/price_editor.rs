//! Setting the prices of a model: the form, and what is sent for it.

use crate::api::{Call, use_send};
use crate::app::Here;
use crate::show::money::{per_million, per_thousand};
use crate::state::form::{Edit, Form};
use crate::state::toast::Say;
use crate::ui::{Button, Dialog, Kind, Notice, TextField, Tone, use_guard, use_say};
use rateguard_api::api::TokenPrices;
use rateguard_api::decimal::Cents;
use rateguard_api::price::Price;
use serde_json::{Map, Value, json};
use std::rc::Rc;
use yew::prelude::*;

type Read = fn(&TokenPrices) -> Option<Cents>;

/// Prices as the API spells them, what they are called, where they are; the first two are needed.
pub const PRICES: [(&str, &str, Read); 8] = [
    ("prices.inputCostPer1kTokens", "In", |one| {
        Some(one.input_cost_per_1k_tokens)
    }),
    ("prices.outputCostPer1kTokens", "Out", |one| {
        Some(one.output_cost_per_1k_tokens)
    }),
    ("prices.cachedInputCostPer1kTokens", "Cached", |one| {
        one.cached_input_cost_per_1k_tokens
    }),
    ("prices.cacheWrite5mCostPer1kTokens", "Cache write", |one| {
        one.cache_write5m_cost_per_1k_tokens
    }),
    ("prices.cacheWrite1hCostPer1kTokens", "Cache write, 1 h", |one| {
        one.cache_write1h_cost_per_1k_tokens
    }),
    ("prices.reasoningCostPer1kTokens", "Reasoning", |one| {
        one.reasoning_cost_per_1k_tokens
    }),
    ("prices.audioInputCostPer1kTokens", "Audio in", |one| {
        one.audio_input_cost_per_1k_tokens
    }),
    ("prices.audioOutputCostPer1kTokens", "Audio out", |one| {
        one.audio_output_cost_per_1k_tokens
    }),
];
const NEEDED: usize = 2;

/// What the form begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    pub fn of(price: &Price) -> Self {
        Self::new(&price.model, &price.prices, price.default_output_tokens)
    }

    pub fn new(model: &str, prices: &TokenPrices, tokens: Option<u32>) -> Self {
        let read = |read: Read| read(prices).and_then(per_million).unwrap_or_default();
        let mut values: Vec<_> = PRICES.iter().map(|(name, _, of)| (*name, read(*of))).collect();
        values.push(("model", model.to_owned()));
        values.push((
            "defaultOutputTokens",
            tokens.map(|tokens| tokens.to_string()).unwrap_or_default(),
        ));
        Self(values)
    }
}

/// What a creation sends, or with `edit` an update, which replaces all prices.
fn body(form: &Form, edit: bool) -> Result<Value, Vec<(String, String)>> {
    let (mut prices, mut faults) = (Map::new(), Vec::new());
    for (at, (name, ..)) in PRICES.iter().enumerate() {
        let text = form.text(name);
        if text.is_empty() && at >= NEEDED {
            continue;
        }
        match (per_thousand(text), name.strip_prefix("prices.")) {
            (Some(price), Some(name)) => drop(prices.insert(name.to_owned(), json!(price))),
            _ => faults.push((
                (*name).to_owned(),
                "Must be an amount in dollars, such as 2.50.".to_owned(),
            )),
        }
    }
    let mut body = json!({ "prices": prices });
    let tokens = form.text("defaultOutputTokens");
    match tokens.parse::<u32>() {
        Ok(tokens) => body["defaultOutputTokens"] = json!(tokens),
        Err(_) if tokens.is_empty() => {}
        Err(_) => faults.push((
            "defaultOutputTokens".to_owned(),
            "Must be a whole number.".to_owned(),
        )),
    }
    if !edit {
        body["model"] = json!(form.text("model"));
    }
    if faults.is_empty() { Ok(body) } else { Err(faults) }
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    /// Of what is changed; without it a price is made.
    pub id: Option<String>,
    pub values: Values,
    pub onclose: Callback<()>,
    pub ondone: Callback<()>,
}

#[component]
pub fn PriceEditor(props: &Props) -> Html {
    let form = use_reducer(|| Form::new(props.values.0.clone()));
    let (send, say) = (use_send(), use_say());
    use_guard(form.is_dirty());
    let edit = props.id.is_some();
    let onsubmit = {
        let (form, send, here, id) = (form.clone(), send.clone(), props.here.clone(), props.id.clone());
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form, id.is_some()) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = match &id {
                Some(id) => Call::patch(here.path(&["/prices/", id].concat()), body),
                None => Call::post(here.path("/prices"), body),
            };
            let (form, say, onclose, ondone) = (form.clone(), say.clone(), onclose.clone(), ondone.clone());
            send.run::<Price>(call, move |answer| match answer {
                Ok(price) => {
                    say.emit(Say::Good(["The price of ", &price.model, " is saved."].concat()));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => {
                    let shown = PRICES
                        .iter()
                        .map(|(name, ..)| *name)
                        .chain(["model", "defaultOutputTokens"]);
                    form.dispatch(Edit::Refused(failure, shown.map(str::to_owned).collect()));
                }
            });
        })
    };
    let price = |at: usize, (name, label, _): &(&'static str, &'static str, Read)| {
        html! {
            <TextField form={form.clone()} name={*name} label={*label} before="$" inputmode="decimal" optional={at >= NEEDED} />
        }
    };
    html! {
        <Dialog title={if edit { "Change a price" } else { "Set a price" }} onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                if edit {
                    <p><code class="break">{ form.get("model").to_owned() }</code></p>
                } else {
                    <TextField form={form.clone()} name="model" label="Model" placeholder="gpt-4o*" hint="* stands for any run of characters. Longer patterns are looked at first." focus=true />
                }
                <p class="soft small">{ "Dollars per million tokens. What is left empty costs as its kind: cached and audio in as In, reasoning and audio out as Out." }</p>
                <div class="grid-4">{ for PRICES.iter().enumerate().map(|(at, one)| price(at, one)) }</div>
                <TextField form={form.clone()} name="defaultOutputTokens" label="Assumed output" after="tokens" inputmode="numeric" optional=true
                    hint="Held for a request that names no maximum." />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Save price" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::price::{CreatePrice, UpdatePrice};

    #[test]
    fn what_is_sent_is_what_was_stored() {
        let prices: TokenPrices = serde_json::from_value(json!({
            "inputCostPer1kTokens": "0.2", "outputCostPer1kTokens": "0.8", "cacheWrite5mCostPer1kTokens": "0.0000001",
        }))
        .unwrap();
        let form = Form::new(Values::new("gpt-4o*", &prices, Some(500)).0);
        let made: CreatePrice = serde_json::from_value(body(&form, false).unwrap()).unwrap();
        assert_eq!(
            (made.model.as_str(), made.prices, made.default_output_tokens),
            ("gpt-4o*", prices, Some(500))
        );
        let changed: UpdatePrice = serde_json::from_value(body(&form, true).unwrap()).unwrap();
        assert_eq!(changed.prices, prices);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let form = Form::new([
            ("prices.outputCostPer1kTokens", "2"),
            ("defaultOutputTokens", "many"),
        ]);
        let faults = body(&form, false).unwrap_err();
        let named: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, ["prices.inputCostPer1kTokens", "defaultOutputTokens"]);
    }
}
