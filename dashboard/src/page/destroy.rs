//! The question before something is deleted or revoked, and the deed.

use crate::api::{Call, Ignored, use_send};
use crate::state::toast::Say;
use crate::ui::{Confirm, use_say};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub title: AttrValue,
    /// Of what is destroyed; to be typed.
    pub name: AttrValue,
    /// On the button.
    pub action: AttrValue,
    /// What is then said of the name: "is deleted."
    #[prop_or("is deleted.".into())]
    pub done: AttrValue,
    pub path: String,
    pub onclose: Callback<()>,
    pub ondone: Callback<()>,
    /// What will happen, and what cannot be undone.
    pub children: Html,
}

#[component]
pub fn Destroy(props: &Props) -> Html {
    let (send, say, fault) = (use_send(), use_say(), use_state(|| None::<AttrValue>));
    let onconfirm = {
        let (send, fault, path) = (send.clone(), fault.clone(), props.path.clone());
        let said = [props.name.as_str(), " ", &props.done].concat();
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |()| {
            let (say, said, fault) = (say.clone(), said.clone(), fault.clone());
            let (onclose, ondone) = (onclose.clone(), ondone.clone());
            send.run::<Ignored>(Call::delete(path.clone()), move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(said));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    html! {
        <Confirm title={props.title.clone()} name={props.name.clone()} action={props.action.clone()} busy={send.busy}
            fault={(*fault).clone()} {onconfirm} onclose={props.onclose.clone()}>{ props.children.clone() }</Confirm>
    }
}
