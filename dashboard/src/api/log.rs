//! The hook that reads the log of requests: by pages towards the past, and again from the head.

use super::call::Call;
use super::client::use_client;
use super::failure::Failure;
use super::load::spawn_abortable;
use crate::state::log::{Change, Log, Part};
use futures_util::future::AbortHandle;
use rateguard_api::analytics::Event;
use rateguard_api::list::List;
use yew::prelude::*;

pub struct LogLoad {
    pub log: UseReducerHandle<Log>,
    /// Of the last reading.
    pub failure: Option<Failure>,
    /// Does nothing while an earlier reading is under way.
    pub read: Callback<Part>,
}

/// Reads the first page now and whenever the call changes.
#[hook]
pub fn use_log(call: Call) -> LogLoad {
    let client = use_client();
    let log = use_reducer(Log::default);
    let failure = use_state_eq(|| None::<Failure>);
    let running = use_mut_ref(|| None::<AbortHandle>);
    let read = {
        let (call, log, failure, running) = (call.clone(), log.clone(), failure.clone(), running.clone());
        Callback::from(move |part: Part| {
            if running.borrow().is_some() || (part == Part::Older && log.next.is_none()) {
                return;
            }
            let cursor = log.next.clone().filter(|_| part == Part::Older);
            let call = call.clone().maybe("cursor", cursor);
            let (client, log, failure, done) = (
                client.clone(),
                log.dispatcher(),
                failure.setter(),
                running.clone(),
            );
            let handle = spawn_abortable(async move {
                let answer = client.send::<List<Event>>(&call).await;
                match answer {
                    Ok(page) => {
                        failure.set(None);
                        log.dispatch(Change::Read(part, page));
                    }
                    Err(refused) => failure.set(Some(refused)),
                }
                *done.borrow_mut() = None;
            });
            *running.borrow_mut() = Some(handle);
        })
    };
    use_effect_with(call, {
        let (read, log) = (read.clone(), log.dispatcher());
        move |_| {
            log.dispatch(Change::Forget);
            read.emit(Part::First);
            move || {
                if let Some(handle) = running.borrow_mut().take() {
                    handle.abort();
                }
            }
        }
    });
    LogLoad {
        log,
        failure: (*failure).clone(),
        read,
    }
}
