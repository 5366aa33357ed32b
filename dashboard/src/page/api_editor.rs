//! Making and changing an API.

use super::api_call::TestCall;
use super::api_form::{ROWS_MAX, body, known, rows, values_of, values_of_preset};
use super::api_presets::{PRESETS, preset};
use super::apis::DeleteApi;
use super::head::PageHead;
use super::snippets::Snippets;
use crate::api::{Call, Loaded, use_load, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::go::use_leave;
use crate::ui::{
    Button, Card, Failed, FormFoot, Icon, Kind, Notice, PickField, SelectField, Skeletons, SwitchField,
    TextArea, TextField, Tone, use_guard, use_say,
};
use rateguard_api::api::Api;
use rateguard_api::name::{AuthType, CostModelType, UsageFormat};
use rateguard_model::enforced;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub id: Option<String>,
}

#[component]
pub fn ApiEditor(props: &Props) -> Html {
    let here = &props.here;
    let path = props.id.as_ref().map(|id| here.path(&format!("/apis/{id}")));
    let load = use_load::<Api>(path.map(Call::get));
    match (&props.id, &load.state) {
        (None, _) => {
            html! { <Editor here={here.clone()} stored={None::<Rc<Api>>} tag={None::<String>} reload={Callback::noop()} /> }
        }
        (_, Loaded::Waiting) => html! { <div class="page"><Skeletons shape="tall" count={2} /></div> },
        (_, Loaded::Failed(failure)) => {
            html! { <div class="page"><Failed failure={failure.clone()} retry={load.reload.clone()} /></div> }
        }
        (_, Loaded::Ready(api)) => html! {
            <Editor here={here.clone()} stored={Some(api.clone())} tag={load.tag.clone()} reload={load.reload.clone()} />
        },
    }
}

#[derive(Properties, PartialEq)]
struct EditorProps {
    here: Rc<Here>,
    stored: Option<Rc<Api>>,
    tag: Option<String>,
    reload: Callback<()>,
}

#[component]
fn Editor(props: &EditorProps) -> Html {
    let here = &props.here;
    let form = use_reducer(|| {
        Form::new(
            props
                .stored
                .as_ref()
                .map_or_else(|| values_of_preset("openai"), |api| values_of(api)),
        )
    });
    let (send, say, leave) = (use_send(), use_say(), use_leave());
    let deleting = use_state_eq(|| false);
    use_guard(form.is_dirty());
    {
        let form = form.dispatcher();
        use_effect_with(props.stored.clone(), move |stored| {
            if let Some(api) = stored {
                form.dispatch(Edit::Load(values_of(api)));
            }
        });
    }
    let onsubmit = {
        let (form, send, here) = (form.clone(), send.clone(), here.clone());
        let (stored, tag, reload, leave) = (
            props.stored.clone(),
            props.tag.clone(),
            props.reload.clone(),
            leave.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form, stored.as_deref()) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = match &stored {
                Some(api) => Call::patch(here.path(&format!("/apis/{}", api.id)), body).based_on(tag.clone()),
                None => Call::post(here.path("/apis"), body),
            };
            let (form, say, leave, reload, made) = (
                form.clone(),
                say.clone(),
                leave.clone(),
                reload.clone(),
                stored.is_none(),
            );
            send.run::<Api>(call, move |answer| match answer {
                Ok(api) => {
                    form.dispatch(Edit::Saved);
                    say.emit(Say::Good(format!("{} is saved.", api.name)));
                    if made {
                        leave.emit(Route::Api { id: api.id });
                    } else {
                        reload.emit(());
                    }
                }
                Err(failure) => {
                    let known = known(&form);
                    form.dispatch(Edit::Refused(failure, known));
                }
            });
        })
    };
    let writes = here.can(Need::Write);
    let title = props
        .stored
        .as_ref()
        .map_or_else(|| "Add an API".to_owned(), |api| api.name.clone());
    let text = match &props.stored {
        Some(api) => {
            html! { <>{ "Called at " }<code>{ format!("/proxy/{}", api.slug) }</code>{ " of the gateway." }</> }
        }
        None => html! { "Your applications call it through the gateway, with keys of their own." },
    };
    html! {
        <div class="page">
            <PageHead {title} {text}>
                if let (Some(_), true) = (&props.stored, writes) {
                    <Button kind={Kind::Danger} icon={Icon::Trash} onclick={let deleting = deleting.clone(); move |_| deleting.set(true)}>{ "Delete…" }</Button>
                }
            </PageHead>
            <form class="form" {onsubmit} novalidate=true>
                <fieldset class="form" disabled={!writes}>
                    if props.stored.is_none() { <Presets form={form.clone()} /> }
                    <Upstream form={form.clone()} stored={props.stored.clone()} />
                    <Prices form={form.clone()} />
                    <Details form={form.clone()} />
                </fieldset>
                if writes {
                    <FormFoot form={form.clone()} busy={send.busy} edit={props.stored.is_some()} back={Some(Route::Apis)}
                        action={if props.stored.is_some() { "Save" } else { "Add API" }} reload={Some(props.reload.clone())} />
                }
            </form>
            if let Some(api) = &props.stored {
                <Card title="Call it" note="Change the base URL and the key; nothing else."><Snippets api={(**api).clone()} /></Card>
                <TestCall api={api.clone()} />
                if *deleting {
                    <DeleteApi here={here.clone()} api={(**api).clone()} onclose={let deleting = deleting.clone(); move |()| deleting.set(false)}
                        ondone={let leave = leave.clone(); move |()| leave.emit(Route::Apis)} />
                }
            }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct PartProps {
    form: UseReducerHandle<Form>,
    #[prop_or_default]
    stored: Option<Rc<Api>>,
}

#[component]
fn Presets(props: &PartProps) -> Html {
    // Another preset fills in its values; what was typed elsewhere would not fit it.
    {
        let form = props.form.dispatcher();
        let chosen = props.form.get("preset").to_owned();
        use_effect_with(chosen, move |chosen| {
            form.dispatch(Edit::Load(values_of_preset(chosen)));
        });
    }
    let choices = PRESETS
        .iter()
        .map(|preset| Choice::new(preset.id, preset.title, preset.text))
        .collect::<Vec<_>>();
    html! { <Card><PickField form={props.form.clone()} name="preset" label="Start from" {choices} /></Card> }
}

fn auth_name(kind: AuthType) -> &'static str {
    match kind {
        AuthType::None => "None",
        AuthType::Bearer => "Bearer token",
        AuthType::ApiKeyHeader => "Key in a header",
        AuthType::Basic => "User and password (Basic)",
    }
}

