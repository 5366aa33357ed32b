//! Which rate limits a request would meet, without making it.

use crate::api::{Call, use_load, use_send};
use crate::app::Here;
use crate::state::form::{Edit, Form};
use crate::ui::{Badge, Button, Dialog, Empty, Icon, Kind, Notice, SelectField, TextField, Tone};
use rateguard_api::key::Key;
use rateguard_api::list::List;
use rateguard_api::name::Mode;
use rateguard_api::rule::{TestedRule, TestedRules};
use serde_json::{Map, Value, json};
use std::rc::Rc;
use yew::prelude::*;

const FIELDS: [&str; 4] = ["path", "method", "keyId", "ip"];
const METHODS: [&str; 6] = ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"];

/// Fields that were left empty are left out.
fn body(form: &Form) -> Value {
    let given = FIELDS.iter().filter(|name| !form.text(name).is_empty());
    given
        .map(|name| ((*name).to_owned(), json!(form.text(name))))
        .collect::<Map<_, _>>()
        .into()
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub onclose: Callback<()>,
}

#[component]
pub fn RuleTester(props: &Props) -> Html {
    let here = &props.here;
    let form =
        use_reducer(|| Form::new([("path", "/proxy/"), ("method", "POST"), ("keyId", ""), ("ip", "")]));
    let found = use_state(|| None::<Rc<TestedRules>>);
    let keys = use_load::<List<Key>>(Some(Call::get(here.path("/keys")).with("limit", "200")));
    let send = use_send();
    let onsubmit = {
        let (form, send, found, path) = (
            form.clone(),
            send.clone(),
            found.clone(),
            here.path("/rules/test"),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (form, found) = (form.clone(), found.clone());
            send.run::<TestedRules>(
                Call::post(path.clone(), body(&form)),
                move |answer| match answer {
                    Ok(tested) => {
                        form.dispatch(Edit::Saved);
                        found.set(Some(Rc::new(tested)));
                    }
                    Err(failure) => form.dispatch(Edit::Refused(failure, FIELDS.map(str::to_owned).to_vec())),
                },
            );
        })
    };
    let methods: Vec<(AttrValue, AttrValue)> = METHODS
        .iter()
        .map(|method| ((*method).into(), (*method).into()))
        .collect();
    let mut options: Vec<(AttrValue, AttrValue)> = vec![("".into(), "Any".into())];
    for key in keys
        .state
        .ready()
        .map(|list| list.data.as_slice())
        .unwrap_or_default()
    {
        options.push((key.id.clone().into(), key.name.clone().into()));
    }
    html! {
        <Dialog title="Test a request" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <p class="soft">{ "Nothing is called and nothing is counted." }</p>
                <TextField form={form.clone()} name="path" label="Path" hint="As an application sends it to the gateway." focus=true />
                <div class="grid-2">
                    <SelectField form={form.clone()} name="method" label="Method" options={methods} />
                    <SelectField form={form.clone()} name="keyId" label="Key" {options} optional=true />
                </div>
                <TextField form={form.clone()} name="ip" label="Client address" placeholder="203.0.113.7" optional=true />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer><Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Test" }</Button></footer>
            </form>
            if let Some(found) = &*found { { result(found) } }
        </Dialog>
    }
}

fn result(tested: &TestedRules) -> Html {
    let Some(endpoint) = &tested.endpoint else {
        return html! { <Notice tone={Tone::Warn}>{ "No API has this path: the call would get 404." }</Notice> };
    };
    if tested.rules.is_empty() {
        return html! { <Empty icon={Icon::Gauge} title="There is no rate limit" small=true /> };
    }
    html! {
        <div class="stack tight" role="status">
            <p>{ "Matched on " }<code class="break">{ endpoint }</code></p>
            <ul class="stack tight">{ for tested.rules.iter().map(line) }</ul>
        </div>
    }
}

fn line(rule: &TestedRule) -> Html {
    let (tone, text) = match (rule.matches, rule.mode) {
        (false, _) => (Tone::Plain, "Does not apply"),
        (true, Mode::Shadow) => (Tone::Info, "Counts, never refuses"),
        (true, Mode::Enforce) => (Tone::Good, "Applies"),
    };
    html! {
        <li class="card tested" key={rule.id.clone()}>
            <div class="row apart"><strong class="break">{ &rule.name }</strong><Badge {tone} dot=true>{ text }</Badge></div>
            <p class="soft small">{ crate::api::sentence(&rule.reason) }</p>
            if let Some(partition) = &rule.partition { <p class="soft small break">{ "Counter " }<code>{ partition }</code></p> }
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::rule::TestRules;

    #[test]
    fn empty_fields_are_left_out() {
        let form = Form::new([
            ("path", "/proxy/x"),
            ("method", "GET"),
            ("keyId", ""),
            ("ip", " "),
        ]);
        assert_eq!(body(&form), json!({"path": "/proxy/x", "method": "GET"}));
        serde_json::from_value::<TestRules>(body(&form)).unwrap();
    }
}
