//! Making and changing an API.

use super::api_presets::{PRESETS, preset};
use super::apis::DeleteApi;
use super::head::PageHead;
use super::snippets::Snippets;
use crate::api::{Call, Loaded, use_load, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::show::money::{cents_of_dollars, dollars_for_field, per_million, per_thousand};
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
use serde_json::{Map, Value, json};
use std::rc::Rc;
use yew::prelude::*;

/// Names of the fields as the API spells them.
const FIELDS: [&str; 13] = [
    "name",
    "slug",
    "baseUrl",
    "hosts",
    "authType",
    "authHeaderName",
    "credential",
    "usageFormat",
    "timeoutMs",
    "forwardCookies",
    "streamCostComment",
    "isActive",
    "costModel",
];
/// Rows of prices that the form shows.
const ROWS_MAX: usize = 100;

/// A form with the values of an API.
fn values_of(api: &Api) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = [
        ("name", api.name.clone()),
        ("slug", api.slug.clone()),
        ("baseUrl", api.base_url.clone()),
        ("hosts", api.hosts.join("\n")),
        ("authType", api.auth_type.to_string()),
        ("authHeaderName", api.auth_header_name.clone().unwrap_or_default()),
        ("credential", String::new()),
        ("usageFormat", api.usage_format.to_string()),
        ("timeoutMs", api.timeout_ms.to_string()),
        ("forwardCookies", api.forward_cookies.to_string()),
        ("streamCostComment", api.stream_cost_comment.to_string()),
        ("isActive", api.is_active.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let mut put = |name: String, value: String| values.push((name, value));
    let Some(model) = &api.cost_model else {
        put("cost".to_owned(), "NONE".to_owned());
        return values;
    };
    put("cost".to_owned(), model.kind.to_string());
    if let Some(cost) = model.cost_cents_per_request {
        put("perRequest".to_owned(), dollars_for_field(cost));
    }
    if let Some(prices) = model.default {
        put(
            "default.input".to_owned(),
            per_million(prices.input_cost_per_1k_tokens).unwrap_or_default(),
        );
        put(
            "default.output".to_owned(),
            per_million(prices.output_cost_per_1k_tokens).unwrap_or_default(),
        );
    }
    for (at, entry) in model.models.iter().flatten().enumerate() {
        put(format!("models[{at}].model"), entry.model.clone());
        put(
            format!("models[{at}].input"),
            per_million(entry.input_cost_per_1k_tokens).unwrap_or_default(),
        );
        put(
            format!("models[{at}].output"),
            per_million(entry.output_cost_per_1k_tokens).unwrap_or_default(),
        );
        let cached = entry
            .cached_input_cost_per_1k_tokens
            .and_then(per_million)
            .unwrap_or_default();
        put(format!("models[{at}].cached"), cached);
    }
    values
}

fn values_of_preset(id: &str) -> Vec<(String, String)> {
    let preset = preset(id);
    let priced = if preset.usage_format == UsageFormat::None {
        "PER_REQUEST"
    } else {
        "NONE"
    };
    [
        ("preset", preset.id),
        ("name", preset.name),
        ("slug", ""),
        ("baseUrl", preset.base_url),
        ("hosts", preset.hosts),
        ("authType", preset.auth_type.as_str()),
        ("authHeaderName", preset.header),
        ("credential", ""),
        ("usageFormat", preset.usage_format.as_str()),
        ("timeoutMs", preset.timeout_ms),
        ("forwardCookies", "false"),
        ("streamCostComment", "false"),
        ("isActive", "true"),
        ("cost", priced),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// How many rows of prices the form has.
fn rows(form: &Form) -> usize {
    (0..ROWS_MAX)
        .take_while(|at| form.has(&format!("models[{at}].model")))
        .count()
}

/// The cost model that the form describes, or what is wrong with it. `kept` are prices that this form does not show:
/// they stay as they are.
fn cost_model(form: &Form, kept: Option<&Value>) -> Result<Value, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut price = |name: String, needed: bool| -> Option<String> {
        let text = form.text(&name).to_owned();
        if text.is_empty() && !needed {
            return None;
        }
        let price = per_thousand(&text);
        if price.is_none() {
            faults.push((name, "Must be an amount in dollars, such as 2.50.".to_owned()));
        }
        price
    };
    let model = match form.get("cost") {
        "PER_REQUEST" => match cents_of_dollars(form.text("perRequest")) {
            Some(cents) => json!({ "type": "PER_REQUEST", "costCentsPerRequest": cents }),
            None => {
                return Err(vec![(
                    "perRequest".to_owned(),
                    "Must be an amount in dollars, such as 0.01.".to_owned(),
                )]);
            }
        },
        "PER_TOKEN" => {
            let mut model = json!({ "type": "PER_TOKEN" });
            if !form.text("default.input").is_empty() || !form.text("default.output").is_empty() {
                let mut prices = kept_prices(kept.and_then(|kept| kept.get("default")));
                prices.insert(
                    "inputCostPer1kTokens".to_owned(),
                    json!(price("default.input".to_owned(), true)),
                );
                prices.insert(
                    "outputCostPer1kTokens".to_owned(),
                    json!(price("default.output".to_owned(), true)),
                );
                model["default"] = Value::Object(prices);
            }
            let mut models = Vec::new();
            for at in 0..rows(form) {
                let name = form.text(&format!("models[{at}].model"));
                let before = kept.and_then(|kept| {
                    kept.get("models")?
                        .as_array()?
                        .iter()
                        .find(|entry| entry["model"] == name)
                });
                let mut prices = kept_prices(before);
                prices.insert("model".to_owned(), json!(name));
                prices.insert(
                    "inputCostPer1kTokens".to_owned(),
                    json!(price(format!("models[{at}].input"), true)),
                );
                prices.insert(
                    "outputCostPer1kTokens".to_owned(),
                    json!(price(format!("models[{at}].output"), true)),
                );
                match price(format!("models[{at}].cached"), false) {
                    Some(cached) => prices.insert("cachedInputCostPer1kTokens".to_owned(), json!(cached)),
                    None => prices.remove("cachedInputCostPer1kTokens"),
                };
                models.push(Value::Object(prices));
            }
            model["models"] = Value::Array(models);
            model
        }
        "NONE" => Value::Null,
        other => kept.cloned().unwrap_or_else(|| json!({ "type": other })),
    };
    if faults.is_empty() { Ok(model) } else { Err(faults) }
}

fn kept_prices(before: Option<&Value>) -> Map<String, Value> {
    let mut prices = before.and_then(Value::as_object).cloned().unwrap_or_default();
    // The one number that is no price.
    if let Some(tokens) = prices
        .get("defaultOutputTokens")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<u32>().ok())
    {
        prices.insert("defaultOutputTokens".to_owned(), json!(tokens));
    }
    prices
}

/// The body of a creation or, with the stored API, of an update: what has not changed is left out.
fn body(form: &Form, stored: Option<&Api>) -> Result<Value, Vec<(String, String)>> {
    let mut body = Map::new();
    let edit = stored.is_some();
    let mut put = |name: &str, value: Value| {
        if !edit || form.changed(name) {
            body.insert(name.to_owned(), value);
        }
    };
    put("name", json!(form.text("name")));
    if edit || !form.text("slug").is_empty() {
        put("slug", json!(form.text("slug")));
    }
    put("baseUrl", json!(form.text("baseUrl")));
    put("hosts", json!(form.list("hosts")));
    put("authType", json!(form.get("authType")));
    let header = (form.get("authType") == "API_KEY_HEADER").then(|| form.text("authHeaderName"));
    if edit && form.changed("authType") {
        body.insert("authHeaderName".to_owned(), json!(header));
    } else {
        put("authHeaderName", json!(header));
    }
    let has_credential = form.get("authType") != AuthType::None.as_str();
    if has_credential && !form.get("credential").is_empty() {
        body.insert("credential".to_owned(), json!(form.text("credential")));
    } else if edit && form.changed("authType") && !has_credential {
        body.insert("credential".to_owned(), Value::Null);
    }
    let mut put = |name: &str, value: Value| {
        if !edit || form.changed(name) {
            body.insert(name.to_owned(), value);
        }
    };
    put("usageFormat", json!(form.get("usageFormat")));
    match form.text("timeoutMs").parse::<u32>() {
        Ok(timeout) => put("timeoutMs", json!(timeout)),
        Err(_) => {
            return Err(vec![(
                "timeoutMs".to_owned(),
                "Must be a whole number of milliseconds.".to_owned(),
            )]);
        }
    }
    for name in ["forwardCookies", "streamCostComment", "isActive"] {
        put(name, json!(form.is_on(name)));
    }
    let kept = stored.and_then(|api| serde_json::to_string(&api.cost_model).ok());
    let kept: Option<Value> = kept.and_then(|text| serde_json::from_str(&exact(&text)).ok());
    let model = cost_model(form, kept.as_ref())?;
    if !edit || cost_changed(form) {
        body.insert("costModel".to_owned(), model);
    }
    Ok(Value::Object(body))
}

/// Numbers as strings, so that a `Value` keeps prices exact.
fn exact(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 16);
    let (mut quoted, mut escaped, mut number) = (false, false, false);
    for letter in json.chars() {
        let of_number =
            !quoted && (letter.is_ascii_digit() || (number && matches!(letter, '.' | 'e' | 'E' | '-' | '+')));
        if of_number != number {
            text.push('"');
            number = of_number;
        }
        text.push(letter);
        if quoted && !escaped && letter == '\\' {
            escaped = true;
            continue;
        }
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = false;
    }
    text
}

fn cost_changed(form: &Form) -> bool {
    ["cost", "perRequest", "default.input", "default.output"]
        .iter()
        .any(|name| form.changed(name))
        || (0..=rows(form)).any(|at| {
            ["model", "input", "output", "cached"]
                .iter()
                .any(|part| form.changed(&format!("models[{at}].{part}")))
        })
}

fn known(form: &Form) -> Vec<String> {
    let rows = (0..rows(form)).map(|at| format!("models[{at}]"));
    let auth = form.get("authType");
    let shown = |field: &&&str| match **field {
        "authHeaderName" => auth == AuthType::ApiKeyHeader.as_str(),
        "credential" => auth != AuthType::None.as_str(),
        _ => true,
    };
    let fields = FIELDS.iter().filter(shown).map(|field| (*field).to_owned());
    fields.chain(rows).collect()
}

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
            <form class="form" {onsubmit}>
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::form::Form;
    use rateguard_api::api::{CreateApi, UpdateApi};
    use yew::Reducible;

    fn stored() -> Api {
        serde_json::from_value(json!({
            "id": "1", "name": "OpenAI", "slug": "openai", "baseUrl": "https://api.openai.com/v1", "hosts": ["a", "b"],
            "authType": "API_KEY_HEADER", "authHeaderName": "x-api-key", "hasCredential": true, "usageFormat": "openai",
            "costModel": null, "priceVersion": "", "timeoutMs": 600_000, "forwardCookies": false,
            "streamCostComment": false, "isActive": true, "createdAt": "", "updatedAt": "",
        }))
        .unwrap()
    }

    fn priced() -> Api {
        let model = r#"{"type":"PER_TOKEN","models":[{"model":"gpt-4o*","inputCostPer1kTokens":0.25,
            "outputCostPer1kTokens":1,"reasoningCostPer1kTokens":0.0000001,"defaultOutputTokens":500}]}"#;
        Api {
            cost_model: serde_json::from_str(model).unwrap(),
            ..stored()
        }
    }

    fn set(form: Rc<Form>, name: &str, value: &str) -> Rc<Form> {
        form.reduce(Edit::Set(name.to_owned(), value.to_owned()))
    }

    #[test]
    fn every_preset_makes_a_body_that_the_api_reads() {
        for preset in &PRESETS {
            let form = Rc::new(Form::new(values_of_preset(preset.id)));
            let form = set(set(form, "cost", "NONE"), "credential", "secret");
            let body = body(&form, None).unwrap();
            serde_json::from_value::<CreateApi>(body).unwrap();
        }
    }

    #[test]
    fn an_update_carries_only_what_changed() {
        let api = stored();
        let form = Rc::new(Form::new(values_of(&api)));
        assert_eq!(body(&form, Some(&api)).unwrap(), json!({}));
        let form = set(set(form, "name", "B"), "authType", "BEARER");
        let body = body(&form, Some(&api)).unwrap();
        assert_eq!(
            body,
            json!({"name": "B", "authType": "BEARER", "authHeaderName": null})
        );
        serde_json::from_value::<UpdateApi>(body).unwrap();
    }

    #[test]
    fn prices_that_the_form_does_not_show_stay_exact() {
        let api = priced();
        let form = Rc::new(Form::new(values_of(&api)));
        assert_eq!(form.get("models[0].input"), "2.5");
        let form = set(form, "models[0].input", "3");
        let model = body(&form, Some(&api)).unwrap()["costModel"].clone();
        assert_eq!(model["models"][0]["inputCostPer1kTokens"], "0.3");
        assert_eq!(model["models"][0]["reasoningCostPer1kTokens"], "0.0000001");
        serde_json::from_value::<UpdateApi>(json!({ "costModel": model })).unwrap();
    }

    #[test]
    fn bad_prices_are_named() {
        let form = Rc::new(Form::new(values_of_preset("openai")));
        let form = set(set(form, "cost", "PER_REQUEST"), "perRequest", "cheap");
        assert_eq!(body(&form, None).unwrap_err()[0].0, "perRequest");
        let form = set(
            set(set(form, "cost", "PER_TOKEN"), "models[0].model", "m"),
            "models[0].input",
            "1",
        );
        assert_eq!(body(&form, None).unwrap_err()[0].0, "models[0].output");
    }

    #[test]
    fn numbers_become_strings() {
        assert_eq!(
            exact(r#"{"a":1.5e-3,"b":[0],"c":"1\"2","d":true}"#),
            r#"{"a":"1.5e-3","b":["0"],"c":"1\"2","d":true}"#
        );
    }
}
