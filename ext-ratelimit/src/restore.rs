//! What Redis lost, asked of the ledger of events before a hard budget admits anything (RL-17).
//!
//! - Each workspace's buckets carry a mark that a Reserve with a hard budget checks within its one script call: it must
//!   be no older than what this process has seen, or than the store itself. Missing (an empty Redis) or older (an old
//!   copy): nothing is taken, and hard budgets are closed until the spend is known again.
//! - What is still on its way to the ledger counts too: a mark of our own goes over the bus behind it, and the ledger's
//!   answer holds once that has come by. A workspace that is younger than the store, and of which this process has seen
//!   nothing, had nothing to lose: it is asked for without one.
//! - Spend is only ever raised. Budgets that only alert are raised on the same occasion, or by the reconciler.
//! - Off without a control plane that has a ledger, and without a bus: buckets then start anew, as they are.

mod ahead;
mod source;

use crate::clock;
use crate::degraded::{Admission, Failover, closed};
use crate::events::EventBus;
use crate::feed::{Feed, budget_quota};
use crate::ledger::{Ledger, LedgerError, MARK_BEAT_MS, Reserve, Spent};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
pub use ahead::SpendState;
use rateguard_model::budget::BudgetSubject;
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_model::partition;
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, Quota, QuotaKind};
use rateguard_model::window::{Bounds, Window};
use rateguard_wire::{bus, v1};
pub use source::{SpendError, SpendSource};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};

/// Workspaces that are restored at the same time.
const JOB_COUNT_MAX: usize = 32;

/// Workspaces whose mark is remembered. About 40 bytes each; one that is forgotten is judged by the store's age.
const SEEN_MAX: usize = 100_000;

/// How long one try lasts; the next Reserve begins another.
const JOB_PATIENCE: Duration = Duration::from_secs(60);

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What the ledger of events is kept in.
const QUARTER_MS: i64 = 900_000;

/// Budgets of a workspace that are restored.
const BUDGET_COUNT_MAX: usize = 1_000;

/// Before the store has said since when it runs, no mark is new enough.
const NOT_SAID: i64 = i64::MAX;

/// Reserves, and sees to it that what was spent is known.
pub struct Restorer<P, F> {
    ledger: Arc<Failover<P, F>>,
    bus: Arc<dyn EventBus>,
    feed: Arc<Feed>,
    source: Option<SpendSource>,
    /// How long after an outage its settlements may come: they are in the ledger already.
    grace_ms: i64,
    /// Until when this process has seen a workspace's buckets whole.
    seen: Mutex<HashMap<WorkspaceId, i64>>,
    started_ms: AtomicI64,
    /// When this process began: before that, memory had nothing.
    born_ms: i64,
    jobs: Mutex<HashMap<WorkspaceId, watch::Receiver<bool>>>,
    /// Whether the marks of the first view have been read.
    has_looked: AtomicBool,
    turns: Semaphore,
    metrics: Arc<Metrics>,
    warning: Throttle,
}

/// A job's end, also by a panic.
struct Ending<P: Ledger, F: Ledger>(Arc<Restorer<P, F>>, WorkspaceId);

impl<P: Ledger, F: Ledger> Drop for Ending<P, F> {
    fn drop(&mut self) {
        lock(&self.0.jobs).remove(&self.1);
    }
}

