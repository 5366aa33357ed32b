//! Answers of our own: refusals, and the gateway's readiness.

use super::{Call, Exchange, Rejected, Reserving, World};
use crate::effect::{Effect, Effects, Flow, Metric, Reply};
use crate::event::{Now, Reserved};
use crate::limits::{self, View};
use crate::reply::{REQUEST_ID, Refusal};
use crate::text::HeaderText;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::id::RequestId;
use rateguard_model::money::NanoUsd;
use rateguard_model::resource::Key;
use std::rc::Rc;

/// A refusal while it is being decided, with what is known by then.
pub(super) struct Refuse {
    pub(super) refusal: Refusal,
    pub(super) key: Option<Rc<Key>>,
    pub(super) call: Option<Box<Call>>,
}

impl Refuse {
    pub(super) fn unknown(refusal: Refusal) -> Self {
        Self {
            refusal,
            key: None,
            call: None,
        }
    }

    pub(super) fn of_key(key: &Rc<Key>, code: ErrorCode) -> Self {
        Self {
            refusal: Refusal::new(code),
            key: Some(Rc::clone(key)),
            call: None,
        }
    }

    pub(super) fn of_call(call: Box<Call>, refusal: Refusal) -> Self {
        Self {
            refusal,
            key: Some(Rc::clone(&call.key)),
            call: Some(call),
        }
    }
}

/// The ledger refused.
pub(super) fn by_ledger(
    state: Reserving,
    reserved: &Reserved,
    mut refused: limits::Refused,
    now: Now,
) -> (Exchange, Effects) {
    let view = View {
        quotas: &state.quotas,
        labels: &state.labels,
        results: &reserved.results,
    };
    let mut more = HeaderText::with_capacity(10);
    limits::rule_headers(&mut more, view, now);
    limits::budget_headers(&mut more, view, NanoUsd::ZERO);
    more.push("x-rateguard-latency-ms", now.ms_since(state.asked));
    if reserved.degraded {
        more.push_str("x-rateguard-degraded", "true");
    }
    let shadow = view.shadow_refusal();
    refused.rule_id = refused.rule_id.or(shadow);
    rejected(
        state.call,
        refused,
        &more,
        shadow.is_some(),
        reserved.degraded,
        Vec::new(),
    )
}

/// The failure modes refused.
pub(super) fn unasked(state: Reserving, refused: limits::Refused, list: Vec<Effect>) -> (Exchange, Effects) {
    let mut more = HeaderText::with_capacity(1);
    more.push_str("x-rateguard-degraded", "true");
    rejected(state.call, refused, &more, false, true, list)
}

fn rejected(
    call: Box<Call>,
    mut refused: limits::Refused,
    more: &HeaderText,
    shadow: bool,
    degraded: bool,
    mut list: Vec<Effect>,
) -> (Exchange, Effects) {
    if degraded {
        refused.refusal.for_want_of_the_ledger();
    }
    let limits::Refused {
        refusal,
        rule_id,
        budget_id,
    } = refused;
    list.push(Effect::Reply(Box::new(refusal.reply(&call.id, more))));
    list.push(Effect::Count(Metric::Refused(refusal.code)));
    let state = Rejected {
        id: call.id,
        started: call.started,
        key: Some(Rc::clone(&call.key)),
        method: String::new(),
        call: Some(call),
        code: refusal.code,
        rule_id,
        budget_id,
        shadow,
        degraded,
        replacement: None,
    };
    (
        Exchange::Rejected(Box::new(state)),
        Effects {
            flow: Flow::Pause,
            list,
        },
    )
}

/// A request whose API is known.
pub(super) fn call(call: Box<Call>, refusal: Refusal) -> (Exchange, Effects) {
    let refused = limits::Refused {
        refusal,
        rule_id: None,
        budget_id: None,
    };
    rejected(call, refused, &HeaderText::default(), false, false, Vec::new())
}

/// A request of which less is known.
pub(super) fn unknown_call(id: RequestId, now: Now, method: String, refused: Refuse) -> (Exchange, Effects) {
    let Refuse { refusal, key, call } = refused;
    let list = vec![
        Effect::Reply(Box::new(refusal.reply(&id, &HeaderText::default()))),
        Effect::Count(Metric::Refused(refusal.code)),
    ];
    let state = Rejected {
        id,
        started: now,
        key,
        call,
        method,
        code: refusal.code,
        rule_id: None,
        budget_id: None,
        shadow: false,
        degraded: false,
        replacement: None,
    };
    (
        Exchange::Rejected(Box::new(state)),
        Effects {
            flow: Flow::Pause,
            list,
        },
    )
}

/// `GET /ready` of the gateway.
pub(super) fn ready(id: RequestId, world: World<'_>, now: Now) -> (Exchange, Effects) {
    let too_old = world
        .config
        .snapshot_max_age_ms
        .is_some_and(|max| world.snapshot.age_ms(now.unix_ms()) > max);
    let reply = if world.snapshot.is_held() && !too_old {
        Reply {
            status: 200,
            headers: vec![
                (REQUEST_ID, id.to_string()),
                ("content-type", "application/json".to_owned()),
            ],
            body: format!(
                "{{\"status\":\"ready\",\"timestamp\":\"{}\"}}",
                limits::timestamp(now.unix_ms())
            ),
        }
    } else {
        Refusal::new(ErrorCode::NotReady).reply(&id, &HeaderText::default())
    };
    (
        Exchange::Over,
        Effects {
            flow: Flow::Pause,
            list: vec![Effect::Reply(Box::new(reply))],
        },
    )
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
