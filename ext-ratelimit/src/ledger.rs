//! The ledger: reserves quotas before a request and settles them after it.
//!
//! Invariants, held by every store and asserted by one behaviour suite over both:
//! - all quotas of a reservation are taken, or none (shadow quotas are taken when they can and never refuse);
//! - a reservation is resolved at most once; the same id twice has one effect and one answer, for 30 minutes;
//! - a settlement always writes, also below zero, also for a reservation this store has never seen;
//! - an expired reservation is charged at what it still held; a late settlement replaces that charge, late reports do
//!   not;
//! - reports on a reservation that stays open carry totals: the latest counts, whatever was lost, repeated or late;
//! - windows start and end where [`rateguard_model::window`] says, and never slide by being hit;
//! - a store that lost its buckets says so where it is asked to ([`Reserve::whole_since_ms`]), and what was spent is only
//!   ever raised from elsewhere.

mod calendar_memo;
mod check;
pub mod memory;
pub mod redis;

pub use check::{MEMORY_MS, TTL_MS_MAX, WAIT_MS_MAX};

/// A store that admits says anew that its buckets are whole, this often at most, in ms.
pub const MARK_BEAT_MS: i64 = 1_000;

use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::Quota;
use rateguard_model::window::Bounds;
use std::future::Future;

/// What a request wants to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub id: RequestId,
    pub workspace_id: WorkspaceId,
    pub caller: Caller,
    pub ttl_ms: u32,
    /// Answer [`LedgerError::SpendUnknown`] unless the workspace's buckets were known to be whole at this time (Unix ms,
    /// by the store's clock) or later. `None`: take them as they are.
    pub whole_since_ms: Option<i64>,
    pub quotas: Vec<Quota>,
    /// Of a joint reservation: who it is made for. Counts nothing.
    pub members: Vec<Member>,
}

/// Who calls what, for the event of a reservation that expires; `None` where it was not said. Counts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caller {
    pub key_id: Option<KeyId>,
    pub api_id: Option<ApiId>,
}

/// The ledger's answer. `results` has one entry per quota, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    pub admitted: bool,
    /// The store's clock when it decided.
    pub now_ms: i64,
    pub results: Vec<QuotaResult>,
}

/// Fields as in `QuotaResult` of limits.proto.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaResult {
    pub admitted: bool,
    pub remaining: i64,
    pub reset_ms: i64,
    /// `None` when admitted or when the amount can never be admitted.
    pub retry_after_ms: Option<i64>,
    pub spent: i64,
    pub reserved: i64,
    pub window_start_ms: i64,
}

/// A request of a joint reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub id: RequestId,
    /// What it holds of budgets. 0..2^53.
    pub cost_nanos: i64,
}

/// What a request really used. Stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub id: RequestId,
    pub workspace_id: WorkspaceId,
    pub reserved_at_ms: i64,
    pub amounts: Vec<SettledAmount>,
    /// 0 resolves the reservation. Else the n-th report on one that stays open; its figures are totals, and all
    /// reports list the amounts in the order in which they were reserved. There are none on a SLIDING_WINDOW.
    pub part: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledAmount {
    /// `amount` is what was held.
    pub quota: Quota,
    pub window_start_ms: i64,
    /// 0..2^53; negative is invalid.
    pub actual: i64,
    /// Reports only: how much of the amount is not held any more, 0..=amount.
    pub returned: i64,
}

/// How a [`Settlement`] resolves its reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Settle,
    Release,
    /// See [`Ledger::charge`].
    Charge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    Applied,
    Duplicate,
    /// The reservation had expired and was charged; the charge was replaced. Also of one that was replaced before.
    Replaced,
    Invalid,
    /// Renew only: no open reservation of that id.
    Unknown,
}

/// A bucket to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRef {
    pub quota: Quota,
}

/// What a bucket of a windowed quota holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketStatus {
    pub spent: i64,
    pub reserved: i64,
    pub window: Bounds,
}

/// What a fixed window has spent, from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub quota: Quota,
    pub window_start_ms: i64,
    /// 0..2^53.
    pub spent: i64,
}

