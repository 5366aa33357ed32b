//! The parts of the rate limit's editor. They offer what the data plane enforces, by the one table in the model.

use super::rule_form::{has_bucket, has_window};
use super::rule_words::{algorithm_help, algorithm_name, scope_name, unit_name};
use crate::api::{Call, use_load};
use crate::app::Here;
use crate::show::number::span;
use crate::state::form::Form;
use crate::ui::field::Choice;
use crate::ui::{Card, CheckList, PickField, SelectField, SwitchField, TextField};
use rateguard_api::api::Api;
use rateguard_api::list::List;
use rateguard_api::name::{Algorithm, ScopeType, Unit};
use rateguard_model::{enforced, quota};
use std::rc::Rc;
use yew::prelude::*;

/// Windows that are offered, in milliseconds.
const WINDOWS: [(&str, &str); 9] = [
    ("1000", "1 second"),
    ("10000", "10 seconds"),
    ("60000", "1 minute"),
    ("300000", "5 minutes"),
    ("3600000", "1 hour"),
    ("21600000", "6 hours"),
    ("86400000", "1 day"),
    ("604800000", "7 days"),
    ("2592000000", "30 days"),
];

#[derive(Properties, PartialEq)]
pub struct PartProps {
    pub form: UseReducerHandle<Form>,
}

#[component]
pub fn Limit(props: &PartProps) -> Html {
    let form = &props.form;
    let algorithms: Vec<Choice> = Algorithm::ALL
        .iter()
        .filter(|algorithm| quota::Algorithm::from(**algorithm).is_enforced())
        .map(|algorithm| {
            Choice::new(
                algorithm.as_str(),
                algorithm_name(*algorithm),
                algorithm_help(*algorithm),
            )
        })
        .collect();
    let units: Vec<(AttrValue, AttrValue)> = Unit::ALL
        .iter()
        .filter(|unit| quota::Unit::from(**unit).is_enforced())
        .map(|unit| (unit.as_str().into(), unit_name(*unit).into()))
        .collect();
    let mut windows: Vec<(AttrValue, AttrValue)> = WINDOWS
        .iter()
        .map(|(ms, text)| ((*ms).into(), (*text).into()))
        .collect();
    let window = form.get("windowMs");
    if !WINDOWS.iter().any(|(ms, _)| *ms == window) {
        let text = window.parse().map_or_else(|_| window.to_owned(), span);
        windows.push((window.to_owned().into(), text.into()));
    }
    let before = (form.get("unit") == Unit::Cost.as_str()).then_some(AttrValue::Static("$"));
    html! {
        <Card title="Limit">
            <div class="stack">
                <TextField form={form.clone()} name="name" label="Name" placeholder="60 a minute and key" />
                <PickField form={form.clone()} name="algorithm" label="Algorithm" choices={algorithms} />
                <div class="grid-2">
                    <SelectField form={form.clone()} name="unit" label="What is counted" options={units} />
                    if has_bucket(form) {
                        <TextField form={form.clone()} name="bucketSize" label="Bucket size" inputmode="decimal" before={before.clone()} hint="The largest burst." />
                        <TextField form={form.clone()} name="refillRate" label="Refill" inputmode="decimal" {before} after="/ s" />
                    } else {
                        <TextField form={form.clone()} name="limit" label="Limit" inputmode="decimal" {before} />
                    }
                    if has_window(form) { <SelectField form={form.clone()} name="windowMs" label="Per" options={windows} /> }
                </div>
            </div>
        </Card>
    }
}

#[derive(Properties, PartialEq)]
pub struct MatchingProps {
    pub form: UseReducerHandle<Form>,
    pub here: Rc<Here>,
}

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