impl<P: Ledger, F: Ledger> Restorer<P, F> {
    pub fn new(
        ledger: Arc<Failover<P, F>>,
        bus: Arc<dyn EventBus>,
        feed: Arc<Feed>,
        source: Option<SpendSource>,
        grace: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            ledger,
            bus,
            feed,
            source,
            grace_ms: i64::try_from(grace.as_millis()).unwrap_or(i64::MAX),
            seen: Mutex::default(),
            started_ms: AtomicI64::new(NOT_SAID),
            born_ms: clock::now_ms(),
            jobs: Mutex::default(),
            has_looked: AtomicBool::new(false),
            turns: Semaphore::new(JOB_COUNT_MAX),
            metrics,
            warning: Throttle::new(10_000),
        }
    }

    /// As [`Failover::reserve`], but nothing is admitted on a hard budget whose spend is not known. Waits for it within
    /// `patience`, and refuses as degraded if that was not enough.
    pub async fn reserve(
        self: &Arc<Self>,
        mut request: Reserve,
        worker: u64,
        patience: Option<Duration>,
        now_ms: i64,
    ) -> Result<Admission, LedgerError> {
        let deadline = Instant::now() + patience.unwrap_or(self.ledger.timeout());
        if self.is_on() && self.started_ms.load(Ordering::Acquire) == NOT_SAID {
            // Once: without it every mark would be too old.
            let _ = timeout_at(deadline, self.learn_start()).await;
        }
        request.whole_since_ms = self.whole_since_ms(&request);
        let mut answer = self.ledger.reserve(&request, worker, patience, now_ms).await;
        if matches!(answer, Err(LedgerError::SpendUnknown)) {
            if self.wait(&request, deadline).await {
                request.whole_since_ms = self.whole_since_ms(&request);
                answer = self.ledger.reserve(&request, worker, patience, now_ms).await;
            }
            if matches!(answer, Err(LedgerError::SpendUnknown)) {
                self.metrics.spend_unknown.inc();
                let reserved = closed(&request, now_ms, is_hard);
                return Ok(Admission {
                    reserved,
                    degraded: true,
                });
            }
        }
        if let (Ok(admission), Some(_)) = (&answer, request.whole_since_ms)
            && !admission.degraded
        {
            self.note_whole(request.workspace_id, admission.reserved.now_ms - MARK_BEAT_MS);
        }
        answer
    }

    async fn learn_start(&self) {
        if !self.is_on() {
            return;
        }
        let started_ms = if self.ledger.has_primary() {
            self.ledger.started_ms(clock::now_ms()).await.ok()
        } else {
            Some(self.born_ms)
        };
        if let Some(started_ms) = started_ms {
            self.started_ms.store(started_ms, Ordering::Release);
        }
    }

    fn is_on(&self) -> bool {
        self.source.is_some() && self.feed.has_ledger() && self.bus.keeps()
    }

    /// How old the mark may be; `None` where none is needed.
    fn whole_since_ms(&self, request: &Reserve) -> Option<i64> {
        if !self.is_on() || !request.quotas.iter().any(is_hard) {
            return None;
        }
        let seen = lock(&self.seen).get(&request.workspace_id).copied();
        Some(
            seen.unwrap_or_else(|| self.started_ms.load(Ordering::Acquire))
                .min(AMOUNT_MAX),
        )
    }

    fn note_whole(&self, workspace_id: WorkspaceId, at_ms: i64) {
        let mut seen = lock(&self.seen);
        if seen.len() >= SEEN_MAX && !seen.contains_key(&workspace_id) {
            seen.clear();
        }
        let known_ms = seen.entry(workspace_id).or_insert(at_ms);
        *known_ms = at_ms.max(*known_ms);
    }

    /// Restores a workspace, or waits for who does; whether it is done.
    async fn wait(self: &Arc<Self>, request: &Reserve, deadline: Instant) -> bool {
        let quotas = request.quotas.iter().filter(|quota| is_hard(quota));
        let mut done = self.begin(request.workspace_id, quotas.cloned().collect());
        let waited = timeout_at(deadline, done.wait_for(|is_done| *is_done)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Begins to restore a workspace, if nobody does; tells when it is done.
    fn begin(self: &Arc<Self>, workspace_id: WorkspaceId, asked: Vec<Quota>) -> watch::Receiver<bool> {
        let mut jobs = lock(&self.jobs);
        if let Some(done) = jobs.get(&workspace_id) {
            return done.clone();
        }
        let (finished, done) = watch::channel(false);
        jobs.insert(workspace_id, done.clone());
        let ending = Ending(self.clone(), workspace_id);
        tokio::spawn(async move {
            let is_done = ending.0.restore(workspace_id, &asked).await;
            drop(ending);
            finished.send_replace(is_done);
        });
        done
    }

    /// Asks until the ledger knows, and raises. `asked`: what is to be admitted, in case the feed has it not yet.
    async fn restore(&self, workspace_id: WorkspaceId, asked: &[Quota]) -> bool {
        let deadline = Instant::now() + JOB_PATIENCE;
        let Ok(_turn) = self.turns.acquire().await else {
            return false;
        };
        self.learn_start().await;
        let mut mark_id = None;
        let mut pause = PAUSE_MIN;
        while Instant::now() < deadline {
            match self.restore_once(workspace_id, asked, &mut mark_id).await {
                Ok(raised) => {
                    self.metrics.spend_restores.inc();
                    tracing::info!(workspace.id = %workspace_id, raised, after_loss = mark_id.is_some(),
                        "what budgets have spent is known");
                    return true;
                }
                Err(error) => self.warn(workspace_id, &error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        false
    }

    fn warn(&self, workspace_id: WorkspaceId, error: &RestoreError) {
        let is_news = !matches!(error, RestoreError::Incomplete | RestoreError::Outage);
        if is_news && self.warning.pass(clock::now_ms()) {
            tracing::warn!(workspace.id = %workspace_id, error = error as &dyn std::error::Error,
                "what was spent is not known: hard budgets are closed");
        }
    }

    /// Answers how many budgets were raised.
    async fn restore_once(
        &self,
        workspace_id: WorkspaceId,
        asked: &[Quota],
        mark_id: &mut Option<RequestId>,
    ) -> Result<usize, RestoreError> {
        let now_ms = clock::now_ms();
        let has_lost = self.has_lost(workspace_id);
        if has_lost && now_ms < self.ledger.back_since_ms().saturating_add(self.grace_ms) {
            return Err(RestoreError::Outage);
        }
        let source = self.source.as_ref().ok_or(RestoreError::Incomplete)?;
        if has_lost && mark_id.is_none() {
            *mark_id = Some(self.mark(workspace_id, now_ms).await?);
        }
        let windows = self.windows(workspace_id, asked, now_ms);
        let query = v1::SpendQuery {
            workspace_id: workspace_id.as_bytes().to_vec(),
            mark_id: mark_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            windows: windows.iter().map(|(_, window)| window.clone()).collect(),
        };
        let answer = source.ask(&query).await?;
        if answer.is_incomplete || answer.spent.len() != windows.len() {
            return Err(RestoreError::Incomplete);
        }
        let spent: Vec<Spent> = windows
            .into_iter()
            .zip(answer.spent)
            .map(|((quota, window), spent)| Spent {
                quota,
                window_start_ms: window.start_ms,
                spent: spent.clamp(0, AMOUNT_MAX),
            })
            .collect();
        let raised = self.ledger.raise(workspace_id, &spent, true, now_ms).await?;
        Ok(raised.iter().filter(|by| **by > 0).count())
    }

    /// Whether there was anything to lose, as far as this process can tell.
    fn has_lost(&self, workspace_id: WorkspaceId) -> bool {
        let is_seen = lock(&self.seen).contains_key(&workspace_id);
        is_seen || made_ms(workspace_id) <= self.started_ms.load(Ordering::Acquire)
    }

    /// Puts a mark on the bus.
    async fn mark(&self, workspace_id: WorkspaceId, now_ms: i64) -> Result<RequestId, RestoreError> {
        let id = RequestId::v7(now_ms.unsigned_abs(), rand::random());
        let mark = v1::RequestEvent {
            event_id: id.as_bytes().to_vec(),
            timestamp_ms: now_ms,
            workspace_id: workspace_id.as_bytes().to_vec(),
            // To a consumer that knows no marks: nothing is added to anything.
            revision: 1,
            ..v1::RequestEvent::default()
        };
        self.bus.publish(bus::MARK_NODE, vec![mark]).await?;
        Ok(id)
    }

    /// The budgets' buckets, and what to ask for each.
    fn windows(
        &self,
        workspace_id: WorkspaceId,
        asked: &[Quota],
        now_ms: i64,
    ) -> Vec<(Quota, v1::SpendWindow)> {
        let view = self.feed.view();
        let known = view.iter().flat_map(|view| view.budgets_of(workspace_id));
        let known = known.filter_map(|budget| Some((budget_quota(budget)?, budget.subject.clone())));
        let mut budgets: Vec<(Quota, BudgetSubject)> = known.collect();
        for quota in asked {
            let is_known = budgets
                .iter()
                .any(|(known, _)| known.id == quota.id && known.version == quota.version);
            if !is_known && quota.partition == partition::WORKSPACE {
                budgets.push((quota.clone(), BudgetSubject::Workspace));
            }
        }
        budgets
            .into_iter()
            .take(BUDGET_COUNT_MAX)
            .filter_map(|(quota, subject)| {
                let window = spend_window(&subject, window_of(&quota)?.bounds(now_ms));
                Some((Quota { amount: 0, ..quota }, window))
            })
            .collect()
    }
}

/// Why what was spent is not known yet.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error("the ledger has not everything yet")]
    Incomplete,
    #[error("settlements of an outage may still come")]
    Outage,
    #[error("the mark could not be put on the bus")]
    Bus(#[from] crate::events::BusError),
    #[error("the control plane did not say what was spent")]
    Source(#[from] SpendError),
    #[error("the ledger could not be raised")]
    Ledger(#[from] LedgerError),
}

/// A budget that refuses, in a window that the ledger of events can tell.
fn is_hard(quota: &Quota) -> bool {
    quota.kind == QuotaKind::Budget && quota.mode == Mode::Enforce && window_of(quota).is_some()
}

/// `None`: no window, or one that does not begin and end with a quarter of an hour.
fn window_of(quota: &Quota) -> Option<Window> {
    match quota.meter {
        Meter::FixedWindow { window } => match window {
            Window::Rolling { ms } => (ms % QUARTER_MS.unsigned_abs() == 0).then_some(window),
            Window::Calendar { .. } | Window::Total => Some(window),
        },
        Meter::TokenBucket { .. } | Meter::SlidingWindow { .. } => None,
    }
}

fn spend_window(subject: &BudgetSubject, bounds: Bounds) -> v1::SpendWindow {
    let (kind, subject) = rateguard_wire::convert::subject_named(subject);
    let is_endless = bounds.end_ms >= AMOUNT_MAX;
    v1::SpendWindow {
        subject_kind: kind.into(),
        subject,
        start_ms: bounds.start_ms.max(0),
        end_ms: if is_endless { 0 } else { bounds.end_ms },
    }
}

/// When a workspace was made, by its UUIDv7; 0 if that is not told.
fn made_ms(workspace_id: WorkspaceId) -> i64 {
    let id = u128::from_be_bytes(*workspace_id.as_bytes());
    let version = (id >> 76) & 0xf;
    if version == 7 { (id >> 80) as i64 } else { 0 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspaces_age_is_in_its_id() {
        let id: WorkspaceId = "019a0b1c-2d3e-7000-8000-000000000000".parse().unwrap();
        assert_eq!(made_ms(id), 0x019a_0b1c_2d3e);
        let old: WorkspaceId = "019a0b1c-2d3e-4000-8000-000000000000".parse().unwrap();
        assert_eq!(made_ms(old), 0);
    }

    #[test]
    fn only_windows_of_whole_quarters_can_be_told() {
        let quota = |window| Quota {
            id: rateguard_model::id::QuotaId::from_bytes([1; 16]),
            version: 1,
            kind: QuotaKind::Budget,
            unit: rateguard_model::quota::Unit::NanoUsd,
            limit: 1,
            meter: Meter::FixedWindow { window },
            mode: Mode::Enforce,
            failure_mode: rateguard_model::quota::FailureMode::FailOpen,
            partition: "-".into(),
            amount: 1,
        };
        assert!(is_hard(&quota(Window::Total)));
        assert!(is_hard(&quota(Window::Rolling { ms: 3_600_000 })));
        assert!(!is_hard(&quota(Window::Rolling { ms: 3_600_001 })));
        let soft = Quota {
            mode: Mode::Shadow,
            ..quota(Window::Total)
        };
        assert!(!is_hard(&soft));
        let total = spend_window(&BudgetSubject::Workspace, Window::Total.bounds(5));
        assert_eq!((total.start_ms, total.end_ms), (0, 0));
    }
}
