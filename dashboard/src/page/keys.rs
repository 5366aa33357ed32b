//! The list of keys, and what can be done with one.

use super::head::PageHead;
use crate::api::{Call, Failure, Ignored, Loaded, use_load, use_pages, use_send};
use crate::app::Here;
use crate::browser;
use crate::route::Route;
use crate::show::time::{ago, parse};
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::{
    Badge, Button, Column, Confirm, CopyField, Dialog, Empty, Failed, Glyph, Go, Icon, Kind, Menu, Notice,
    Pager, Row, SelectField, Skeletons, Table, Tone, use_go, use_say,
};
use rateguard_api::api::Api;
use rateguard_api::key::{Key, KeyWithSecret};
use rateguard_api::list::List;
use rateguard_api::name::{Environment, KeyStatus};
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// What is asked about one key.
#[derive(Clone, PartialEq)]
enum Asked {
    Rotate(Key),
    Revoke(Key),
    Delete(Key),
}

pub fn status_badge(key: &Key) -> Html {
    let (tone, text) = match key.status {
        KeyStatus::Active => (Tone::Good, "Active"),
        KeyStatus::Suspended => (Tone::Warn, "Suspended"),
        KeyStatus::Revoked => (Tone::Bad, "Revoked"),
        KeyStatus::Expired => (Tone::Plain, "Expired"),
    };
    html! { <Badge {tone} dot=true>{ text }</Badge> }
}

#[component]
pub fn Keys(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<Key>(Some(Call::get(here.path("/keys"))));
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis")).with("limit", "200")));
    let asked = use_state_eq(|| None::<Asked>);
    let (send, say, go) = (use_send(), use_say(), use_go());
    let reload = pages.load.reload.clone();
    let writes = here.can(Need::Write);
    let suspend = {
        let (send, say, reload, here) = (send.clone(), say.clone(), reload.clone(), here.clone());
        Callback::from(move |key: Key| {
            let (say, reload, name, on) = (say.clone(), reload.clone(), key.name.clone(), !key.is_active);
            let call = Call::patch(here.path(&format!("/keys/{}", key.id)), json!({ "isActive": on }));
            send.run::<Ignored>(call, move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!(
                        "{name} is {}.",
                        if on { "active again" } else { "suspended" }
                    )));
                    reload.emit(());
                }
                Err(failure) => say.emit(Say::Bad(failure.text())),
            });
        })
    };
    let new = html! { <Go to={Route::NewKey} class="btn primary"><Glyph icon={Icon::Plus} size={16} />{ "Create key" }</Go> };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() && pages.cursors.page() == 1 => html! {
            <Empty icon={Icon::Key} title="No key yet"
                text="Every application gets a key of its own, so that limits, budgets and costs can be told apart.">
                if writes { { new.clone() } }
            </Empty>
        },
        Loaded::Ready(list) => {
            let known = apis
                .state
                .ready()
                .map(|list| list.data.clone())
                .unwrap_or_default();
            let rows = list
                .data
                .iter()
                .map(|key| row(key, here, &known, writes, &suspend, &asked, &go))
                .collect::<Vec<_>>();
            let columns = vec![
                Column::left("Name"),
                Column::left("Key"),
                Column::left("State"),
                Column::left("APIs"),
                Column::left("Last used"),
                Column::left("Expires"),
            ];
            html! {
                <>
                    <Table label="Keys" {columns} {rows} search="Search keys" />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                </>
            }
        }
    };
    let onclose = {
        let asked = asked.clone();
        Callback::from(move |()| asked.set(None))
    };
    html! {
        <div class="page">
            <PageHead title="Keys" text={html! { "What applications identify themselves with. A key is shown once, when it is made; here you see how it begins." }}>
                if writes { { new } }
            </PageHead>
            { body }
            { match (*asked).clone() {
                None => html! {},
                Some(Asked::Rotate(key)) => html! { <Rotate here={here.clone()} key_={key} {onclose} ondone={reload} /> },
                Some(Asked::Revoke(key)) => html! { <Remove here={here.clone()} key_={key} revoke=true {onclose} ondone={reload} /> },
                Some(Asked::Delete(key)) => html! { <Remove here={here.clone()} key_={key} revoke=false {onclose} ondone={reload} /> },
            } }
        </div>
    }
}

