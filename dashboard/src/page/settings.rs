//! The workspace's settings, its access tokens, its end.

use super::budgets::windows;
use super::head::PageHead;
use super::keys::Secret;
use crate::api::{Call, Ignored, Loaded, use_load, use_pages, use_send};
use crate::app::{Here, SessionHandle};
use crate::route::Route;
use crate::show::money::{cents_of_dollars, dollars_for_field};
use crate::show::time::{Civil, parse};
use crate::show::zone;
use crate::state::form::{Edit, Form};
use crate::state::permission::{Need, role_name};
use crate::state::session::Change;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::go::use_leave;
use crate::ui::{
    Badge, Button, Card, Column, Confirm, Dialog, Empty, Failed, FormFoot, Icon, Kind, Notice, Pager,
    PickField, Row, SelectField, Skeletons, SwitchField, Table, Tabs, TextField, Tone, use_guard, use_say,
};
use rateguard_api::access_token::{AccessToken, AccessTokenWithSecret};
use rateguard_api::name::{BudgetWindow, Role};
use rateguard_api::workspace::Workspace;
use serde_json::{Map, Value, json};
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Settings(props: &Props) -> Html {
    let chosen = use_state_eq(|| 0_usize);
    let onchoose = {
        let chosen = chosen.clone();
        Callback::from(move |at| chosen.set(at))
    };
    html! {
        <div class="page narrow">
            <PageHead title="Settings" text={html! { format!("Of the workspace {}.", props.here.workspace.name) }} />
            <Tabs label="Settings" names={vec!["Workspace".into(), "Access tokens".into()]} chosen={*chosen} {onchoose}>
                if *chosen == 0 {
                    <div class="stack loose">
                        <General here={props.here.clone()} />
                        if props.here.can(Need::Own) { <End here={props.here.clone()} /> }
                    </div>
                } else {
                    <Tokens here={props.here.clone()} />
                }
            </Tabs>
        </div>
    }
}

const FIELDS: [&str; 8] = [
    "name",
    "slug",
    "settings.timeZone",
    "settings.unpricedModelPolicy",
    "settings.failureMode",
    KEY_LIMIT,
    KEY_WINDOW,
    KEY_SHUTOFF,
];

const KEY_LIMIT: &str = "settings.defaultKeyBudget.limitCents";
const KEY_WINDOW: &str = "settings.defaultKeyBudget.window";
const KEY_SHUTOFF: &str = "settings.defaultKeyBudget.autoShutoff";

