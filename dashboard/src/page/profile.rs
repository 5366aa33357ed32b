//! One's own account: password and sessions.

use super::head::PageHead;
use crate::api::{Call, Failure, Ignored, Loaded, use_client, use_load, use_send};
use crate::app::{Here, SessionHandle, sign_out};
use crate::browser;
use crate::show::time::{ago, parse};
use crate::state::form::{Edit, Form};
use crate::state::toast::Say;
use crate::ui::{
    Badge, Button, Card, Failed, FormFoot, Icon, Kind, Skeletons, TextField, Tone, use_guard, use_say,
};
use rateguard_api::auth::Session;
use rateguard_api::list::List;
use serde_json::json;
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Profile(props: &Props) -> Html {
    let here = &props.here;
    html! {
        <div class="page narrow">
            <PageHead title="Your account" />
            <Card>
                <dl class="facts">
                    <div><dt>{ "Name" }</dt><dd>{ &here.user.name }</dd></div>
                    <div><dt>{ "E-mail" }</dt><dd>{ &here.user.email }</dd></div>
                    <div><dt>{ "Since" }</dt><dd>{ here.zone.show_date(&here.user.created_at) }</dd></div>
                </dl>
            </Card>
            <Password />
            <Sessions here={here.clone()} />
        </div>
    }
}

const PASSWORDS: [(&str, &str); 2] = [("currentPassword", ""), ("newPassword", "")];

#[component]
fn Password() -> Html {
    let form = use_reducer(|| Form::new(PASSWORDS));
    use_guard(form.is_dirty());
    let (send, say) = (use_send(), use_say());
    let onsubmit = {
        let (form, send) = (form.clone(), send.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = json!({ "currentPassword": form.get("currentPassword"), "newPassword": form.get("newPassword") });
            let (form, say) = (form.clone(), say.clone());
            send.run::<Ignored>(
                Call::post("/api/auth/password", body),
                move |answer| match answer {
                    Ok(_) => {
                        form.dispatch(Edit::Load(
                            PASSWORDS
                                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                                .to_vec(),
                        ));
                        say.emit(Say::Good(
                            "Your password is changed; your other sessions are ended.".to_owned(),
                        ));
                    }
                    Err(failure) => form.dispatch(Edit::Refused(
                        failure,
                        PASSWORDS.map(|(name, _)| name.to_owned()).to_vec(),
                    )),
                },
            );
        })
    };
    html! {
        <Card title="Password" note="Changing it ends your other sessions.">
            <form class="stack" {onsubmit} novalidate=true>
                <div class="grid-2">
                    <TextField form={form.clone()} name="currentPassword" label="Current password" kind="password" autocomplete="current-password" />
                    <TextField form={form.clone()} name="newPassword" label="New password" kind="password" autocomplete="new-password" hint="At least 8 characters." />
                </div>
                <FormFoot form={form.clone()} busy={send.busy} action="Change password" />
            </form>
        </Card>
    }
}

/// A browser's name out of its own long description.
fn agent(user_agent: &str) -> String {
    let system = ["Windows", "Android", "iPhone", "iPad", "Mac OS", "Linux"]
        .into_iter()
        .find(|name| user_agent.contains(name));
    let browser = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]
    .into_iter()
    .find(|(mark, _)| user_agent.contains(mark))
    .map(|(_, name)| name);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if user_agent.is_empty() => "Unknown program".to_owned(),
        _ => user_agent.chars().take(60).collect(),
    }
}

#[component]
fn Sessions(props: &Props) -> Html {
    let load = use_load::<List<Session>>(Some(Call::get("/api/auth/sessions")));
    let (send, say) = (use_send(), use_say());
    let (client, session) = (use_client(), use_context::<SessionHandle>());
    let end = {
        let (send, say, reload) = (send.clone(), say.clone(), load.reload.clone());
        Callback::from(move |id: Option<String>| {
            let (say, reload) = (say.clone(), reload.clone());
            let path = id.map_or_else(
                || "/api/auth/sessions".to_owned(),
                |id| format!("/api/auth/sessions/{id}"),
            );
            send.run::<Ignored>(
                Call::delete(path),
                move |answer: Result<_, Failure>| match answer {
                    Ok(_) => reload.emit(()),
                    Err(failure) => say.emit(Say::Bad(failure.text())),
                },
            );
        })
    };
    let leave = Callback::from(move |_: MouseEvent| {
        if let Some(session) = &session {
            let (client, session, say) = (client.clone(), session.dispatcher(), say.clone());
            spawn_local(async move {
                if let Err(failure) = sign_out(client, session).await {
                    say.emit(Say::Bad(failure.text()));
                }
            });
        }
    });
    let now = browser::now_ms() as i64;
    let body = match &load.state {
        Loaded::Waiting => html! { <Skeletons count={3} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={load.reload.clone()} /> },
        Loaded::Ready(list) => html! {
            <ul class="stack">
                { for list.data.iter().map(|one| {
                    let (end, id) = (end.clone(), one.id.clone());
                    let used = parse(&one.last_used_at).map_or_else(String::new, |ms| ago(ms, now));
                    html! {
                        <li class="row apart" key={one.id.clone()}>
                            <div>
                                <strong title={one.user_agent.clone()}>{ agent(&one.user_agent) }</strong>{ " " }
                                if one.current { <Badge tone={Tone::Brand}>{ "This one" }</Badge> }
                                <p class="soft small" title={props.here.zone.show(&one.last_used_at)}>{ format!("{} · {used}", one.ip) }</p>
                            </div>
                            if one.current {
                                <Button small=true icon={Icon::Leave} onclick={leave.clone()}>{ "Sign out" }</Button>
                            } else {
                                <Button small=true kind={Kind::Danger} onclick={move |_| end.emit(Some(id.clone()))}>{ "End" }</Button>
                            }
                        </li>
                    }
                }) }
            </ul>
        },
    };
    let others = load.state.ready().is_some_and(|list| list.data.len() > 1);
    let actions = html! {
        if others { <Button small=true kind={Kind::Danger} onclick={move |_| end.emit(None)}>{ "End all others" }</Button> }
    };
    html! { <Card title="Sessions" note="Where you are signed in." {actions}>{ body }</Card> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_get_a_short_name() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
        assert_eq!(agent(chrome), "Chrome on Linux");
        assert_eq!(agent("curl/8.1"), "curl/8.1");
        assert_eq!(agent(""), "Unknown program");
    }
}
