//! Links that carry a token after the `#`, which browsers do not send: invitations and forgotten passwords.

use super::shell::Public;
use super::sign::LoginForm;
use crate::api::{Call, Failure, Ignored, Loaded, use_client};
use crate::app::{SessionHandle, WORKSPACE};
use crate::browser;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::permission::{role_help, role_name};
use crate::state::session::{Change, Session};
use crate::state::toast::Say;
use crate::ui::go::use_leave;
use crate::ui::{Button, Failed, Go, Kind, Notice, Skeletons, TextField, Tone, use_say};
use rateguard_api::invitation::{InvitationAccepted, InvitationOffer};
use serde_json::{Value, json};
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;

/// The token of an address such as `/reset-password#token=…`.
fn token_of(location: &str) -> Option<&str> {
    let (_, fragment) = location.split_once('#')?;
    let token = fragment.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(token).filter(|token| !token.is_empty())
}

#[component]
pub fn AcceptInvitation() -> Html {
    let token = use_memo((), |()| {
        token_of(&browser::location()).unwrap_or_default().to_owned()
    });
    let offer = use_state(|| Loaded::<InvitationOffer>::Waiting);
    let client = use_client();
    {
        let (client, offer) = (client.clone(), offer.setter());
        use_effect_with(token.clone(), move |token| {
            let call = Call::post("/api/auth/invitations/preview", json!({ "token": **token }));
            spawn_local(async move {
                offer.set(match client.send_public::<InvitationOffer>(&call).await {
                    Ok(found) => Loaded::Ready(Rc::new(found)),
                    Err(failure) => Loaded::Failed(failure),
                });
            });
        });
    }
    let body = match &*offer {
        Loaded::Waiting => html! { <Skeletons count={3} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} /> },
        Loaded::Ready(offer) => html! { <Offer offer={offer.clone()} token={(*token).clone()} /> },
    };
    html! { <Public><div class="sign"><div class="card">{ body }</div></div></Public> }
}

#[derive(Properties, PartialEq)]
struct OfferProps {
    offer: Rc<InvitationOffer>,
    token: String,
}

#[component]
fn Offer(props: &OfferProps) -> Html {
    let offer = &props.offer;
    let session = use_context::<SessionHandle>();
    let who = match session.as_deref() {
        Some(Session::SignedIn(signed_in)) => Some(signed_in.user.email.clone()),
        // Whoever has a session must not be taken for a newcomer while it is restored.
        Some(Session::Starting) => return html! { <Skeletons count={3} /> },
        _ => None,
    };
    let body = match &who {
        Some(email) if !email.eq_ignore_ascii_case(&offer.email) => html! {
            <Notice tone={Tone::Warn}>{ format!("It is for {}; you are signed in as {email}. Sign out first, then open the link again.", offer.email) }</Notice>
        },
        Some(_) => html! { <Join token={props.token.clone()} newcomer=false /> },
        None if offer.has_account => html! { <><p>{ "Sign in, then you can join." }</p><LoginForm /></> },
        None => html! { <Join token={props.token.clone()} newcomer=true /> },
    };
    html! {
        <>
            <div>
                <h1>{ format!("Join {}", offer.workspace_name) }</h1>
                <p class="soft">{ format!("{} is invited as {}. {}", offer.email, role_name(offer.role).to_lowercase(), role_help(offer.role)) }</p>
            </div>
            { body }
        </>
    }
}

#[derive(Properties, PartialEq)]
struct JoinProps {
    token: String,
    /// Without an account: makes one.
    newcomer: bool,
}

