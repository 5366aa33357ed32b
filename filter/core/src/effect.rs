//! Everything that can go out.

use crate::edits::HeaderEdits;
use crate::event::Now;
use crate::trace::TraceContext;
use rateguard_model::error_code::ErrorCode;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{ApiId, KeyId, RequestId, WorkspaceId};
use rateguard_model::quota::Quota;
use std::rc::Rc;

/// What the host is to do, in order, and whether the stream goes on.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    pub flow: Flow,
    pub list: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flow {
    /// Nothing passes on; also what is right once a reply was sent.
    Pause,
    #[default]
    Continue,
}

#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Asks the limit service. The answer comes as an event.
    Reserve(Box<ReserveCall>),
    /// The answer to [`Effect::Reserve`] is not wanted any more.
    CancelReserve,
    EditRequestHeaders(HeaderEdits),
    /// Makes Envoy choose the route anew, by the headers that were changed: changing them alone does not.
    ChooseRoute,
    /// Replaces the whole buffered request body. Its `content-length` is gone before anything is forwarded.
    SetRequestBody(Vec<u8>),
    /// Lets a paused request go on.
    ResumeRequest,
    EditResponseHeaders(HeaderEdits),
    /// Replaces the response body that this callback was given.
    SetResponseBody(Vec<u8>),
    /// Adds after the response body that this callback was given.
    AppendResponseBody(Vec<u8>),
    /// The answer is held; it is to be told [`crate::event::Event::HoldExpired`] at this time.
    Hold {
        until: Now,
    },
    AddResponseTrailer(&'static str, String),
    /// Answers instead of the upstream.
    Reply(Box<Reply>),
    /// An open reservation: to be renewed while its answer is outstanding.
    Opened {
        id: RequestId,
        workspace_id: WorkspaceId,
    },
    /// It needs no more renewal.
    Closed {
        id: RequestId,
    },
    Settle(Box<Settlement>),
    /// Everything goes back: nothing reached the upstream.
    Release(Box<Settlement>),
    Record(Box<RequestEvent>),
    KeyUsed(KeyId),
    /// An answer's reported size, per choice: what [`crate::averages::Averages`] learns from.
    Learned {
        key_id: KeyId,
        model: String,
        output_tokens: u64,
    },
    /// What the ledger last said about a quota whose failure mode is BOUNDED_OPEN.
    Seen {
        quota: Box<Quota>,
        remaining: i64,
        live_workers: u32,
    },
    /// An admission drew on what this worker may still admit by itself.
    DrewShare {
        quota: Box<Quota>,
    },
    Count(Metric),
    Warn(Warning),
}

/// What `Reserve` carries, besides what every call does.
#[derive(Debug, Clone, PartialEq)]
pub struct ReserveCall {
    pub id: RequestId,
    pub workspace_id: WorkspaceId,
    pub key_id: KeyId,
    pub api_id: ApiId,
    pub quotas: Rc<[Quota]>,
    /// Of a joint reservation: the requests that wait for it.
    pub members: Vec<Member>,
    /// Of the request; a lease belongs to none.
    pub trace: Option<TraceContext>,
}

/// A request of a joint reservation, in case nobody is left to tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub id: RequestId,
    /// What it holds of budgets.
    pub cost_nanos: i64,
}

/// Resolves a reservation; stands alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    pub id: RequestId,
    pub workspace_id: WorkspaceId,
    pub reserved_at_ms: i64,
    /// As they were reserved; `amount` is what was held.
    pub quotas: Rc<[Quota]>,
    /// One per quota, in order.
    pub amounts: Vec<SettledAmount>,
    /// 0: the last word. Else the n-th report on a lease that stays open; its figures are totals.
    pub part: u32,
    /// Of a lease: the requests that drew on it have events of their own.
    pub is_block: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledAmount {
    pub window_start_ms: i64,
    pub actual: i64,
    /// Reports only: how much is not held any more.
    pub returned: i64,
}

/// A local answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// Counters. Each is one Envoy metric without labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Admitted,
    Bypassed,
    Refused(ErrorCode),
    /// Admitted although the ledger could not be asked, or answered from memory.
    Degraded,
    ReserveFailed,
    LocalReply,
    ClientClosed,
    /// Usage that had to be estimated.
    Estimated,
    /// An event that came in no order that makes sense.
    OutOfOrder,
}

/// Things an operator should read about. Each is logged at most once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Requests pass on their failure mode.
    LimitServiceAway,
    LedgerDegraded,
    OutOfOrder,
}
