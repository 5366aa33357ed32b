//! Making and changing a rate limit. It offers what the data plane enforces, by the one table in the model.

use super::head::PageHead;
use super::rule_words::{algorithm_help, algorithm_name, scope_name, unit_name};
use super::rules::DeleteRule;
use crate::api::{Call, Loaded, use_load, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::go::use_leave;
use crate::ui::{
    Button, Card, CheckList, Failed, FormFoot, Icon, Kind, PickField, SelectField, Skeletons, SwitchField,
    TextField, use_guard, use_say,
};
use rateguard_api::api::Api;
use rateguard_api::decimal::{parse_fixed, show_fixed};
use rateguard_api::list::List;
use rateguard_api::name::{Algorithm, FailureMode, ScopeType, Unit};
use rateguard_api::rule::Rule;
use rateguard_model::{enforced, quota};
use serde_json::{Map, Value, json};
use std::rc::Rc;
use yew::prelude::*;

const FIELDS: [&str; 15] = [
    "name",
    "apiId",
    "endpoint",
    "methods",
    "scopes",
    "algorithm",
    "unit",
    "bucketSize",
    "refillRate",
    "limit",
    "windowMs",
    "priority",
    "enabled",
    "mode",
    "failureMode",
];

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

/// Amounts of money are shown in dollars and sent in cents.
fn to_field(value: i64, places: u32, unit: Unit) -> String {
    if unit == Unit::Cost {
        show_fixed(value, places + 2)
    } else {
        show_fixed(value, places)
    }
}

/// The amount as the API takes it, or nothing if it is none.
fn from_field(text: &str, places: u32, unit: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('$');
    let money = unit == Unit::Cost.as_str();
    let value = parse_fixed(text, if money { places + 2 } else { places }).ok()?;
    (value > 0).then(|| show_fixed(value, places))
}

fn values_of(rule: Option<&Rule>, default_failure_mode: FailureMode) -> Vec<(String, String)> {
    let names = |rule: &Rule| {
        rule.scopes
            .iter()
            .map(|scope| scope.kind.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let hops = |rule: &Rule| rule.scopes.iter().find_map(|scope| scope.trusted_hops);
    let named = |rule: &Rule, kind| {
        rule.scopes
            .iter()
            .find(|scope| scope.kind == kind)
            .and_then(|scope| scope.name.clone())
    };
    let unit = rule.map_or(Unit::Requests, |rule| rule.unit);
    let value = |name: &str, text: Option<String>, otherwise: &str| {
        (name.to_owned(), text.unwrap_or_else(|| otherwise.to_owned()))
    };
    vec![
        value("name", rule.map(|rule| rule.name.clone()), ""),
        value("apiId", rule.and_then(|rule| rule.api_id.clone()), ""),
        value("endpoint", rule.and_then(|rule| rule.endpoint.clone()), ""),
        value("methods", rule.map(|rule| rule.methods.join(",")), ""),
        value("scopes", rule.map(names), "PER_KEY"),
        value("hops", rule.and_then(hops).map(|hops| hops.to_string()), "0"),
        value(
            "header",
            rule.and_then(|rule| named(rule, ScopeType::PerHeader)),
            "",
        ),
        value("tag", rule.and_then(|rule| named(rule, ScopeType::PerTag)), ""),
        value(
            "algorithm",
            rule.map(|rule| rule.algorithm.to_string()),
            "SLIDING_WINDOW",
        ),
        value("unit", Some(unit.to_string()), ""),
        value(
            "bucketSize",
            rule.and_then(|rule| rule.bucket_size)
                .map(|amount| to_field(amount.0, 7, unit)),
            "100",
        ),
        value(
            "refillRate",
            rule.and_then(|rule| rule.refill_rate)
                .map(|rate| to_field(rate.0, 3, unit)),
            "10",
        ),
        value(
            "limit",
            rule.and_then(|rule| rule.limit)
                .map(|amount| to_field(amount.0, 7, unit)),
            "60",
        ),
        value(
            "windowMs",
            rule.and_then(|rule| rule.window_ms).map(|ms| ms.to_string()),
            "60000",
        ),
        value("priority", rule.map(|rule| rule.priority.to_string()), "0"),
        value("enabled", rule.map(|rule| rule.enabled.to_string()), "true"),
        value("mode", rule.map(|rule| rule.mode.to_string()), "enforce"),
        value(
            "failureMode",
            rule.map(|rule| rule.failure_mode.to_string()),
            default_failure_mode.as_str(),
        ),
        value(
            "sharedAcrossApis",
            rule.map(|rule| rule.shared_across_apis.to_string()),
            "false",
        ),
    ]
}

fn has_bucket(form: &Form) -> bool {
    form.get("algorithm") == Algorithm::TokenBucket.as_str()
}

fn has_window(form: &Form) -> bool {
    !has_bucket(form) && form.get("algorithm") != Algorithm::Concurrency.as_str()
}

fn scopes(form: &Form) -> Vec<Value> {
    let one = |kind: String| match kind.as_str() {
        "PER_IP" => match form.text("hops").parse::<u32>().unwrap_or(0) {
            0 => json!({ "type": kind }),
            hops => json!({ "type": kind, "trustedHops": hops }),
        },
        "PER_HEADER" => json!({ "type": kind, "name": form.text("header") }),
        "PER_TAG" => json!({ "type": kind, "name": form.text("tag") }),
        _ => json!({ "type": kind }),
    };
    form.list("scopes").into_iter().map(one).collect()
}

/// The whole rule: an update sends it all, since its parts belong together.
fn body(form: &Form) -> Result<Value, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut body = Map::new();
    let optional = |name: &str| match form.text(name) {
        "" => Value::Null,
        text => json!(text),
    };
    body.insert("name".to_owned(), json!(form.text("name")));
    body.insert("apiId".to_owned(), optional("apiId"));
    body.insert("endpoint".to_owned(), optional("endpoint"));
    body.insert("methods".to_owned(), json!(form.list("methods")));
    body.insert("scopes".to_owned(), json!(scopes(form)));
    for name in ["algorithm", "unit", "mode", "failureMode"] {
        body.insert(name.to_owned(), json!(form.get(name)));
    }
    let mut number = |name: &str, places: u32| match from_field(form.text(name), places, form.get("unit")) {
        Some(text) => drop(body.insert(name.to_owned(), json!(text))),
        None => faults.push((name.to_owned(), "Must be a number above 0.".to_owned())),
    };
    if has_bucket(form) {
        number("bucketSize", 7);
        number("refillRate", 3);
    } else {
        number("limit", 7);
    }
    if has_window(form) {
        body.insert(
            "windowMs".to_owned(),
            json!(form.get("windowMs").parse::<u64>().unwrap_or(0)),
        );
    }
    match form.text("priority").parse::<i32>() {
        Ok(priority) => drop(body.insert("priority".to_owned(), json!(priority))),
        Err(_) => faults.push(("priority".to_owned(), "Must be a whole number.".to_owned())),
    }
    body.insert("enabled".to_owned(), json!(form.is_on("enabled")));
    let shared = form.is_on("sharedAcrossApis") && form.text("apiId").is_empty();
    body.insert("sharedAcrossApis".to_owned(), json!(shared));
    if faults.is_empty() {
        Ok(Value::Object(body))
    } else {
        Err(faults)
    }
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub id: Option<String>,
}

#[component]
pub fn RuleEditor(props: &Props) -> Html {
    let here = &props.here;
    let path = props.id.as_ref().map(|id| here.path(&format!("/rules/{id}")));
    let load = use_load::<Rule>(path.map(Call::get));
    match (&props.id, &load.state) {
        (None, _) => {
            html! { <Editor here={here.clone()} stored={None::<Rc<Rule>>} tag={None::<String>} reload={Callback::noop()} /> }
        }
        (_, Loaded::Waiting) => html! { <div class="page"><Skeletons shape="tall" count={2} /></div> },
        (_, Loaded::Failed(failure)) => {
            html! { <div class="page"><Failed failure={failure.clone()} retry={load.reload.clone()} /></div> }
        }
        (_, Loaded::Ready(rule)) => html! {
            <Editor here={here.clone()} stored={Some(rule.clone())} tag={load.tag.clone()} reload={load.reload.clone()} />
        },
    }
}

#[derive(Properties, PartialEq)]
struct EditorProps {
    here: Rc<Here>,
    stored: Option<Rc<Rule>>,
    tag: Option<String>,
    reload: Callback<()>,
}

#[component]
fn Editor(props: &EditorProps) -> Html {
    let here = &props.here;
    let default_mode = here.workspace.settings.failure_mode;
    let form = use_reducer(|| Form::new(values_of(props.stored.as_deref(), default_mode)));
    let (send, say, leave) = (use_send(), use_say(), use_leave());
    let deleting = use_state_eq(|| false);
    use_guard(form.is_dirty());
    {
        let form = form.dispatcher();
        use_effect_with(props.stored.clone(), move |stored| {
            if stored.is_some() {
                form.dispatch(Edit::Load(values_of(stored.as_deref(), default_mode)));
            }
        });
    }
    let onsubmit = {
        let (form, send, here, leave) = (form.clone(), send.clone(), here.clone(), leave.clone());
        let (stored, tag, reload) = (props.stored.clone(), props.tag.clone(), props.reload.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = match &stored {
                Some(rule) => {
                    Call::patch(here.path(&format!("/rules/{}", rule.id)), body).based_on(tag.clone())
                }
                None => Call::post(here.path("/rules"), body),
            };
            let (form, say, leave, reload, made) = (
                form.clone(),
                say.clone(),
                leave.clone(),
                reload.clone(),
                stored.is_none(),
            );
            send.run::<Rule>(call, move |answer| match answer {
                Ok(rule) => {
                    form.dispatch(Edit::Saved);
                    say.emit(Say::Good(format!("{} is saved.", rule.name)));
                    if made {
                        leave.emit(Route::Rules);
                    } else {
                        reload.emit(());
                    }
                }
                Err(failure) => {
                    form.dispatch(Edit::Refused(
                        failure,
                        FIELDS.iter().map(|field| (*field).to_owned()).collect(),
                    ));
                }
            });
        })
    };
    let writes = here.can(Need::Write);
    let title = props
        .stored
        .as_ref()
        .map_or_else(|| "Add a rate limit".to_owned(), |rule| rule.name.clone());
    html! {
        <div class="page">
            <PageHead {title} text={html! { "Saving an edit starts with empty counters." }}>
                if let (Some(_), true) = (&props.stored, writes) {
                    <Button kind={Kind::Danger} icon={Icon::Trash} onclick={let deleting = deleting.clone(); move |_| deleting.set(true)}>{ "Delete…" }</Button>
                }
            </PageHead>
            <div class="editor">
                <form class="form" {onsubmit} novalidate=true>
                    <fieldset class="form" disabled={!writes}>
                        <Limit form={form.clone()} />
                        <Matching form={form.clone()} here={here.clone()} />
                        <Behaviour form={form.clone()} />
                    </fieldset>
                    if writes {
                        <FormFoot form={form.clone()} busy={send.busy} edit={props.stored.is_some()} back={Some(Route::Rules)}
                            action={if props.stored.is_some() { "Save" } else { "Add rate limit" }} reload={Some(props.reload.clone())} />
                    }
                </form>
                <Help form={form.clone()} />
            </div>
            if let (Some(rule), true) = (&props.stored, *deleting) {
                <DeleteRule here={here.clone()} rule={(**rule).clone()} onclose={let deleting = deleting.clone(); move |()| deleting.set(false)}
                    ondone={let leave = leave.clone(); move |()| leave.emit(Route::Rules)} />
            }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct PartProps {
    form: UseReducerHandle<Form>,
}

#[component]
fn Limit(props: &PartProps) -> Html {
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
        let text = window
            .parse()
            .map_or_else(|_| window.to_owned(), crate::show::number::span);
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
struct MatchingProps {
    form: UseReducerHandle<Form>,
    here: Rc<Here>,
}

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

#[component]
fn Matching(props: &MatchingProps) -> Html {
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
fn Behaviour(props: &PartProps) -> Html {
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
fn Help(props: &PartProps) -> Html {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::rule::{CreateRule, UpdateRule};
    use yew::Reducible;

    fn set(form: Rc<Form>, name: &str, value: &str) -> Rc<Form> {
        form.reduce(Edit::Set(name.to_owned(), value.to_owned()))
    }

    fn fresh() -> Rc<Form> {
        set(
            Rc::new(Form::new(values_of(None, FailureMode::FailOpen))),
            "name",
            "n",
        )
    }

    #[test]
    fn the_body_is_one_that_the_api_reads() {
        let window = body(&fresh()).unwrap();
        assert_eq!(window["limit"], "60");
        assert_eq!(window["windowMs"], 60_000);
        serde_json::from_value::<CreateRule>(window.clone()).unwrap();
        serde_json::from_value::<UpdateRule>(window).unwrap();
        let bucket = body(&set(fresh(), "algorithm", "TOKEN_BUCKET")).unwrap();
        assert_eq!(
            (&bucket["bucketSize"], &bucket["refillRate"]),
            (&json!("100"), &json!("10"))
        );
        assert_eq!(bucket.get("limit"), None);
        serde_json::from_value::<CreateRule>(bucket).unwrap();
    }

    #[test]
    fn money_is_typed_in_dollars_and_sent_in_cents() {
        let form = set(set(fresh(), "unit", "COST"), "limit", "5.5");
        assert_eq!(body(&form).unwrap()["limit"], "550");
        assert_eq!(to_field(5_500_000_000, 7, Unit::Cost), "5.5");
        assert_eq!(from_field("0", 7, "REQUESTS"), None);
        assert_eq!(from_field("many", 7, "REQUESTS"), None);
    }

    #[test]
    fn scopes_carry_what_belongs_to_them() {
        let form = set(
            set(set(fresh(), "scopes", "PER_IP,PER_TAG"), "hops", "2"),
            "tag",
            "team",
        );
        let expected = json!([{"type": "PER_IP", "trustedHops": 2}, {"type": "PER_TAG", "name": "team"}]);
        assert_eq!(json!(scopes(&form)), expected);
    }

    #[test]
    fn one_counter_for_all_is_only_for_rules_on_all() {
        let form = set(set(fresh(), "sharedAcrossApis", "true"), "apiId", "1");
        assert_eq!(body(&form).unwrap()["sharedAcrossApis"], false);
    }
}