fn api_words(key: &Key, apis: &[Api]) -> String {
    if key.allowed_api_ids.is_empty() {
        return "All".to_owned();
    }
    let names = key.allowed_api_ids.iter().map(|id| {
        apis.iter()
            .find(|api| &api.id == id)
            .map_or_else(|| "a deleted API".to_owned(), |api| api.name.clone())
    });
    names.collect::<Vec<_>>().join(", ")
}

fn row(
    key: &Key,
    here: &Rc<Here>,
    apis: &[Api],
    writes: bool,
    suspend: &Callback<Key>,
    asked: &UseStateHandle<Option<Asked>>,
    go: &Callback<Route>,
) -> Row {
    let route = Route::Key { id: key.id.clone() };
    let now = browser::now_ms() as i64;
    let used = key.last_used_at.as_deref().and_then(parse);
    let expires = key.expires_at.as_deref().and_then(parse);
    let ask = |wanted: Asked| {
        let asked = asked.clone();
        Callback::from(move |_: MouseEvent| asked.set(Some(wanted.clone())))
    };
    let final_state = key.status == KeyStatus::Revoked;
    let acts = html! {
        <Menu label={format!("Actions for {}", key.name)}>
            <button type="button" onclick={let (go, route) = (go.clone(), route.clone()); move |_| go.emit(route.clone())}>
                <Glyph icon={Icon::Edit} size={16} />{ if writes && !final_state { "Edit" } else { "Look at" } }</button>
            if writes {
                if !final_state {
                    <button type="button" onclick={ask(Asked::Rotate(key.clone()))}><Glyph icon={Icon::Rotate} size={16} />{ "Rotate…" }</button>
                    <button type="button" onclick={let (suspend, key) = (suspend.clone(), key.clone()); move |_| suspend.emit(key.clone())}>
                        <Glyph icon={if key.is_active { Icon::Pause } else { Icon::Play }} size={16} />{ if key.is_active { "Suspend" } else { "Activate" } }</button>
                    <hr />
                    <button type="button" class="bad" onclick={ask(Asked::Revoke(key.clone()))}><Glyph icon={Icon::Close} size={16} />{ "Revoke…" }</button>
                }
                <button type="button" class="bad" onclick={ask(Asked::Delete(key.clone()))}><Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
            }
        </Menu>
    };
    let name = html! {
        <div class="name"><Go to={route}>{ &key.name }</Go>
            if !key.tags.is_empty() {
                <div class="chips">{ for key.tags.iter().map(|(name, value)| html! { <Badge>{ format!("{name}={value}") }</Badge> }) }</div>
            }
        </div>
    };
    let prefix = html! {
        <span class="nowrap"><code>{ format!("{}…", key.prefix) }</code>
            if key.environment == Environment::Test { { " " }<Badge tone={Tone::Info}>{ "test" }</Badge> }</span>
    };
    let when = |ms: Option<i64>, otherwise: &str| {
        let text = ms.map_or_else(|| otherwise.to_owned(), |ms| ago(ms, now));
        let exact = ms.map(|ms| here.zone.civil(ms).date_clock());
        html! { <span class="nowrap" title={exact}>{ text }</span> }
    };
    let sort = |ms: Option<i64>| ms.map_or(SortKey::Missing, |ms| SortKey::Number(ms as f64));
    let words = api_words(key, apis);
    Row {
        key: key.id.clone(),
        search: format!("{} {} {} {:?}", key.name, key.prefix, words, key.tags),
        cells: vec![
            (name, SortKey::Text(key.name.clone())),
            (prefix, SortKey::Text(key.prefix.clone())),
            (status_badge(key), SortKey::Text(key.status.to_string())),
            (html! { <span>{ &words }</span> }, SortKey::Text(words.clone())),
            (when(used, "Never"), sort(used)),
            (when(expires, "Never"), sort(expires)),
        ],
        acts,
    }
}

