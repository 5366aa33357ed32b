//! From nothing to the first governed request: an API, a key, a snippet, and the wait until it is seen.

use super::api_presets::{PRESETS, preset};
use super::head::PageHead;
use super::snippets::Snippets;
use crate::api::{Call, Loaded, use_load, use_poll, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::ui::field::Choice;
use crate::ui::{
    Button, CopyField, Failed, Forbidden, Glyph, Go, Icon, Kind, Notice, PickField, Skeletons, TextField,
    Tone,
};
use rateguard_api::api::Api;
use rateguard_api::key::{Key, KeyWithSecret};
use rateguard_api::list::List;
use rateguard_api::name::AuthType;
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

const LOOK_EVERY_MS: u32 = 2_000;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Welcome(props: &Props) -> Html {
    let here = &props.here;
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis"))));
    let keys = use_load::<List<Key>>(Some(Call::get(here.path("/keys"))));
    let secret = use_state(|| None::<AttrValue>);
    if !here.can(Need::Write) {
        return html! { <div class="page narrow"><Forbidden what="making APIs and keys" /></div> };
    }
    let (Loaded::Ready(api_list), Loaded::Ready(key_list)) = (&apis.state, &keys.state) else {
        let failure = match (&apis.state, &keys.state) {
            (Loaded::Failed(failure), _) | (_, Loaded::Failed(failure)) => Some(failure.clone()),
            _ => None,
        };
        return html! {
            <div class="page narrow">
                if let Some(failure) = failure { <Failed {failure} retry={apis.reload.clone()} /> } else { <Skeletons shape="tall" count={2} /> }
            </div>
        };
    };
    let api = api_list.data.last().cloned();
    let key = key_list.data.last().cloned();
    let used = key_list.data.iter().any(|key| key.last_used_at.is_some());
    let at = match (&api, &key) {
        (None, _) => 1,
        (_, None) => 2,
        _ if !used => 3,
        _ => 4,
    };
    let class = |step: usize| {
        classes!(
            "step",
            (at > step).then_some("done"),
            (at == step).then_some("now")
        )
    };
    let made = {
        let (secret, reload) = (secret.clone(), keys.reload.clone());
        Callback::from(move |text: String| {
            secret.set(Some(text.into()));
            reload.emit(());
        })
    };
    html! {
        <div class="page narrow">
            <PageHead title="Your first governed request" text={html! { "Three steps; the last one is a line of code." }} />
            <div class="steps">
                <section class={class(1)}>
                    { mark(1, at) }
                    <div>
                        <h2>{ "Add an API" }</h2>
                        if let Some(api) = &api {
                            <p class="soft">{ &api.name }{ " · " }<code class="break">{ &api.base_url }</code></p>
                        } else {
                            <FirstApi here={here.clone()} ondone={apis.reload.clone()} />
                        }
                    </div>
                </section>
                <section class={class(2)}>
                    { mark(2, at) }
                    <div>
                        <h2>{ "Create a key" }</h2>
                        if let Some(text) = (*secret).clone() {
                            <p>{ "Shown this once. Copy it now, and keep it where secrets are kept." }</p>
                            <CopyField {text} what="Your new key" loud=true />
                        } else if let Some(key) = &key {
                            <p class="soft">{ &key.name }{ " · " }<code>{ format!("{}…", key.prefix) }</code></p>
                        } else if api.is_some() {
                            <FirstKey here={here.clone()} ondone={made} />
                        } else {
                            <p class="soft">{ "For the application that calls the API." }</p>
                        }
                    </div>
                </section>
                <section class={class(3)}>
                    { mark(3, at) }
                    <div>
                        <h2>{ "Make a call" }</h2>
                        if let (Some(api), Some(_)) = (&api, &key) {
                            <Snippets api={api.clone()} secret={(*secret).clone()} />
                            <Waiting {used} reload={keys.reload.clone()} />
                        } else {
                            <p class="soft">{ "Change the base URL and the key of the code that you have." }</p>
                        }
                    </div>
                </section>
            </div>
        </div>
    }
}

fn mark(step: usize, at: usize) -> Html {
    html! {
        <span class="mark" aria-hidden="true">
            if at > step { <Glyph icon={Icon::Check} size={18} /> } else { { step } }
        </span>
    }
}

#[derive(Properties, PartialEq)]
struct WaitingProps {
    used: bool,
    reload: Callback<()>,
}

/// Looks until a key of the workspace has been used.
#[component]
fn Waiting(props: &WaitingProps) -> Html {
    use_poll((!props.used).then_some(LOOK_EVERY_MS), props.reload.clone());
    html! {
        <div class={classes!("waiting", props.used.then_some("good"))} role="status">
            if props.used {
                <Glyph icon={Icon::Check} size={24} />
                <div><strong>{ "Your first request came through." }</strong>
                    <p>{ "It was checked, counted and priced. " }<Go to={Route::Overview}>{ "To the overview" }</Go></p></div>
            } else {
                <span class="pulse" aria-hidden="true"></span>
                <div><strong>{ "Waiting for your first request…" }</strong><p class="soft">{ "This turns green up to a minute after it." }</p></div>
            }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct FirstProps<T: PartialEq> {
    here: Rc<Here>,
    ondone: Callback<T>,
}

#[component]
fn FirstApi(props: &FirstProps<()>) -> Html {
    let form = use_reducer(|| {
        Form::new([
            ("preset", "openai"),
            ("baseUrl", ""),
            ("name", ""),
            ("credential", ""),
        ])
    });
    let send = use_send();
    let chosen = preset(form.get("preset"));
    let custom = chosen.id == "custom";
    let onsubmit = {
        let (form, send, path, ondone) = (
            form.clone(),
            send.clone(),
            props.here.path("/apis"),
            props.ondone.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = first_api(&form);
            let (form, ondone) = (form.clone(), ondone.clone());
            send.run::<Api>(Call::post(path.clone(), body), move |answer| match answer {
                Ok(_) => ondone.emit(()),
                Err(failure) => {
                    let shown: &[&str] = if form.get("preset") == "custom" {
                        &["name", "baseUrl"]
                    } else {
                        &["credential"]
                    };
                    let shown = shown.iter().map(|name| (*name).to_owned()).collect();
                    form.dispatch(Edit::Refused(failure, shown));
                }
            });
        })
    };
    let choices = PRESETS
        .iter()
        .map(|preset| Choice::new(preset.id, preset.title, preset.text))
        .collect::<Vec<_>>();
    html! {
        <form class="stack" {onsubmit} novalidate=true>
            <PickField form={form.clone()} name="preset" label="Which API do you call?" {choices} />
            if custom {
                <TextField form={form.clone()} name="name" label="Name" placeholder="Payments" />
                <TextField form={form.clone()} name="baseUrl" label="Base URL" kind="url" placeholder="https://api.example.com/v1" />
            }
            if chosen.auth_type != AuthType::None {
                <TextField form={form.clone()} name="credential" label={format!("Your {} key", chosen.title)} kind="password"
                    autocomplete="new-password" placeholder={chosen.credential}
                    hint="Encrypted, sent only to this API, never shown again. Your applications do not need it any more." />
            }
            if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
            <div class="form-foot">
                <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Add API" }</Button>
                <Go to={Route::NewApi}>{ "All settings and prices" }</Go>
            </div>
        </form>
    }
}

fn first_api(form: &Form) -> serde_json::Value {
    let chosen = preset(form.get("preset"));
    let custom = chosen.id == "custom";
    let header = (chosen.auth_type == AuthType::ApiKeyHeader).then_some(chosen.header);
    let hosts: Vec<&str> = Some(chosen.hosts)
        .filter(|host| !host.is_empty())
        .into_iter()
        .collect();
    let has_credential = chosen.auth_type != AuthType::None;
    let credential = Some(form.text("credential")).filter(|text| has_credential && !text.is_empty());
    json!({
        "name": if custom { form.text("name") } else { chosen.name },
        "baseUrl": if custom { form.text("baseUrl") } else { chosen.base_url },
        "hosts": hosts,
        "authType": chosen.auth_type,
        "authHeaderName": header,
        "credential": credential,
        "usageFormat": chosen.usage_format,
        "timeoutMs": chosen.timeout_ms.parse::<u32>().ok(),
    })
}

#[component]
fn FirstKey(props: &FirstProps<String>) -> Html {
    let form = use_reducer(|| Form::new([("name", "My application")]));
    let send = use_send();
    let onsubmit = {
        let (form, send, path, ondone) = (
            form.clone(),
            send.clone(),
            props.here.path("/keys"),
            props.ondone.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (body, ondone, form) = (json!({ "name": form.text("name") }), ondone.clone(), form.clone());
            send.run::<KeyWithSecret>(Call::post(path.clone(), body), move |answer| match answer {
                Ok(made) => ondone.emit(made.key),
                Err(failure) => form.dispatch(Edit::Refused(failure, vec!["name".to_owned()])),
            });
        })
    };
    html! {
        <form class="stack" {onsubmit} novalidate=true>
            <TextField form={form.clone()} name="name" label="Name" />
            if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
            <div><Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Create key" }</Button></div>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::api::CreateApi;

    #[test]
    fn every_preset_makes_a_body_that_the_api_reads() {
        for preset in &PRESETS {
            let form = Form::new([
                ("preset", preset.id),
                ("name", "n"),
                ("baseUrl", "https://x.example"),
                ("credential", "c"),
            ]);
            let body: CreateApi = serde_json::from_value(first_api(&form)).unwrap();
            assert!(body.base_url.starts_with("https://"), "{}", preset.id);
        }
    }
}