#[component]
fn Upstream(props: &PartProps) -> Html {
    let form = &props.form;
    let auth: Vec<(AttrValue, AttrValue)> = AuthType::ALL
        .iter()
        .map(|kind| (kind.as_str().into(), auth_name(*kind).into()))
        .collect();
    let kind = form.get("authType").to_owned();
    let has = props.stored.as_ref().is_some_and(|api| api.has_credential);
    let hint = if has {
        "One is stored and never shown. Type another to replace it; a base URL on another host needs it again."
    } else if kind == "BASIC" {
        "As user:password. It is encrypted and never shown again."
    } else {
        "The provider's own key. It is encrypted, sent only to this API, and never shown again."
    };
    html! {
        <Card title="Upstream" note="Where calls go, and with which credential.">
            <div class="stack">
                <div class="grid-2">
                    <TextField form={form.clone()} name="name" label="Name" placeholder="OpenAI production" />
                    <TextField form={form.clone()} name="slug" label="Slug" before="/proxy/" optional={props.stored.is_none()}
                        hint="Part of the address that applications call. Left empty it is made from the name." />
                </div>
                <TextField form={form.clone()} name="baseUrl" label="Base URL" kind="url" placeholder="https://api.example.com/v1"
                    hint="Everything after the slug is added to it." />
                <div class="grid-2">
                    <SelectField form={form.clone()} name="authType" label="Authentication" options={auth} />
                    if kind == "API_KEY_HEADER" {
                        <TextField form={form.clone()} name="authHeaderName" label="Header" placeholder="x-api-key" />
                    }
                </div>
                if kind != "NONE" {
                    <TextField form={form.clone()} name="credential" label="Credential" kind="password" autocomplete="new-password"
                        placeholder={if has { "••••••••".to_owned() } else { preset(form.get("preset")).credential.to_owned() }} {hint} optional={has} />
                }
            </div>
        </Card>
    }
}

#[component]
fn Prices(props: &PartProps) -> Html {
    let form = &props.form;
    let mut choices = vec![Choice::new(
        "NONE",
        "Not priced",
        "Calls are counted; their cost is unknown.",
    )];
    for kind in CostModelType::ALL
        .iter()
        .filter(|kind| enforced::COST_MODELS.contains(&kind.as_str()))
    {
        let (title, text) = match kind {
            CostModelType::PerRequest => ("Per request", "Each answered call costs the same."),
            CostModelType::PerToken => ("Per token", "By model, as the provider publishes it."),
            CostModelType::PerUnit => ("Per unit", "By a count in the answer."),
            CostModelType::Tiered => ("Tiered", "Cheaper the more is used in a month."),
            CostModelType::Catalogue => (
                "Price catalogue",
                "By model, from the prices that come with RateGuard.",
            ),
        };
        choices.push(Choice::new(kind.as_str(), title, text));
    }
    let cost = form.get("cost").to_owned();
    html! {
        <Card title="Prices" note="What a call costs. Prices change nothing for calls that were made before.">
            <div class="stack">
                <PickField form={form.clone()} name="cost" label="How calls are priced" {choices} />
                if cost == "PER_REQUEST" {
                    <TextField form={form.clone()} name="perRequest" label="Price of a request" before="$" inputmode="decimal" placeholder="0.01" />
                } else if cost == "PER_TOKEN" {
                    <TokenPrices form={form.clone()} />
                }
                if let Some(fault) = form.fault_of("costModel") { <Notice tone={Tone::Bad}>{ fault.to_owned() }</Notice> }
            </div>
        </Card>
    }
}

