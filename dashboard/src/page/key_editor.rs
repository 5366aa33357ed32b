//! Making and changing a key.

use super::head::PageHead;
use super::keys::{Secret, status_badge};
use crate::api::{Call, Ignored, Loaded, use_load, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::show::time::{Civil, parse, rfc3339};
use crate::show::zone::Zone;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::go::use_leave;
use crate::ui::{
    Card, CheckList, Failed, FormFoot, Notice, PickField, Skeletons, TextArea, TextField, Tone, use_guard,
    use_say,
};
use rateguard_api::api::Api;
use rateguard_api::key::{Key, KeyWithSecret};
use rateguard_api::list::List;
use rateguard_api::name::KeyStatus;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use yew::prelude::*;

const FIELDS: [&str; 6] = [
    "name",
    "environment",
    "expiresAt",
    "allowedApiIds",
    "allowedModels",
    "tags",
];

fn values_of(key: Option<&Key>, zone: &Zone) -> Vec<(String, String)> {
    let expires = key
        .and_then(|key| parse(key.expires_at.as_deref()?))
        .map(|ms| zone.civil(ms).for_field());
    let tags = key.map(|key| {
        key.tags
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("\n")
    });
    [
        ("name", key.map(|key| key.name.clone())),
        (
            "environment",
            Some(key.map_or_else(|| "live".to_owned(), |key| key.environment.to_string())),
        ),
        ("expiresAt", expires),
        ("allowedApiIds", key.map(|key| key.allowed_api_ids.join(","))),
        ("allowedModels", key.map(|key| key.allowed_models.join("\n"))),
        ("tags", tags),
    ]
    .map(|(name, value)| (name.to_owned(), value.unwrap_or_default()))
    .to_vec()
}

/// `team=search`, one a line.
fn tags(lines: &[String]) -> Result<BTreeMap<&str, &str>, String> {
    lines
        .iter()
        .map(|line| {
            line.split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| "Each line must be name=value.".to_owned())
}

/// A time of a field of type datetime-local as milliseconds since 1970.
fn moment(text: &str, zone: &Zone) -> Option<i64> {
    let as_utc = parse(&format!("{text}:00Z"))?;
    Some(zone.instant(Civil::of_local_ms(as_utc)))
}

fn body(form: &Form, edit: bool, zone: &Zone) -> Result<Value, Vec<(String, String)>> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        if !edit || form.changed(name) {
            body.insert(name.to_owned(), value);
        }
    };
    put("name", json!(form.text("name")));
    if !edit {
        put("environment", json!(form.get("environment")));
    }
    let expires = form.text("expiresAt");
    if expires.is_empty() {
        put("expiresAt", Value::Null);
    } else {
        let ms = moment(expires, zone)
            .ok_or_else(|| vec![("expiresAt".to_owned(), "Must be a date and a time.".to_owned())])?;
        put("expiresAt", json!(rfc3339(ms)));
    }
    put("allowedApiIds", json!(form.list("allowedApiIds")));
    put("allowedModels", json!(form.list("allowedModels")));
    let lines = form.list("tags");
    let tags = tags(&lines).map_err(|fault| vec![("tags".to_owned(), fault)])?;
    put("tags", json!(tags));
    Ok(Value::Object(body))
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub id: Option<String>,
}

#[component]
pub fn KeyEditor(props: &Props) -> Html {
    let here = &props.here;
    let path = props.id.as_ref().map(|id| here.path(&format!("/keys/{id}")));
    let load = use_load::<Key>(path.map(Call::get));
    match (&props.id, &load.state) {
        (None, _) => {
            html! { <Editor here={here.clone()} stored={None::<Rc<Key>>} tag={None::<String>} reload={Callback::noop()} /> }
        }
        (_, Loaded::Waiting) => html! { <div class="page"><Skeletons shape="tall" count={2} /></div> },
        (_, Loaded::Failed(failure)) => {
            html! { <div class="page"><Failed failure={failure.clone()} retry={load.reload.clone()} /></div> }
        }
        (_, Loaded::Ready(key)) => html! {
            <Editor here={here.clone()} stored={Some(key.clone())} tag={load.tag.clone()} reload={load.reload.clone()} />
        },
    }
}

#[derive(Properties, PartialEq)]
struct EditorProps {
    here: Rc<Here>,
    stored: Option<Rc<Key>>,
    tag: Option<String>,
    reload: Callback<()>,
}

