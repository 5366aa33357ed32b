//! Dialogs, and the question before something is destroyed.

use super::button::{Button, Kind};
use super::icon::Icon;
use super::notice::Notice;
use web_sys::{HtmlDialogElement, HtmlInputElement};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub title: AttrValue,
    pub onclose: Callback<()>,
    /// Left without a way out but its own buttons: for secrets that are shown once.
    #[prop_or_default]
    pub firm: bool,
    pub children: Html,
}

/// Shown as long as it is rendered.
#[component]
pub fn Dialog(props: &Props) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with((), move |()| {
            let dialog = node.cast::<HtmlDialogElement>();
            if let Some(dialog) = &dialog {
                // Refused only if it is open already.
                let _ = dialog.show_modal();
            }
            move || {
                if let Some(dialog) = dialog {
                    // Gives the focus back to where it was.
                    dialog.close();
                }
            }
        });
    }
    let oncancel = {
        let (onclose, firm) = (props.onclose.clone(), props.firm);
        Callback::from(move |event: Event| {
            event.prevent_default();
            if !firm {
                onclose.emit(());
            }
        })
    };
    let close = props.onclose.reform(|_| ());
    html! {
        <dialog class="dialog" ref={node} {oncancel} aria-labelledby="dialog-title">
            <div class="inside">
                <header>
                    <h2 id="dialog-title">{ &props.title }</h2>
                    if !props.firm {
                        <Button kind={Kind::Quiet} small=true icon={Icon::Close} label="Close" onclick={close} />
                    }
                </header>
                { props.children.clone() }
            </div>
        </dialog>
    }
}

#[derive(Properties, PartialEq)]
pub struct ConfirmProps {
    pub title: AttrValue,
    /// What will happen, and what cannot be undone.
    pub children: Html,
    /// To be typed before the button works.
    #[prop_or_default]
    pub name: Option<AttrValue>,
    pub action: AttrValue,
    #[prop_or_default]
    pub busy: bool,
    #[prop_or_default]
    pub fault: Option<AttrValue>,
    pub onconfirm: Callback<()>,
    pub onclose: Callback<()>,
}

#[component]
pub fn Confirm(props: &ConfirmProps) -> Html {
    let typed = use_state(String::new);
    let ready = props
        .name
        .as_ref()
        .is_none_or(|name| typed.trim() == name.as_str());
    let oninput = {
        let typed = typed.clone();
        Callback::from(move |event: InputEvent| {
            typed.set(event.target_unchecked_into::<HtmlInputElement>().value());
        })
    };
    let onsubmit = {
        let onconfirm = props.onconfirm.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if ready {
                onconfirm.emit(());
            }
        })
    };
    html! {
        <Dialog title={props.title.clone()} onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <div class="stack tight">{ props.children.clone() }</div>
                if let Some(name) = &props.name {
                    <div class="field">
                        <label for="confirm-name">{ "Type " }<code>{ name }</code>{ " to confirm" }</label>
                        <input id="confirm-name" class="control" autocomplete="off" spellcheck="false"
                            value={(*typed).clone()} {oninput} />
                    </div>
                }
                if let Some(fault) = &props.fault {
                    <Notice tone={super::Tone::Bad}>{ fault }</Notice>
                }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Destroy} submit=true busy={props.busy} disabled={!ready}>{ &props.action }</Button>
                </footer>
            </form>
        </Dialog>
    }
}