#[component]
pub fn Matching(props: &MatchingProps) -> Html {
    let form = &props.form;
    let load = use_load::<List<Api>>(Some(Call::get(props.here.path("/apis")).with("limit", "200")));
    let mut apis: Vec<(AttrValue, AttrValue)> = vec![("".into(), "Every API".into())];
    for api in load
        .state
        .ready()
        .map(|list| list.data.as_slice())
        .unwrap_or_default()
    {
        apis.push((api.id.clone().into(), api.name.clone().into()));
    }
    let scopes: Vec<(AttrValue, AttrValue)> = ScopeType::ALL
        .iter()
        .filter(|kind| enforced::SCOPES.contains(&kind.as_str()))
        .map(|kind| (kind.as_str().into(), scope_name(*kind).into()))
        .collect();
    let chosen = form.list("scopes");
    let has = |kind: &str| chosen.iter().any(|one| one == kind);
    let methods = METHODS
        .iter()
        .map(|method| (AttrValue::from(*method), AttrValue::from(*method)))
        .collect::<Vec<_>>();
    html! {
        <Card title="Which calls" note="All of this must match.">
            <div class="stack">
                <div class="grid-2">
                    <SelectField form={form.clone()} name="apiId" label="API" options={apis} />
                    <TextField form={form.clone()} name="endpoint" label="Path" optional=true placeholder="/v1/chat/*"
                        hint="As it is sent upstream. * within a segment, ** across; left empty: every path." />
                </div>
                <CheckList form={form.clone()} name="methods" label="Methods" hint="None chosen: every method." options={methods} />
                <CheckList form={form.clone()} name="scopes" label="Counted" hint="Several together: one counter for each combination." options={scopes} />
                if has("PER_IP") {
                    <TextField form={form.clone()} name="hops" label="Trusted proxies before Envoy" inputmode="numeric"
                        hint="The client's address is taken from x-forwarded-for, so many entries from the right. 0: the peer's own." />
                }
                if has("PER_HEADER") { <TextField form={form.clone()} name="header" label="Header" placeholder="x-tenant" /> }
                if has("PER_TAG") { <TextField form={form.clone()} name="tag" label="Tag" placeholder="team" /> }
                if form.get("apiId").is_empty() {
                    <SwitchField form={form.clone()} name="sharedAcrossApis" label="One counter for all APIs" hint="Off: each API has a counter of its own." />
                }
            </div>
        </Card>
    }
}

#[component]
pub fn Behaviour(props: &PartProps) -> Html {
    let form = &props.form;
    let modes = vec![
        Choice::new("enforce", "Enforce", "Calls over the limit are refused with 429."),
        Choice::new("shadow", "Shadow", "Counted and recorded, never refused."),
    ];
    let failure = vec![
        Choice::new(
            "FAIL_OPEN",
            "Let calls through",
            "While the counters cannot be reached.",
        ),
        Choice::new(
            "FAIL_CLOSED",
            "Refuse calls",
            "While the counters cannot be reached.",
        ),
    ];
    html! {
        <Card title="Behaviour">
            <div class="stack">
                <PickField form={form.clone()} name="mode" label="Mode" choices={modes} />
                <PickField form={form.clone()} name="failureMode" label="In an outage" choices={failure} />
                <div class="grid-2">
                    <TextField form={form.clone()} name="priority" label="Priority" inputmode="numeric"
                        hint="Of several that refuse, the one with the largest is reported." />
                </div>
                <SwitchField form={form.clone()} name="enabled" label="On" />
            </div>
        </Card>
    }
}

#[component]
pub fn Help(props: &PartProps) -> Html {
    let form = &props.form;
    let text = if has_bucket(form) {
        "A full bucket lets a burst of its whole size through at once. After that calls pass as fast as it refills, to the thousandth of a unit."
    } else {
        "Counts exactly what the last window saw, at any moment. There is no edge of a window at which twice the limit could pass."
    };
    let unit = match form.get("unit") {
        "REQUESTS" => "Every call counts as one.",
        "COST" => {
            "The estimate is reserved before the call and corrected to the real cost after it, so that calls at the same time cannot slip past the limit together."
        }
        _ => "The estimate is reserved before the call and corrected to what the answer reports.",
    };
    html! {
        <aside>
            <h3>{ "How it counts" }</h3>
            <p>{ text }</p>
            <p>{ unit }</p>
            <h3>{ "Trying it out" }</h3>
            <p>{ "Shadow mode counts real calls and records what it would have refused. Switch to enforce when the numbers look right." }</p>
        </aside>
    }
}