fn values_of(workspace: &Workspace) -> Vec<(String, String)> {
    let key = workspace.settings.default_key_budget;
    [
        ("name", workspace.name.clone()),
        ("slug", workspace.slug.clone()),
        ("settings.timeZone", workspace.settings.time_zone.clone()),
        (
            "settings.unpricedModelPolicy",
            workspace.settings.unpriced_model_policy.to_string(),
        ),
        (
            "settings.failureMode",
            workspace.settings.failure_mode.to_string(),
        ),
        (
            KEY_LIMIT,
            key.map(|key| dollars_for_field(key.limit_cents))
                .unwrap_or_default(),
        ),
        (
            KEY_WINDOW,
            key.map_or(BudgetWindow::Month, |key| key.window).to_string(),
        ),
        (KEY_SHUTOFF, key.is_none_or(|key| key.auto_shutoff).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn body(form: &Form) -> Result<Value, Vec<(String, String)>> {
    let (mut body, mut settings) = (Map::new(), Map::new());
    for name in FIELDS.iter().filter(|name| form.changed(name)) {
        match name.strip_prefix("settings.") {
            Some(setting) if setting.contains('.') => {
                settings.insert("defaultKeyBudget".to_owned(), default_key_budget(form)?);
            }
            Some(setting) => {
                settings.insert(setting.to_owned(), json!(form.text(name)));
            }
            None => {
                body.insert((*name).to_owned(), json!(form.text(name)));
            }
        }
    }
    if !settings.is_empty() {
        body.insert("settings".to_owned(), settings.into());
    }
    Ok(body.into())
}

/// Without a limit, new keys get none.
fn default_key_budget(form: &Form) -> Result<Value, Vec<(String, String)>> {
    if form.text(KEY_LIMIT).is_empty() {
        return Ok(Value::Null);
    }
    let Some(limit) = cents_of_dollars(form.text(KEY_LIMIT)) else {
        let fault = "Must be an amount in dollars, such as 20 or 0.50, or empty.";
        return Err(vec![(KEY_LIMIT.to_owned(), fault.to_owned())]);
    };
    Ok(json!({ "limitCents": limit, "window": form.get(KEY_WINDOW), "autoShutoff": form.is_on(KEY_SHUTOFF) }))
}

#[component]
fn General(props: &Props) -> Html {
    let here = &props.here;
    let load = use_load::<Workspace>(Some(Call::get(here.path(""))));
    let form = use_reducer(|| Form::new(values_of(&here.workspace)));
    let (send, say) = (use_send(), use_say());
    let session = use_context::<SessionHandle>();
    use_guard(form.is_dirty());
    let onsubmit = {
        let (form, send, here, tag, reload) = (
            form.clone(),
            send.clone(),
            here.clone(),
            load.tag.clone(),
            load.reload.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = Call::patch(here.path(""), body).based_on(tag.clone());
            let (form, say, session, reload) = (form.clone(), say.clone(), session.clone(), reload.clone());
            send.run::<Workspace>(call, move |answer| match answer {
                Ok(workspace) => {
                    form.dispatch(Edit::Load(values_of(&workspace)));
                    say.emit(Say::Good("The settings are saved.".to_owned()));
                    reload.emit(());
                    if let Some(session) = &session {
                        session.dispatch(Change::Put(Box::new(workspace)));
                    }
                }
                Err(failure) => form.dispatch(Edit::Refused(failure, FIELDS.map(str::to_owned).to_vec())),
            });
        })
    };
    let zones: Vec<(AttrValue, AttrValue)> = {
        let mut names = use_memo((), |()| zone::all()).to_vec();
        let current = form.get("settings.timeZone").to_owned();
        if !names.contains(&current) {
            names.push(current);
        }
        names
            .into_iter()
            .map(|name| (name.clone().into(), name.into()))
            .collect()
    };
    let unpriced = vec![
        Choice::new(
            "allow",
            "Allow and say so",
            "The call is let through; its cost is unknown.",
        ),
        Choice::new("block", "Refuse", "The call is refused before it costs anything."),
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
    let writes = here.can(Need::Administer);
    html! {
        <form class="form" {onsubmit} novalidate=true>
            if !writes { <Notice>{ "Owners and admins change these." }</Notice> }
            <fieldset class="form" disabled={!writes}>
                <Card>
                    <div class="stack">
                        <TextField form={form.clone()} name="name" label="Name" />
                        <TextField form={form.clone()} name="slug" label="Slug" hint="Small letters, digits and hyphens." />
                        <SelectField form={form.clone()} name="settings.timeZone" label="Time zone" options={zones}
                            hint="Days and months of budgets follow it, and so do the times in this console." />
                    </div>
                </Card>
                <Card title="New keys">
                    <div class="stack">
                        <TextField form={form.clone()} name={KEY_LIMIT} label="Budget of a new key" before="$" inputmode="decimal"
                            placeholder="None" hint="Every key that is made from now on gets it. Only owners and admins can raise it." />
                        <SelectField form={form.clone()} name={KEY_WINDOW} label="Over" options={windows()} />
                        <SwitchField form={form.clone()} name={KEY_SHUTOFF} label="Refuse calls that would exceed it" hint="Off: it only counts." />
                    </div>
                </Card>
                <Card title="Behaviour">
                    <div class="stack">
                        <PickField form={form.clone()} name="settings.unpricedModelPolicy" label="A model without a price" choices={unpriced} />
                        <PickField form={form.clone()} name="settings.failureMode" label="New rate limits and budgets, in an outage" choices={failure} />
                    </div>
                </Card>
            </fieldset>
            if writes { <FormFoot form={form.clone()} busy={send.busy} edit=true action="Save" reload={Some(load.reload.clone())} /> }
        </form>
    }
}

/// Deleting the workspace.
#[component]
fn End(props: &Props) -> Html {
    let here = &props.here;
    let asked = use_state_eq(|| false);
    let fault = use_state(|| None::<AttrValue>);
    let (send, say, leave) = (use_send(), use_say(), use_leave());
    let session = use_context::<SessionHandle>();
    let onconfirm = {
        let (send, here, fault) = (send.clone(), here.clone(), fault.clone());
        Callback::from(move |()| {
            let (say, leave, session, fault) = (say.clone(), leave.clone(), session.clone(), fault.clone());
            let workspace = here.workspace.clone();
            send.run::<Ignored>(Call::delete(here.path("")), move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!("{} is deleted.", workspace.name)));
                    leave.emit(Route::Overview);
                    if let Some(session) = &session {
                        session.dispatch(Change::Removed(workspace.id));
                    }
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    html! {
        <Card title="Delete the workspace" note="Its APIs, keys, limits and members go with it. Every call with its keys is refused from then on.">
            <Button kind={Kind::Danger} icon={Icon::Trash} onclick={let asked = asked.clone(); move |_| asked.set(true)}>{ "Delete workspace…" }</Button>
            if *asked {
                <Confirm title="Delete this workspace?" name={here.workspace.slug.clone()} action="Delete workspace" busy={send.busy}
                    fault={(*fault).clone()} {onconfirm} onclose={let asked = asked.clone(); move |()| asked.set(false)}>
                    <p>{ "This cannot be undone." }</p>
                </Confirm>
            }
        </Card>
    }
}

#[component]
fn Tokens(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<AccessToken>(Some(Call::get(here.path("/access-tokens"))));
    let creating = use_state_eq(|| false);
    let revoking = use_state_eq(|| None::<AccessToken>);
    let reload = pages.load.reload.clone();
    let open = {
        let creating = creating.clone();
        Callback::from(move |_: MouseEvent| creating.set(true))
    };
    let new = html! { <Button kind={Kind::Primary} icon={Icon::Plus} onclick={open}>{ "Create access token" }</Button> };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() && pages.cursors.page() == 1 => html! {
            <Empty icon={Icon::Key} title="No access token" text="Programs use them for the REST API: they may in this workspace what their role allows.">{ new }</Empty>
        },
        Loaded::Ready(list) => {
            let rows = list
                .data
                .iter()
                .map(|token| token_row(token, here, &revoking))
                .collect::<Vec<_>>();
            let columns = vec![
                Column::left("Name"),
                Column::left("Role"),
                Column::left("State"),
                Column::left("Expires"),
            ];
            html! {
                <>
                    <Table label="Access tokens" {columns} {rows} tools={new} />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                </>
            }
        }
    };
    html! {
        <>
            { body }
            if *creating {
                <NewToken here={here.clone()} ondone={reload.clone()} onclose={let creating = creating.clone(); move |()| creating.set(false)} />
            }
            if let Some(token) = (*revoking).clone() {
                <RevokeToken here={here.clone()} {token} ondone={reload} onclose={let revoking = revoking.clone(); move |()| revoking.set(None)} />
            }
        </>
    }
}

fn token_row(token: &AccessToken, here: &Here, revoking: &UseStateHandle<Option<AccessToken>>) -> Row {
    let now = crate::browser::now_ms() as i64;
    let over = parse(&token.expires_at).is_some_and(|ms| ms <= now);
    let (tone, state) = match (&token.revoked_at, over) {
        (Some(_), _) => (Tone::Bad, "Revoked"),
        (None, true) => (Tone::Plain, "Expired"),
        (None, false) => (Tone::Good, "Active"),
    };
    let acts = html! {
        if state == "Active" {
            <Button kind={Kind::Danger} small=true onclick={let (revoking, token) = (revoking.clone(), token.clone()); move |_| revoking.set(Some(token.clone()))}>{ "Revoke" }</Button>
        }
    };
    let expires = here.zone.show_date(&token.expires_at);
    Row {
        key: token.id.clone(),
        search: token.name.clone(),
        cells: vec![
            (
                html! { <span class="name">{ &token.name }</span> },
                SortKey::Text(token.name.clone()),
            ),
            (
                html! { role_name(token.role) },
                SortKey::Text(token.role.to_string()),
            ),
            (
                html! { <Badge {tone} dot=true>{ state }</Badge> },
                SortKey::Text(state.to_owned()),
            ),
            (
                html! { <span class="nowrap">{ &expires }</span> },
                parse(&token.expires_at).map_or(SortKey::Missing, |ms| SortKey::Number(ms as f64)),
            ),
        ],
        acts,
    }
}

#[derive(Properties, PartialEq)]
struct NewTokenProps {
    here: Rc<Here>,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn NewToken(props: &NewTokenProps) -> Html {
    let here = &props.here;
    let form = use_reducer(|| Form::new([("name", ""), ("role", here.role().as_str()), ("expiresAt", "")]));
    use_guard(form.is_dirty());
    let made = use_state(|| None::<AttrValue>);
    let send = use_send();
    let onsubmit = {
        let (form, send, made, here, ondone) = (
            form.clone(),
            send.clone(),
            made.clone(),
            here.clone(),
            props.ondone.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let mut body = json!({ "name": form.text("name"), "role": form.get("role") });
            if let Some(as_utc) = parse(&format!("{}T00:00:00Z", form.text("expiresAt"))) {
                let ms = here.zone.instant(Civil::of_local_ms(as_utc));
                body["expiresAt"] = json!(crate::show::time::rfc3339(ms));
            }
            let (form, made, ondone) = (form.clone(), made.clone(), ondone.clone());
            send.run::<AccessTokenWithSecret>(Call::post(here.path("/access-tokens"), body), move |answer| {
                match answer {
                    Ok(created) => {
                        made.set(Some(created.token.into()));
                        ondone.emit(());
                    }
                    Err(failure) => form.dispatch(Edit::Refused(
                        failure,
                        ["name", "role", "expiresAt"].map(str::to_owned).to_vec(),
                    )),
                }
            });
        })
    };
    if let Some(secret) = (*made).clone() {
        return html! { <Secret title="Your new access token" {secret} ondone={props.onclose.clone()} /> };
    }
    let roles: Vec<(AttrValue, AttrValue)> = Role::ALL
        .iter()
        .filter(|role| **role >= here.role())
        .map(|role| (role.as_str().into(), role_name(*role).into()))
        .collect();
    html! {
        <Dialog title="New access token" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <TextField form={form.clone()} name="name" label="Name" placeholder="Deployment" focus=true />
                <SelectField form={form.clone()} name="role" label="Role" options={roles} hint="It never may more than you." />
                <TextField form={form.clone()} name="expiresAt" label="Expires" kind="date" optional=true hint="Left empty: in 90 days. At most a year." />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Create access token" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

#[derive(Properties, PartialEq)]
struct RevokeTokenProps {
    here: Rc<Here>,
    token: AccessToken,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn RevokeToken(props: &RevokeTokenProps) -> Html {
    let (send, fault) = (use_send(), use_state(|| None::<AttrValue>));
    let onconfirm = {
        let (send, fault, path) = (
            send.clone(),
            fault.clone(),
            props.here.path(&format!("/access-tokens/{}", props.token.id)),
        );
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |()| {
            let (fault, onclose, ondone) = (fault.clone(), onclose.clone(), ondone.clone());
            send.run::<Ignored>(Call::delete(path.clone()), move |answer| match answer {
                Ok(_) => {
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    html! {
        <Confirm title="Revoke this access token?" action="Revoke" name={props.token.name.clone()} busy={send.busy} fault={(*fault).clone()}
            {onconfirm} onclose={props.onclose.clone()}><p>{ "Programs that use it are refused from then on." }</p></Confirm>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::workspace::UpdateWorkspace;
    use yew::Reducible;

    #[test]
    fn only_what_changed_is_sent() {
        let form = Rc::new(Form::new([
            ("name", "a"),
            ("slug", "a"),
            ("settings.timeZone", "UTC"),
        ]));
        assert_eq!(body(&form), Ok(json!({})));
        let form = form.reduce(Edit::Set("settings.timeZone".into(), "Europe/Berlin".into()));
        let sent = body(&form.reduce(Edit::Set("name".into(), "b".into()))).unwrap();
        assert_eq!(
            sent,
            json!({"name": "b", "settings": {"timeZone": "Europe/Berlin"}})
        );
        serde_json::from_value::<UpdateWorkspace>(sent).unwrap();
    }

    #[test]
    fn the_budget_of_new_keys_goes_as_a_whole_or_as_none() {
        let none = [(KEY_LIMIT, ""), (KEY_WINDOW, "MONTH"), (KEY_SHUTOFF, "true")];
        let set = |values: [(&str, &str); 3], name: &str, value: &str| {
            body(&Rc::new(Form::new(values)).reduce(Edit::Set(name.to_owned(), value.to_owned())))
        };
        let budget = json!({"limitCents": "250", "window": "MONTH", "autoShutoff": true});
        let sent = set(none, KEY_LIMIT, "2.50").unwrap();
        assert_eq!(sent, json!({"settings": {"defaultKeyBudget": budget}}));
        let read: UpdateWorkspace = serde_json::from_value(sent).unwrap();
        let read = read.settings.unwrap().default_key_budget.unwrap().unwrap();
        assert_eq!(read.limit_cents.0.0, 2_500_000_000);
        let some = [(KEY_LIMIT, "2.50"), (KEY_WINDOW, "MONTH"), (KEY_SHUTOFF, "true")];
        let taken = set(some, KEY_LIMIT, "").unwrap();
        assert_eq!(taken, json!({"settings": {"defaultKeyBudget": null}}));
        assert!(set(none, KEY_LIMIT, "much").is_err());
    }
}