#[component]
fn TokenPrices(props: &PartProps) -> Html {
    let form = &props.form;
    let count = rows(form);
    let add = {
        let form = form.dispatcher();
        Callback::from(move |_: MouseEvent| {
            for part in ["model", "input", "output", "cached"] {
                form.dispatch(Edit::Set(format!("models[{count}].{part}"), String::new()));
            }
        })
    };
    html! {
        <div class="stack">
            <p class="soft small">{ "In dollars per million tokens. The first model whose pattern matches wins; * stands for any run of characters." }</p>
            { for (0..count).map(|at| html! { <PriceRow key={at} form={form.clone()} {at} {count} /> }) }
            <div><Button small=true icon={Icon::Plus} disabled={count >= ROWS_MAX} onclick={add}>{ "Add a model" }</Button></div>
            <div class="grid-2">
                <TextField form={form.clone()} name="default.input" label="Input, every other model" before="$" after="/ 1M" inputmode="decimal" optional=true />
                <TextField form={form.clone()} name="default.output" label="Output, every other model" before="$" after="/ 1M" inputmode="decimal" optional=true />
            </div>
            <p class="hint">{ "Without it a model that no row matches has no price; the workspace's settings say what happens then." }</p>
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct RowProps {
    form: UseReducerHandle<Form>,
    at: usize,
    count: usize,
}

#[component]
fn PriceRow(props: &RowProps) -> Html {
    let (form, at, count) = (&props.form, props.at, props.count);
    let remove = {
        let form = form.clone();
        Callback::from(move |_: MouseEvent| {
            let parts = ["model", "input", "output", "cached"];
            for later in at + 1..count {
                for part in parts {
                    let value = form.get(&format!("models[{later}].{part}")).to_owned();
                    form.dispatch(Edit::Set(format!("models[{}].{part}", later - 1), value));
                }
            }
            for part in parts {
                form.dispatch(Edit::Remove(format!("models[{}].{part}", count - 1)));
            }
        })
    };
    let name = |part: &str| format!("models[{at}].{part}");
    html! {
        <div class="price-row">
            <TextField form={form.clone()} name={name("model")} label="Model" placeholder="gpt-4o-mini*" />
            <TextField form={form.clone()} name={name("input")} label="Input" before="$" inputmode="decimal" placeholder="0.15" />
            <TextField form={form.clone()} name={name("output")} label="Output" before="$" inputmode="decimal" placeholder="0.60" />
            <Button kind={Kind::Quiet} icon={Icon::Trash} label={format!("Remove row {}", at + 1)} onclick={remove} />
            if let Some(fault) = form.fault_of(&format!("models[{at}]")) { <p class="fault" role="alert">{ fault.to_owned() }</p> }
        </div>
    }
}

fn format_name(format: UsageFormat) -> &'static str {
    match format {
        UsageFormat::Auto => "Recognise by itself",
        UsageFormat::OpenAi => "OpenAI and compatible",
        UsageFormat::Anthropic => "Anthropic",
        UsageFormat::Gemini => "Gemini",
        UsageFormat::Bedrock => "Bedrock",
        UsageFormat::Cohere => "Cohere",
        UsageFormat::Generic => "Generic",
        UsageFormat::None => "None: answers are not read",
    }
}

#[component]
fn Details(props: &PartProps) -> Html {
    let form = &props.form;
    let formats: Vec<(AttrValue, AttrValue)> = UsageFormat::ALL
        .iter()
        .map(|format| (format.as_str().into(), format_name(*format).into()))
        .collect();
    html! {
        <Card title="Details">
            <div class="stack">
                <div class="grid-2">
                    <SelectField form={form.clone()} name="usageFormat" label="Usage in answers" options={formats} />
                    <TextField form={form.clone()} name="timeoutMs" label="Time-out" after="ms" inputmode="numeric"
                        hint="For an answer, or the first byte of a stream." />
                </div>
                <TextArea form={form.clone()} name="hosts" label="Hosts" optional=true placeholder="api.example.com"
                    hint="One a line. By these the filter recognises the API in an Envoy or mesh of your own." />
                <SwitchField form={form.clone()} name="isActive" label="On" hint="Off: calls to it are refused." />
                <SwitchField form={form.clone()} name="streamCostComment" label="Cost at the end of streams"
                    hint="Adds a last comment with the cost to event streams, for clients that do not read trailers." />
                <SwitchField form={form.clone()} name="forwardCookies" label="Forward cookies" hint="Off: they are removed before the upstream." />
            </div>
        </Card>
    }
}
