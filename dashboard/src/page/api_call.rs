//! A test call to an API, through the gateway, with a key that is pasted and kept nowhere.

use super::snippets::{Example, use_gateway};
use crate::api::gateway::{Answered, call};
use crate::state::form::{Edit, Form};
use crate::ui::{Badge, Button, Card, Code, Icon, Kind, Notice, TextArea, TextField, Tone};
use rateguard_api::api::Api;
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub api: Rc<Api>,
}

#[derive(Clone, PartialEq)]
enum State {
    Ready,
    Waiting,
    /// Nothing, if the gateway could not be reached.
    Done(Option<Rc<Answered>>),
}

#[component]
pub fn TestCall(props: &Props) -> Html {
    let form = use_reducer(|| {
        let example = Example::of(&props.api);
        Form::new([("key", ""), ("path", example.path), ("body", example.body)])
    });
    let gateway = use_gateway();
    let state = use_state_eq(|| State::Ready);
    let base = [gateway.trim_end_matches('/'), "/proxy/", &props.api.slug].concat();
    let onsubmit = {
        let (form, state, base, api) = (form.clone(), state.clone(), base.clone(), props.api.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let key = form.text("key").to_owned();
            if !key.starts_with("rg_") {
                let fault = "Must be a key of this workspace: it begins with rg_.".to_owned();
                return form.dispatch(Edit::Faults(vec![("key".to_owned(), fault)]));
            }
            let url = [&base, "/", form.text("path").trim_start_matches('/')].concat();
            let (headers, body) = (Example::of(&api).headers(&key), form.text("body").to_owned());
            let state = state.clone();
            state.set(State::Waiting);
            spawn_local(async move {
                let answered = call(&url, &headers, &body).await;
                state.set(State::Done(answered.map(Rc::new)));
            });
        })
    };
    html! {
        <Card title="Test call" note="A real call from this browser through the gateway: it counts, and it costs what it costs.">
            <form class="stack" {onsubmit} novalidate=true>
                <TextField form={form.clone()} name="key" label="Key" kind="password" placeholder="rg_live_…" hint="It is used for this call and kept nowhere." />
                <TextField form={form.clone()} name="path" label="Path" before={["/proxy/", &props.api.slug, "/"].concat()} />
                <TextArea form={form.clone()} name="body" label="Body" optional=true hint="With one it is a POST of JSON, without one a GET." />
                <div class="row"><Button kind={Kind::Primary} submit=true icon={Icon::Play} busy={*state == State::Waiting}>{ "Make the call" }</Button></div>
            </form>
            { match &*state {
                State::Ready | State::Waiting => html! {},
                State::Done(None) => html! {
                    <Notice tone={Tone::Bad}>{ "There was no answer from " }<code class="break">{ &base }</code>
                        { ". Is that the gateway's address (GATEWAY_PUBLIC_URL), and does it let this page's origin call it?" }</Notice>
                },
                State::Done(Some(answered)) => show(answered),
            } }
        </Card>
    }
}

fn show(answered: &Answered) -> Html {
    let tone = match answered.status {
        ..400 => Tone::Good,
        400..500 => Tone::Warn,
        _ => Tone::Bad,
    };
    html! {
        <div class="stack" role="status">
            <hr />
            <p><Badge {tone}>{ answered.status }</Badge></p>
            <dl class="facts">
                { for answered.headers.iter().map(|(name, value)| html! { <div><dt>{ *name }</dt><dd>{ value }</dd></div> }) }
            </dl>
            <Code title="Answer" code={answered.body.clone()} />
        </div>
    }
}
