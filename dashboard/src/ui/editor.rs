//! The end of a form: its fault, its buttons, whether it is saved.

use super::badge::Tone;
use super::button::{Button, Kind};
use super::field::Handle;
use super::go::Go;
use super::notice::Notice;
use crate::route::Route;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub form: Handle,
    pub action: AttrValue,
    #[prop_or_default]
    pub busy: bool,
    /// An edit with nothing changed cannot be saved.
    #[prop_or_default]
    pub edit: bool,
    #[prop_or_default]
    pub back: Option<Route>,
    /// Loads what is stored now: offered when somebody else changed it meanwhile.
    #[prop_or_default]
    pub reload: Option<Callback<()>>,
}

#[component]
pub fn FormFoot(props: &Props) -> Html {
    let dirty = props.form.is_dirty();
    html! {
        <>
            if let Some(fault) = &props.form.fault {
                <Notice tone={Tone::Bad}>
                    { if props.form.conflict { "Somebody else has changed this meanwhile." } else { fault.as_str() } }
                    if let (true, Some(reload)) = (props.form.conflict, &props.reload) {
                        { " " }<Button small=true onclick={reload.reform(|_| ())}>{ "Load the current version" }</Button>
                    }
                </Notice>
            }
            <div class="form-foot">
                <Button kind={Kind::Primary} submit=true busy={props.busy} disabled={props.edit && !dirty}>{ &props.action }</Button>
                if let Some(back) = &props.back {
                    <Go to={back.clone()} class="btn">{ "Cancel" }</Go>
                }
                if props.edit && dirty { <span class="soft small">{ "Unsaved changes" }</span> }
            </div>
        </>
    }
}