#[derive(Properties, PartialEq)]
struct AskProps {
    here: Rc<Here>,
    key_: Key,
    #[prop_or_default]
    revoke: bool,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

/// Revoking or deleting.
#[component]
fn Remove(props: &AskProps) -> Html {
    let (send, say) = (use_send(), use_say());
    let fault = use_state(|| None::<AttrValue>);
    let (key, revoke) = (&props.key_, props.revoke);
    let onconfirm = {
        let (send, fault, name) = (send.clone(), fault.clone(), key.name.clone());
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        let path = props.here.path(&format!("/keys/{}", key.id));
        Callback::from(move |()| {
            let (say, fault, name, onclose, ondone) = (
                say.clone(),
                fault.clone(),
                name.clone(),
                onclose.clone(),
                ondone.clone(),
            );
            let call = if revoke {
                Call::post(format!("{path}/revoke"), json!({}))
            } else {
                Call::delete(path.clone())
            };
            send.run::<Ignored>(call, move |answer: Result<Ignored, Failure>| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!(
                        "{name} is {}.",
                        if revoke { "revoked" } else { "deleted" }
                    )));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    let (title, action) = if revoke {
        ("Revoke this key?", "Revoke key")
    } else {
        ("Delete this key?", "Delete key")
    };
    html! {
        <Confirm {title} name={key.name.clone()} {action} busy={send.busy} fault={(*fault).clone()} {onconfirm} onclose={props.onclose.clone()}>
            if revoke {
                <p>{ "Whoever uses it is refused from then on. It stays in this list, and cannot be made valid again." }</p>
            } else {
                <p>{ "Whoever uses it is refused from then on, and it leaves this list. What it cost stays in the history under its name. This cannot be undone." }</p>
            }
        </Confirm>
    }
}

/// How long the old secret stays valid, in seconds.
const OVERLAPS: [(&str, &str); 6] = [
    ("0", "Not at all"),
    ("300", "5 minutes"),
    ("3600", "1 hour"),
    ("86400", "1 day"),
    ("604800", "7 days"),
    ("2592000", "30 days"),
];

#[component]
fn Rotate(props: &AskProps) -> Html {
    let form = use_reducer(|| Form::new([("overlapSeconds", "3600")]));
    let made = use_state(|| None::<AttrValue>);
    let send = use_send();
    let key = &props.key_;
    let onsubmit = {
        let (send, form, made, ondone) = (send.clone(), form.clone(), made.clone(), props.ondone.clone());
        let path = props.here.path(&format!("/keys/{}/rotate", key.id));
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let overlap = form.get("overlapSeconds").parse::<u32>().unwrap_or(0);
            let (form, made, ondone) = (form.clone(), made.clone(), ondone.clone());
            send.run::<KeyWithSecret>(
                Call::post(path.clone(), json!({ "overlapSeconds": overlap })),
                move |answer| match answer {
                    Ok(rotated) => {
                        made.set(Some(rotated.key.into()));
                        ondone.emit(());
                    }
                    Err(failure) => form.dispatch(Edit::Refused(failure, vec!["overlapSeconds".to_owned()])),
                },
            );
        })
    };
    if let Some(secret) = (*made).clone() {
        return html! { <Secret title="The new key" {secret} ondone={props.onclose.clone()} /> };
    }
    let options: Vec<(AttrValue, AttrValue)> = OVERLAPS
        .iter()
        .map(|(value, text)| ((*value).into(), (*text).into()))
        .collect();
    html! {
        <Dialog title={format!("Rotate {}", key.name)} onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <p>{ "The key gets a new secret. Its limits, budget and history stay." }</p>
                <SelectField form={form.clone()} name="overlapSeconds" label="The old secret stays valid for" {options}
                    hint="Time to put the new one into every place that has the old." />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Rotate key" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

#[derive(Properties, PartialEq)]
pub struct SecretProps {
    pub title: AttrValue,
    pub secret: AttrValue,
    #[prop_or("It is shown this once. Copy it now, and keep it where secrets are kept.".into())]
    pub text: AttrValue,
    pub ondone: Callback<()>,
}

/// A secret, this once: the dialog goes only by its button.
#[component]
pub fn Secret(props: &SecretProps) -> Html {
    html! {
        <Dialog title={props.title.clone()} onclose={props.ondone.clone()} firm=true>
            <p>{ &props.text }</p>
            <CopyField text={props.secret.clone()} what={props.title.clone()} loud=true />
            <footer><Button kind={Kind::Primary} id="secret-kept" onclick={props.ondone.reform(|_| ())}>{ "I have kept it" }</Button></footer>
        </Dialog>
    }
}
