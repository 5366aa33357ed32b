//! Making a workspace.

use crate::api::{Call, use_send};
use crate::app::{SessionHandle, WORKSPACE};
use crate::browser;
use crate::route::Route;
use crate::show::zone::Zone;
use crate::state::form::{Edit, Form};
use crate::state::session::Change;
use crate::ui::go::use_leave;
use crate::ui::{Button, Dialog, Kind, Notice, TextField, Tone};
use rateguard_api::workspace::Workspace;
use serde_json::json;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub onclose: Callback<()>,
}

#[component]
pub fn NewWorkspace(props: &Props) -> Html {
    let form = use_reducer(|| Form::new([("name", "")]));
    let (send, leave) = (use_send(), use_leave());
    let session = use_context::<SessionHandle>();
    let onsubmit = {
        let (form, send, onclose) = (form.clone(), send.clone(), props.onclose.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = json!({ "name": form.text("name"), "settings": { "timeZone": Zone::of_browser() } });
            let (form, session, onclose, leave) =
                (form.clone(), session.clone(), onclose.clone(), leave.clone());
            send.run::<Workspace>(Call::post("/api/workspaces", body), move |answer| match answer {
                Ok(workspace) => {
                    let id = workspace.id.clone();
                    browser::store(WORKSPACE, &id);
                    onclose.emit(());
                    leave.emit(Route::Welcome);
                    if let Some(session) = &session {
                        session.dispatch(Change::Put(Box::new(workspace)));
                        session.dispatch(Change::Choose(id));
                    }
                }
                Err(failure) => form.dispatch(Edit::Refused(failure, vec!["name".to_owned()])),
            });
        })
    };
    html! {
        <Dialog title="New workspace" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <p class="soft">{ "A workspace has its own APIs, keys, limits, budgets and members." }</p>
                <TextField form={form.clone()} name="name" label="Name" placeholder="Acme production" focus=true />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Create workspace" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}
