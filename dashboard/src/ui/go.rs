//! Ways to another page of the console. All go through one guard, which asks before unsaved changes are lost.

use crate::route::Route;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use yew::prelude::*;
use yew_router::prelude::*;

/// Whether something on the page is unsaved, and who asks about it.
#[derive(Clone, Default)]
pub struct Guard(Rc<Inner>);

#[derive(Default)]
struct Inner {
    dirty: Cell<bool>,
    ask: RefCell<Callback<Route>>,
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Guard {
    pub fn on_ask(&self, ask: Callback<Route>) {
        *self.0.ask.borrow_mut() = ask;
    }

    pub fn release(&self) {
        self.0.dirty.set(false);
    }
}

/// Goes to a page, unless something would be lost: then asks.
#[hook]
pub fn use_go() -> Callback<Route> {
    let navigator = use_navigator();
    let guard = use_context::<Guard>();
    Callback::from(move |route: Route| {
        if let Some(guard) = guard.as_ref().filter(|guard| guard.0.dirty.get()) {
            let ask = guard.0.ask.borrow().clone();
            ask.emit(route);
        } else if let Some(navigator) = &navigator {
            navigator.push(&route);
        }
    })
}

/// Goes without asking: what was unsaved has just been saved, or deleted.
#[hook]
pub fn use_leave() -> Callback<Route> {
    let navigator = use_navigator();
    let guard = use_context::<Guard>();
    Callback::from(move |route: Route| {
        if let Some(guard) = &guard {
            guard.release();
        }
        if let Some(navigator) = &navigator {
            navigator.push(&route);
        }
    })
}

/// Guards what is unsaved on this page: against our links, and against closing or reloading.
#[hook]
pub fn use_guard(dirty: bool) {
    let guard = use_context::<Guard>();
    use_effect_with(dirty, move |dirty| {
        if let Some(guard) = &guard {
            guard.0.dirty.set(*dirty);
        }
        let listener = dirty.then(|| {
            let closure =
                Closure::<dyn FnMut(web_sys::Event)>::new(|event: web_sys::Event| event.prevent_default());
            if let Some(window) = crate::browser::window() {
                // Constant name, function of ours: nothing to refuse.
                let _ =
                    window.add_event_listener_with_callback("beforeunload", closure.as_ref().unchecked_ref());
            }
            closure
        });
        move || {
            if let (Some(closure), Some(window)) = (&listener, crate::browser::window()) {
                let _ = window
                    .remove_event_listener_with_callback("beforeunload", closure.as_ref().unchecked_ref());
            }
            if let Some(guard) = &guard {
                guard.release();
            }
            drop(listener);
        }
    });
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub to: Route,
    #[prop_or_default]
    pub class: Classes,
    /// Marks the link to the page that is open.
    #[prop_or_default]
    pub current: bool,
    #[prop_or_default]
    pub onclick: Callback<()>,
    pub children: Html,
}

/// A link to a page of the console; with a modifier key it behaves as any link.
#[component]
pub fn Go(props: &Props) -> Html {
    let go = use_go();
    let onclick = {
        let (to, also) = (props.to.clone(), props.onclick.clone());
        Callback::from(move |event: MouseEvent| {
            if event.ctrl_key() || event.meta_key() || event.shift_key() || event.button() != 0 {
                return;
            }
            event.prevent_default();
            also.emit(());
            go.emit(to.clone());
        })
    };
    html! {
        <a href={props.to.to_path()} class={props.class.clone()} aria-current={props.current.then_some("page")} {onclick}>
            { props.children.clone() }
        </a>
    }
}