/// A reservation that nobody resolved: charged in full, to be published with `usage_source = reserved`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    pub id: RequestId,
    pub workspace_id: WorkspaceId,
    pub caller: Caller,
    pub expired_at_ms: i64,
    /// (quota, version, partition, amount charged)
    pub charges: Vec<(QuotaId, u32, String, i64)>,
    /// Of a joint reservation: all that it was made for, also those that were settled.
    pub members: Vec<Member>,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store cannot answer now: nothing is known to have been written.
    #[error("the ledger's store is unavailable")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The buckets are not known to be whole ([`Reserve::whole_since_ms`]): nothing was taken.
    #[error("what was spent is not known")]
    SpendUnknown,
    /// The request can never be right.
    #[error("invalid request: {0}")]
    Invalid(&'static str),
}

/// The one seam with two sides. `now_ms` is the caller's clock; stores with a clock of their own decide by theirs.
pub trait Ledger: Send + Sync + 'static {
    fn reserve(
        &self,
        request: &Reserve,
        now_ms: i64,
    ) -> impl Future<Output = Result<Reserved, LedgerError>> + Send;

    /// One answer per settlement, in order. May mix workspaces.
    fn settle(
        &self,
        settlements: &[Settlement],
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<Resolution>, LedgerError>> + Send;

    /// Moves the expiry of open reservations to `now + ttl_ms`.
    fn renew(
        &self,
        reservations: &[(WorkspaceId, RequestId)],
        ttl_ms: u32,
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<Resolution>, LedgerError>> + Send;

    /// Gives everything back, requests included (`actual` is ignored).
    fn release(
        &self,
        releases: &[Settlement],
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<Resolution>, LedgerError>> + Send;

    /// Charges what nobody settled, as if it had expired here: a settlement that comes after all replaces it. Who calls
    /// publishes it. `actual` is what was held, and there are no reports (`part` is 0).
    fn charge(
        &self,
        overdue: &[Settlement],
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<Resolution>, LedgerError>> + Send;

    /// One answer per bucket, in order.
    fn status(
        &self,
        workspace_id: WorkspaceId,
        buckets: &[BucketRef],
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<BucketStatus>, LedgerError>> + Send;

    /// Charges at most `max` expired reservations of a workspace and returns what awaits publishing, also from an
    /// earlier sweep that was not confirmed.
    fn sweep(
        &self,
        workspace_id: WorkspaceId,
        max: usize,
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<Expired>, LedgerError>> + Send;

    /// The bus has these: forget them.
    fn confirm_expired(
        &self,
        workspace_id: WorkspaceId,
        ids: &[RequestId],
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Workspaces that may hold open or expired reservations.
    fn open_workspaces(&self) -> impl Future<Output = Result<Vec<WorkspaceId>, LedgerError>> + Send;

    /// Removes the buckets of a quota, of one partition or of all; answers how many.
    fn reset(
        &self,
        workspace_id: WorkspaceId,
        quota: QuotaId,
        partition: Option<&str>,
    ) -> impl Future<Output = Result<u32, LedgerError>> + Send;

    /// Raises what windows have spent, and never lowers it; answers by how much, in order. `whole`: from now on the
    /// workspace's buckets are known to be whole. A window older than the two that are kept stays as it is.
    fn raise(
        &self,
        workspace_id: WorkspaceId,
        spent: &[Spent],
        whole: bool,
        now_ms: i64,
    ) -> impl Future<Output = Result<Vec<i64>, LedgerError>> + Send;

    /// Until when the workspace's buckets were known to be whole (Unix ms by the store's clock), as
    /// [`Reserve::whole_since_ms`] is compared with; `None` if never.
    fn whole_until_ms(
        &self,
        workspace_id: WorkspaceId,
    ) -> impl Future<Output = Result<Option<i64>, LedgerError>> + Send;

    /// Since when the store runs (Unix ms by its clock): what it holds of before may be of an older copy. 0 where it
    /// cannot say.
    fn started_ms(&self) -> impl Future<Output = Result<i64, LedgerError>> + Send;
}