#[component]
fn Editor(props: &EditorProps) -> Html {
    let here = &props.here;
    let form = use_reducer(|| Form::new(values_of(props.stored.as_deref(), &here.zone)));
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis")).with("limit", "200")));
    let made = use_state(|| None::<AttrValue>);
    let (send, say, leave) = (use_send(), use_say(), use_leave());
    use_guard(form.is_dirty());
    {
        let (form, zone) = (form.dispatcher(), here.zone.clone());
        use_effect_with(props.stored.clone(), move |stored| {
            if stored.is_some() {
                form.dispatch(Edit::Load(values_of(stored.as_deref(), &zone)));
            }
        });
    }
    let known: Vec<String> = FIELDS.iter().map(|field| (*field).to_owned()).collect();
    let onsubmit =
        {
            let (form, send, here, made) = (form.clone(), send.clone(), here.clone(), made.clone());
            let (stored, tag, reload) = (props.stored.clone(), props.tag.clone(), props.reload.clone());
            Callback::from(move |event: SubmitEvent| {
                event.prevent_default();
                let body = match body(&form, stored.is_some(), &here.zone) {
                    Ok(body) => body,
                    Err(faults) => return form.dispatch(Edit::Faults(faults)),
                };
                let (form, known, say, reload, made) = (
                    form.clone(),
                    known.clone(),
                    say.clone(),
                    reload.clone(),
                    made.clone(),
                );
                match &stored {
                    Some(key) => {
                        let call =
                            Call::patch(here.path(&format!("/keys/{}", key.id)), body).based_on(tag.clone());
                        send.run::<Ignored>(call, move |answer| match answer {
                            Ok(_) => {
                                form.dispatch(Edit::Saved);
                                say.emit(Say::Good("The key is saved.".to_owned()));
                                reload.emit(());
                            }
                            Err(failure) => form.dispatch(Edit::Refused(failure, known)),
                        });
                    }
                    None => send.run::<KeyWithSecret>(Call::post(here.path("/keys"), body), move |answer| {
                        match answer {
                            Ok(created) => {
                                form.dispatch(Edit::Saved);
                                made.set(Some(created.key.into()));
                            }
                            Err(failure) => form.dispatch(Edit::Refused(failure, known)),
                        }
                    }),
                }
            })
        };
    let revoked = props
        .stored
        .as_ref()
        .is_some_and(|key| key.status == KeyStatus::Revoked);
    let writes = here.can(Need::Write) && !revoked;
    let title = props
        .stored
        .as_ref()
        .map_or_else(|| "Create a key".to_owned(), |key| key.name.clone());
    let text = match &props.stored {
        Some(key) => html! { <>{ status_badge(key) }{ " " }<code>{ format!("{}…", key.prefix) }</code>
        { format!(" · made {}", here.zone.show(&key.created_at)) }</> },
        None => html! { "For one application, or one person. It is shown once, right after." },
    };
    html! {
        <div class="page narrow">
            <PageHead {title} {text} />
            if revoked { <Notice tone={Tone::Bad}>{ "This key is revoked: it can be read here, not changed." }</Notice> }
            <form class="form" {onsubmit} novalidate=true>
                <fieldset class="form" disabled={!writes}>
                    <Identity form={form.clone()} edit={props.stored.is_some()} zone={here.zone.clone()} />
                    <Reach form={form.clone()} apis={apis.state.ready().map(|list| list.data.clone()).unwrap_or_default()} />
                </fieldset>
                if writes {
                    <FormFoot form={form.clone()} busy={send.busy} edit={props.stored.is_some()} back={Some(Route::Keys)}
                        action={if props.stored.is_some() { "Save" } else { "Create key" }} reload={Some(props.reload.clone())} />
                }
            </form>
            if let Some(secret) = (*made).clone() {
                <Secret title="Your new key" {secret} ondone={let leave = leave.clone(); move |()| leave.emit(Route::Keys)} />
            }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct IdentityProps {
    form: UseReducerHandle<Form>,
    edit: bool,
    zone: Zone,
}

#[component]
fn Identity(props: &IdentityProps) -> Html {
    let form = &props.form;
    let choices = vec![
        Choice::new("live", "Live", "rg_live_…"),
        Choice::new("test", "Test", "rg_test_…, told apart in costs and charts."),
    ];
    html! {
        <Card>
            <div class="stack">
                <TextField form={form.clone()} name="name" label="Name" placeholder="Billing service" focus={!props.edit} />
                if !props.edit { <PickField form={form.clone()} name="environment" label="Environment" {choices} /> }
                <TextField form={form.clone()} name="expiresAt" label="Expires" kind="datetime-local" optional=true
                    hint={format!("In the workspace's zone, {}. Left empty it never does.", props.zone.name)} />
                <TextArea form={form.clone()} name="tags" label="Tags" optional=true placeholder={"team=search\ncost-centre=4711"}
                    hint="One name=value a line. Costs can be told apart by them." />
            </div>
        </Card>
    }
}

#[derive(Properties, PartialEq)]
struct ReachProps {
    form: UseReducerHandle<Form>,
    apis: Vec<Api>,
}

#[component]
fn Reach(props: &ReachProps) -> Html {
    let options: Vec<(AttrValue, AttrValue)> = props
        .apis
        .iter()
        .map(|api| {
            (
                api.id.clone().into(),
                format!("{} (/proxy/{})", api.name, api.slug).into(),
            )
        })
        .collect();
    html! {
        <Card title="What it may call">
            <div class="stack">
                if options.is_empty() {
                    <p class="soft">{ "Every API of the workspace." }</p>
                } else {
                    <CheckList form={props.form.clone()} name="allowedApiIds" label="APIs" hint="None chosen: every API of the workspace." {options} />
                }
                <TextArea form={props.form.clone()} name="allowedModels" label="Models" optional=true placeholder="gpt-4o-mini*"
                    hint="One pattern a line, * stands for any run of characters. Left empty: every model." />
            </div>
        </Card>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            tags(&lines("team = search\na=b=c")).unwrap(),
            BTreeMap::from([("team", "search"), ("a", "b=c")])
        );
        assert!(tags(&lines("team")).is_err());
    }
}
