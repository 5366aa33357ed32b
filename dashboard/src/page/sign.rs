//! Signing in and signing up.

use super::shell::Public;
use crate::api::{Call, Failure, use_client};
use crate::app::{SessionHandle, WORKSPACE};
use crate::browser;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::session::Change;
use crate::ui::{Button, Go, Kind, Notice, TextField, Tone};
use rateguard_api::auth::{LoggedIn, Registered};
use serde_json::json;
use yew::platform::spawn_local;
use yew::prelude::*;

#[component]
pub fn Login() -> Html {
    html! {
        <Public>
            <div class="sign">
                <div class="card">
                    <div><h1>{ "Sign in" }</h1><p class="soft">{ "Welcome back." }</p></div>
                    <LoginForm />
                    <p class="soft">{ "No account yet? " }<Go to={Route::Register}>{ "Create one" }</Go></p>
                </div>
            </div>
        </Public>
    }
}

#[component]
pub fn LoginForm() -> Html {
    let form = use_reducer(|| Form::new([("email", ""), ("password", "")]));
    let busy = use_state_eq(|| false);
    let client = use_client();
    let session = use_context::<SessionHandle>();
    let onsubmit = {
        let (form, busy) = (form.clone(), busy.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = json!({ "email": form.text("email"), "password": form.get("password") });
            let (form, busy, client, session) = (form.clone(), busy.clone(), client.clone(), session.clone());
            busy.set(true);
            spawn_local(async move {
                let answer = client
                    .send_public::<LoggedIn>(&Call::post("/api/auth/login", body))
                    .await;
                busy.set(false);
                match (answer, session) {
                    (Ok(logged_in), Some(session)) => {
                        client.set_token(Some(logged_in.access_token));
                        session.dispatch(Change::SignedIn {
                            user: logged_in.user,
                            workspaces: logged_in.workspaces,
                            wanted: browser::stored(WORKSPACE),
                        });
                    }
                    (Err(failure), _) => form.dispatch(refused(failure, &["email", "password"])),
                    (Ok(_), None) => {}
                }
            });
        })
    };
    html! {
                    <form class="stack" {onsubmit} novalidate=true>
                        <TextField form={form.clone()} name="email" label="E-mail" kind="email" autocomplete="username" focus=true />
                        <TextField form={form.clone()} name="password" label="Password" kind="password" autocomplete="current-password" />
                        if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                        <Button kind={Kind::Primary} submit=true wide=true busy={*busy}>{ "Sign in" }</Button>
                    </form>
    }
}

#[component]
pub fn Register() -> Html {
    let form = use_reducer(|| Form::new([("name", ""), ("email", ""), ("password", "")]));
    let busy = use_state_eq(|| false);
    let client = use_client();
    let session = use_context::<SessionHandle>();
    let navigator = yew_router::hooks::use_navigator();
    let onsubmit = {
        let (form, busy) = (form.clone(), busy.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = json!({
                "name": form.text("name"), "email": form.text("email"), "password": form.get("password"),
            });
            let (form, busy, client, session) = (form.clone(), busy.clone(), client.clone(), session.clone());
            let navigator = navigator.clone();
            busy.set(true);
            spawn_local(async move {
                let answer = client
                    .send_public::<Registered>(&Call::post("/api/auth/register", body))
                    .await;
                busy.set(false);
                match (answer, session) {
                    (Ok(registered), Some(session)) => {
                        client.set_token(Some(registered.access_token));
                        if let Some(navigator) = &navigator {
                            navigator.push(&Route::Welcome);
                        }
                        session.dispatch(Change::SignedIn {
                            user: registered.user,
                            wanted: Some(registered.workspace.id.clone()),
                            workspaces: vec![registered.workspace],
                        });
                    }
                    (Err(failure), _) => form.dispatch(refused(failure, &["name", "email", "password"])),
                    (Ok(_), None) => {}
                }
            });
        })
    };
    html! {
        <Public>
            <div class="sign">
                <div class="card">
                    <div><h1>{ "Create an account" }</h1><p class="soft">{ "You get a workspace of your own with it." }</p></div>
                    <form class="stack" {onsubmit} novalidate=true>
                        <TextField form={form.clone()} name="name" label="Name" autocomplete="name" focus=true />
                        <TextField form={form.clone()} name="email" label="E-mail" kind="email" autocomplete="username" />
                        <TextField form={form.clone()} name="password" label="Password" kind="password"
                            autocomplete="new-password" hint="At least 8 characters." />
                        if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                        <Button kind={Kind::Primary} submit=true wide=true busy={*busy}>{ "Create account" }</Button>
                    </form>
                    <p class="soft">{ "Already have one? " }<Go to={Route::Login}>{ "Sign in" }</Go></p>
                </div>
            </div>
        </Public>
    }
}

/// Without a session 401 is about the password, not about a session that has ended.
fn refused(failure: Failure, fields: &[&str]) -> Edit {
    Edit::Refused(failure, fields.iter().map(|field| (*field).to_owned()).collect())
}
