//! Asking before anybody comes, so that no request has to wait for what was spent.
//!
//! - At the start, and whenever the store was started anew: for workspaces whose mark is older than the store. A process
//!   that only takes over from another finds newer marks and asks nobody.
//! - For workspaces that get their first hard budget while this process runs.
//! - Others are asked for when somebody comes; the outcome is the same, that request waits.

use super::{NOT_SAID, Restorer, is_hard, lock};
use crate::clock;
use crate::feed::{View, budget_quota};
use crate::ledger::{Ledger, LedgerError};
use rateguard_model::id::{QuotaId, WorkspaceId};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Workspaces whose marks are read at the start. Each that has lost its buckets costs the control plane a query.
const WORKSPACE_COUNT_MAX: usize = 256;

/// How often the store is asked since when it runs.
const STARTED_INTERVAL: Duration = Duration::from_secs(1);

/// By how much the store's own account of its start varies, in ms: it is told in whole seconds.
const STARTED_JITTER_MS: i64 = 2_000;

/// Whether it is known what hard budgets have spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpendState {
    /// There is no ledger of events, or nothing that carries events to it.
    NotKept,
    /// The marks have not been read yet, or the ledger has not answered for every workspace that it was asked for.
    AskedFor,
    /// Nothing is being asked for. A workspace beyond those that are asked for ahead may still have to be.
    Known,
}

impl<P: Ledger, F: Ledger> Restorer<P, F> {
    /// Asks the store at intervals since when it runs, and for what budgets have spent where nobody knows it. Until
    /// cancelled.
    pub async fn watch(self: Arc<Self>) {
        let mut known: Option<Arc<View>> = None;
        let mut examined_ms = None;
        loop {
            self.learn_start().await;
            if let Some(view) = self.feed.view() {
                if let Some(before) = known.as_ref().filter(|before| !Arc::ptr_eq(before, &view)) {
                    self.prepare_new(&view, before);
                }
                self.prepare_lost(&view, &mut examined_ms).await;
                known = Some(view);
            }
            let _ = tokio::time::timeout(STARTED_INTERVAL, self.feed.changed()).await;
        }
    }

    /// What is known, for people and for who waits for it.
    pub fn spend_state(&self) -> SpendState {
        if !self.is_on() {
            SpendState::NotKept
        } else if self.has_looked.load(Ordering::Acquire) && lock(&self.jobs).is_empty() {
            SpendState::Known
        } else {
            SpendState::AskedFor
        }
    }

    fn prepare_new(self: &Arc<Self>, view: &View, before: &View) {
        for workspace_id in governed(view, |budget_id| before.budget(budget_id).is_none()) {
            if self.is_on() && !lock(&self.seen).contains_key(&workspace_id) {
                self.begin(workspace_id, Vec::new());
            }
        }
    }

    /// Once for each start of the store; again after a second if it did not answer.
    async fn prepare_lost(self: &Arc<Self>, view: &View, examined_ms: &mut Option<i64>) {
        let started_ms = self.started_ms.load(Ordering::Acquire);
        let is_same = |examined_ms: i64| started_ms.saturating_sub(examined_ms).abs() <= STARTED_JITTER_MS;
        if !self.is_on() || started_ms == NOT_SAID || examined_ms.is_some_and(is_same) {
            return;
        }
        for workspace_id in governed(view, |_| true).into_iter().take(WORKSPACE_COUNT_MAX) {
            match self.is_whole(workspace_id, started_ms).await {
                Ok(true) => {}
                Ok(false) => drop(self.begin(workspace_id, Vec::new())),
                Err(_) => return,
            }
        }
        *examined_ms = Some(started_ms);
        self.has_looked.store(true, Ordering::Release);
    }

    async fn is_whole(&self, workspace_id: WorkspaceId, started_ms: i64) -> Result<bool, LedgerError> {
        let since_ms = lock(&self.seen).get(&workspace_id).copied().unwrap_or(started_ms);
        let until_ms = self.ledger.whole_until_ms(workspace_id, clock::now_ms()).await?;
        Ok(until_ms.is_some_and(|until_ms| until_ms >= since_ms))
    }
}

/// Workspaces with a hard budget that is meant, each once.
fn governed(view: &View, is_meant: impl Fn(QuotaId) -> bool) -> HashSet<WorkspaceId> {
    view.budgets()
        .filter(|budget| is_meant(budget.id))
        .filter(|budget| budget_quota(budget).as_ref().is_some_and(is_hard))
        .map(|budget| budget.workspace_id)
        .collect()
}