#[component]
fn Join(props: &JoinProps) -> Html {
    let form = use_reducer(|| Form::new([("name", ""), ("password", "")]));
    let busy = use_state_eq(|| false);
    let (client, session, leave) = (use_client(), use_context::<SessionHandle>(), use_leave());
    let newcomer = props.newcomer;
    let onsubmit = {
        let (form, busy, token) = (form.clone(), busy.clone(), props.token.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = if newcomer {
                json!({ "token": token, "name": form.text("name"), "password": form.get("password") })
            } else {
                json!({ "token": token })
            };
            let call = Call::post("/api/auth/invitations/accept", body);
            let (form, busy, client, session, leave) = (
                form.clone(),
                busy.clone(),
                client.clone(),
                session.clone(),
                leave.clone(),
            );
            busy.set(true);
            spawn_local(async move {
                let answer = if newcomer {
                    client.send_public::<InvitationAccepted>(&call).await
                } else {
                    client.send::<InvitationAccepted>(&call).await
                };
                busy.set(false);
                match (answer, session) {
                    (Ok(accepted), Some(session)) => {
                        browser::store(WORKSPACE, &accepted.workspace.id);
                        if let Some(text) = accepted.access_token {
                            client.set_token(Some(text));
                            session.dispatch(Change::SignedIn {
                                user: accepted.user,
                                wanted: Some(accepted.workspace.id.clone()),
                                workspaces: vec![accepted.workspace],
                            });
                        } else {
                            let id = accepted.workspace.id.clone();
                            session.dispatch(Change::Put(Box::new(accepted.workspace)));
                            session.dispatch(Change::Choose(id));
                        }
                        leave.emit(Route::Overview);
                    }
                    (Err(failure), _) => form.dispatch(refused(failure)),
                    (Ok(_), None) => {}
                }
            });
        })
    };
    html! {
        <form class="stack" {onsubmit} novalidate=true>
            if newcomer {
                <TextField form={form.clone()} name="name" label="Your name" autocomplete="name" focus=true />
                <TextField form={form.clone()} name="password" label="Password" kind="password" autocomplete="new-password"
                    hint="At least 8 characters." />
            }
            if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
            <Button kind={Kind::Primary} submit=true wide=true busy={*busy}>{ "Join" }</Button>
        </form>
    }
}

fn refused(failure: Failure) -> Edit {
    Edit::Refused(
        failure,
        ["name", "password", "newPassword"].map(str::to_owned).to_vec(),
    )
}

#[component]
pub fn ResetPassword() -> Html {
    let token = use_memo((), |()| token_of(&browser::location()).map(str::to_owned));
    let form = use_reducer(|| Form::new([("newPassword", "")]));
    let busy = use_state_eq(|| false);
    let (client, say, leave) = (use_client(), use_say(), use_leave());
    let onsubmit = {
        let (form, busy, token) = (form.clone(), busy.clone(), token.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body: Value = json!({ "token": *token, "newPassword": form.get("newPassword") });
            let call = Call::post("/api/auth/password/reset", body);
            let (form, busy, client, say, leave) = (
                form.clone(),
                busy.clone(),
                client.clone(),
                say.clone(),
                leave.clone(),
            );
            busy.set(true);
            spawn_local(async move {
                let answer = client.send_public::<Ignored>(&call).await;
                busy.set(false);
                match answer {
                    Ok(_) => {
                        say.emit(Say::Good("Your password is changed. Sign in with it.".to_owned()));
                        leave.emit(Route::Login);
                    }
                    Err(failure) => form.dispatch(refused(failure)),
                }
            });
        })
    };
    html! {
        <Public>
            <div class="sign">
                <div class="card">
                    <h1>{ "New password" }</h1>
                    if token.is_none() {
                        <Notice tone={Tone::Bad}>{ "This link is not whole. Open it again as it was given to you." }</Notice>
                    } else {
                        <form class="stack" {onsubmit} novalidate=true>
                            <TextField form={form.clone()} name="newPassword" label="New password" kind="password"
                                autocomplete="new-password" hint="At least 8 characters. It ends every session of yours." focus=true />
                            if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                            <Button kind={Kind::Primary} submit=true wide=true busy={*busy}>{ "Set password" }</Button>
                        </form>
                    }
                    <p class="soft"><Go to={Route::Login}>{ "To the sign-in" }</Go></p>
                </div>
            </div>
        </Public>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_after_the_hash() {
        assert_eq!(token_of("/reset-password#token=rgreset_x"), Some("rgreset_x"));
        assert_eq!(token_of("/reset-password#a=b&token=t"), Some("t"));
        assert_eq!(token_of("/reset-password?token=t"), None);
        assert_eq!(token_of("/reset-password#token="), None);
    }
}
