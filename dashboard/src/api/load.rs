//! Hooks that fetch: what is loaded belongs to the component, and is given up when the component goes.

use super::call::Call;
use super::client::{Answer, Client, use_client};
use super::failure::Failure;
use crate::browser;
use crate::state::cursor::Cursors;
use futures_util::future::{AbortHandle, Abortable};
use gloo_timers::callback::Interval;
use rateguard_api::list::List;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;

#[derive(Debug)]
pub enum Loaded<T> {
    Waiting,
    Ready(Rc<T>),
    Failed(Failure),
}

impl<T> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Waiting => Self::Waiting,
            Self::Ready(value) => Self::Ready(value.clone()),
            Self::Failed(failure) => Self::Failed(failure.clone()),
        }
    }
}

/// Two answers are equal only if they are one.
impl<T> PartialEq for Loaded<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Waiting, Self::Waiting) => true,
            (Self::Ready(a), Self::Ready(b)) => Rc::ptr_eq(a, b),
            (Self::Failed(a), Self::Failed(b)) => a == b,
            _ => false,
        }
    }
}

impl<T> Loaded<T> {
    pub fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Waiting | Self::Failed(_) => None,
        }
    }
}

/// What a call gave, and how to make it again.
pub struct Load<T> {
    pub state: Loaded<T>,
    /// The answer's `ETag`.
    pub tag: Option<String>,
    pub reload: Callback<()>,
    /// Whether an answer is still to come.
    pub waiting: Rc<Cell<bool>>,
}

/// Makes the call now and whenever it changes. While it is made again the earlier answer stays, unless another thing is
/// asked for.
#[hook]
pub fn use_load<T>(call: Option<Call>) -> Load<T>
where
    T: DeserializeOwned + 'static,
{
    let Asked {
        state,
        reload,
        waiting,
    } = use_asked(call);
    let read = use_memo(state.clone(), |state| match state {
        Loaded::Waiting => Loaded::Waiting,
        Loaded::Failed(failure) => Loaded::Failed(failure.clone()),
        Loaded::Ready(answer) => match answer.read::<T>() {
            Ok(value) => Loaded::Ready(Rc::new(value)),
            Err(failure) => Loaded::Failed(failure),
        },
    });
    Load {
        state: (*read).clone(),
        tag: state.ready().and_then(|answer| answer.tag.clone()),
        reload,
        waiting,
    }
}

/// [`Load`] before its body is read: the part that is the same for every kind of answer.
struct Asked {
    state: Loaded<Answer>,
    reload: Callback<()>,
    waiting: Rc<Cell<bool>>,
}

#[hook]
fn use_asked(call: Option<Call>) -> Asked {
    let client = use_client();
    let state = use_state_eq(|| Loaded::Waiting);
    let turn = use_state(|| 0_u32);
    let path = use_mut_ref(String::new);
    let waiting = use_memo((), |()| Cell::new(false));
    {
        let (state, client, waiting) = (state.clone(), client.clone(), waiting.clone());
        use_effect_with((call, *turn), move |(call, _)| {
            let handle = call.clone().map(|call| {
                if *path.borrow() != call.path {
                    path.borrow_mut().clone_from(&call.path);
                    state.set(Loaded::Waiting);
                }
                waiting.set(true);
                let waiting = waiting.clone();
                spawn_abortable(async move {
                    let answer = client.ask(&call).await;
                    waiting.set(false);
                    state.set(match answer {
                        Ok(answer) => Loaded::Ready(Rc::new(answer)),
                        Err(failure) => Loaded::Failed(failure),
                    });
                })
            });
            move || {
                if let Some(handle) = handle {
                    handle.abort();
                }
            }
        });
    }
    let reload = {
        let setter = turn.setter();
        let next = turn.wrapping_add(1);
        Callback::from(move |()| setter.set(next))
    };
    Asked {
        state: (*state).clone(),
        reload,
        waiting,
    }
}

pub(super) fn spawn_abortable(future: impl Future<Output = ()> + 'static) -> AbortHandle {
    let (handle, registration) = AbortHandle::new_pair();
    spawn_local(async move {
        // Aborted: the component is gone, nobody waits.
        let _ = Abortable::new(future, registration).await;
    });
    handle
}

/// A list by pages.
pub struct Pages<T> {
    pub load: Load<List<T>>,
    pub cursors: UseReducerHandle<Cursors>,
}

/// The page of a list that the cursors point at.
#[hook]
pub fn use_pages<T>(call: Option<Call>) -> Pages<T>
where
    T: DeserializeOwned + 'static,
{
    let cursors = use_reducer_eq(Cursors::default);
    let call = call.map(|call| call.maybe("cursor", cursors.current().map(str::to_owned)));
    let load = use_load::<List<T>>(call);
    Pages { load, cursors }
}

/// Makes a write when told to.
#[derive(Clone, PartialEq)]
pub struct Send {
    pub busy: bool,
    client: Client,
    count: UseStateHandle<u32>,
}

impl Send {
    /// Makes the call, then hands its answer over. It is not given up when the component goes: a write is a write.
    pub fn run<T: DeserializeOwned + 'static>(
        &self,
        call: Call,
        then: impl FnOnce(Result<T, Failure>) + 'static,
    ) {
        self.ask(
            call,
            Box::new(|answer| then(answer.and_then(|answer| answer.read()))),
        );
    }

    /// [`Self::run`], compiled once.
    fn ask(&self, call: Call, then: Box<dyn FnOnce(Result<Answer, Failure>)>) {
        let (client, count) = (self.client.clone(), self.count.clone());
        count.set(1);
        spawn_local(async move {
            let answer = client.ask(&call).await;
            count.set(0);
            then(answer);
        });
    }
}

#[hook]
pub fn use_send() -> Send {
    let client = use_client();
    let count = use_state_eq(|| 0);
    Send {
        busy: *count > 0,
        client,
        count,
    }
}

/// Calls back every so many milliseconds while the page is visible.
#[hook]
pub fn use_poll(every_ms: Option<u32>, callback: Callback<()>) {
    let latest = use_mut_ref(|| callback.clone());
    *latest.borrow_mut() = callback;
    use_effect_with(every_ms, move |every_ms| {
        let interval = every_ms.map(|every_ms| {
            Interval::new(every_ms, move || {
                if browser::visible() {
                    let callback = latest.borrow().clone();
                    callback.emit(());
                }
            })
        });
        move || drop(interval)
    });
}
