//! Pages for when there is no page: waiting, unreachable, not found, no workspace.

use super::shell::Public;
use super::workspace::NewWorkspace;
use crate::api::Failure;
use crate::app::SessionHandle;
use crate::route::Route;
use crate::state::session::Change;
use crate::ui::{Button, Empty, Failed, Go, Icon, Kind, Skeletons};
use yew::prelude::*;

#[component]
pub fn Waiting() -> Html {
    html! { <div class="page"><Skeletons shape="tall" count={2} /></div> }
}

#[component]
pub fn Unreachable() -> Html {
    let session = use_context::<SessionHandle>();
    let retry = Callback::from(move |()| {
        if let Some(session) = &session {
            session.dispatch(Change::Restart);
        }
    });
    html! { <Public><div class="page narrow"><Failed failure={Failure::Network} {retry} /></div></Public> }
}

#[component]
pub fn NotFound() -> Html {
    html! {
        <div class="page">
            <Empty icon={Icon::Search} title="There is no such page" text="The address may be old, or mistyped.">
                <Go to={Route::Overview} class="btn primary">{ "To the overview" }</Go>
            </Empty>
        </div>
    }
}

/// Somebody who was taken out of every workspace, or deleted the last.
#[component]
pub fn NoWorkspace() -> Html {
    let creating = use_state_eq(|| false);
    let open = {
        let creating = creating.clone();
        Callback::from(move |_: MouseEvent| creating.set(true))
    };
    let close = {
        let creating = creating.clone();
        Callback::from(move |()| creating.set(false))
    };
    html! {
        <Public>
            <div class="page narrow">
                <Empty icon={Icon::Team} title="You are in no workspace"
                    text="Make one of your own, or ask somebody to invite you to theirs.">
                    <Button kind={Kind::Primary} icon={Icon::Plus} onclick={open}>{ "New workspace" }</Button>
                </Empty>
                if *creating { <NewWorkspace onclose={close} /> }
            </div>
        </Public>
    }
}
