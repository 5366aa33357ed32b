//! Compares what budgets have spent in Redis with the ledger, and raises Redis where it is behind (EV-13, RL-10).
//!
//! Whoever consumes a workspace's events reconciles it: the work divides as the partitions do. Both sides move, so each
//! is compared with what the other said a pass before: what the ledger had then, Redis must have now, and the other way
//! round. A settlement and its event arrive within seconds of each other; a pass is longer. What is not reached is drift.
//!
//! Redis is raised to the least that the ledger said in three passes, where it was below in the last two: a late
//! settlement, which lowers both, is then seen by both. Never lowered; and a limit service that comes out of an outage
//! refuses until its outboxes have settled. A failover that lost the last writes is repaired within three passes.
//!
//! Bounded: [`WORKSPACE_COUNT_MAX`] workspaces are remembered, [`PASS_COUNT_MAX`] are compared in a pass, in turn: of more,
//! each waits for its turn.

use super::consume::Metrics;
use super::query::{QueryError, Reader};
use super::row::ApiEvent;
use super::spend::Window;
use crate::limits::{LimitsClient, LimitsError};
use rateguard_wire::v1::{BudgetState, SpendWindow, SpentBudget};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// How long a pass begins after the one before it.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Workspaces that are remembered; of more, those that were compared longest ago are forgotten until their next event.
pub const WORKSPACE_COUNT_MAX: usize = 10_000;

/// Workspaces of a pass. One is a call to the limit service and a query per window.
pub const PASS_COUNT_MAX: usize = 500;

/// Workspaces whose events this process stored.
#[derive(Debug, Default)]
pub struct Active(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    known: HashSet<Uuid>,
    /// Who is next is in front.
    order: VecDeque<Uuid>,
}

impl Active {
    /// Takes the workspaces of rows that were stored.
    pub fn note(&self, rows: &[ApiEvent]) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            // Requests without a valid key belong to no workspace.
            if !row.workspace_id.is_nil() && turns.known.insert(row.workspace_id) {
                turns.order.push_front(row.workspace_id);
            }
        }
        while turns.order.len() > WORKSPACE_COUNT_MAX {
            if let Some(gone) = turns.order.pop_back() {
                turns.known.remove(&gone);
            }
        }
    }

    /// Those whose turn it is.
    fn next(&self) -> Vec<Uuid> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = turns.order.len().min(PASS_COUNT_MAX);
        let next: Vec<Uuid> = turns.order.drain(..count).collect();
        turns.order.extend(&next);
        next
    }
}

/// A budget's window.
type Place = (Vec<u8>, i64);

/// What both sides said of a workspace's budgets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Figures(BTreeMap<Place, Pair>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    redis: i64,
    ledger: i64,
}

/// What comparing two passes says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// To raise Redis to.
    behind: Vec<SpentBudget>,
    /// By how much either side has not reached what the other said a pass before, all budgets together.
    drift_nanos: i64,
}

impl Figures {
    /// With the pass before, and with the one before that if there was one.
    fn compare(&self, before: &Self, earlier: Option<&Self>) -> Comparison {
        let mut comparison = Comparison::default();
        for (place, now) in &self.0 {
            let Some(then) = before.0.get(place) else { continue };
            let behind = then.ledger.saturating_sub(now.redis).max(0);
            let ahead = then.redis.saturating_sub(now.ledger).max(0);
            comparison.drift_nanos = comparison
                .drift_nanos
                .saturating_add(behind)
                .saturating_add(ahead);
            let Some(first) = earlier.and_then(|earlier| earlier.0.get(place)) else {
                continue;
            };
            let spent = first.ledger.min(then.ledger).min(now.ledger);
            if spent > then.redis.max(now.redis) {
                comparison.behind.push(SpentBudget {
                    budget_id: place.0.clone(),
                    window_start_ms: place.1,
                    spent,
                });
            }
        }
        comparison
    }
}

/// Why a workspace could not be compared.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[error(transparent)]
    Ledger(#[from] QueryError),
}

/// Compares the workspaces of this process's consumer.
pub struct Reconciler {
    reader: Reader,
    limits: LimitsClient,
    active: Arc<Active>,
    metrics: Arc<Metrics>,
    /// The last two passes' figures, the newer one first.
    before: HashMap<Uuid, VecDeque<Figures>>,
    /// Of each workspace, as its last comparison said.
    drifts: HashMap<Uuid, i64>,
}

impl Reconciler {
    pub fn new(reader: Reader, limits: LimitsClient, active: Arc<Active>, metrics: Arc<Metrics>) -> Self {
        Self {
            reader,
            limits,
            active,
            metrics,
            before: HashMap::new(),
            drifts: HashMap::new(),
        }
    }

    /// Passes at intervals until told to stop. Without a limit service there is nothing to compare with.
    pub async fn run(mut self, interval: Duration, mut shutdown: watch::Receiver<bool>) {
        if !self.limits.is_configured() {
            tracing::info!("no LIMITS_URL: budgets are not compared with the ledger here");
            return;
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopped = async { shutdown.wait_for(|stop| *stop).await.is_ok() };
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped => return,
            }
            self.pass().await;
        }
    }

    /// Compares those whose turn it is. One that cannot be compared keeps its figures of before.
    pub async fn pass(&mut self) {
        let turn = self.active.next();
        let mut failures = 0_usize;
        let mut reason = None;
        for workspace_id in turn {
            if let Err(error) = self.compare(workspace_id).await {
                failures += 1;
                reason = Some(error);
            }
        }
        if let Some(error) = reason {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                failures,
                error,
                "workspaces could not be compared with the ledger"
            );
        }
        if self.before.len() > WORKSPACE_COUNT_MAX {
            self.before.clear();
            self.drifts.clear();
        }
        let drift_nanos = self
            .drifts
            .values()
            .fold(0_i64, |sum, drift| sum.saturating_add(*drift));
        self.metrics.drift_nanos.set(drift_nanos);
    }

    async fn compare(&mut self, workspace_id: Uuid) -> Result<(), ReconcileError> {
        let Some(states) = self.limits.undegraded_status(workspace_id).await? else {
            // What either side says now tells nothing; nor does what was said before.
            self.before.remove(&workspace_id);
            return Ok(());
        };
        let figures = self.figures(workspace_id, states).await?;
        let before = self.before.entry(workspace_id).or_default();
        let comparison = before
            .front()
            .map(|then| figures.compare(then, before.get(1)))
            .unwrap_or_default();
        before.push_front(figures);
        before.truncate(2);
        if comparison.drift_nanos == 0 {
            self.drifts.remove(&workspace_id);
            return Ok(());
        }
        self.drifts.insert(workspace_id, comparison.drift_nanos);
        tracing::warn!(workspace.id = %workspace_id, drift_nanos = comparison.drift_nanos,
            behind = comparison.behind.len(), "redis and the ledger differ");
        if comparison.behind.is_empty() {
            return Ok(());
        }
        let raised = self.limits.raise_spend(workspace_id, comparison.behind).await?;
        for budget in &raised {
            self.metrics.reconciled.inc();
            let id = Uuid::from_slice(&budget.budget_id).unwrap_or_default();
            tracing::warn!(workspace.id = %workspace_id, budget.id = %id, raised_by_nanos = budget.raised_by,
                "redis was behind the ledger and was raised");
        }
        Ok(())
    }

    async fn figures(&self, workspace_id: Uuid, states: Vec<BudgetState>) -> Result<Figures, QueryError> {
        let mut places = Vec::with_capacity(states.len());
        let mut windows = Vec::with_capacity(states.len());
        for state in states {
            let window = Window::try_from(SpendWindow {
                subject_kind: state.subject_kind,
                subject: state.subject,
                start_ms: state.window_start_ms,
                end_ms: state.window_end_ms,
            });
            // A window that the ledger cannot add up is nobody's to compare.
            if let Ok(window) = window {
                windows.push(window);
                places.push(((state.budget_id, state.window_start_ms), state.spent));
            }
        }
        let ledger = self.reader.spent(workspace_id, &windows).await?;
        let pairs = places.into_iter().zip(ledger);
        let pairs = pairs.map(|((place, redis), ledger)| {
            (
                place,
                Pair {
                    redis,
                    ledger: ledger.max(0),
                },
            )
        });
        Ok(Figures(pairs.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(entries: &[(u8, i64, i64)]) -> Figures {
        let entry = |(id, redis, ledger): &(u8, i64, i64)| {
            let pair = Pair {
                redis: *redis,
                ledger: *ledger,
            };
            ((vec![*id; 16], 0), pair)
        };
        Figures(entries.iter().map(entry).collect())
    }

    #[test]
    fn ev_13_what_is_on_its_way_is_no_drift() {
        // The ledger lags by 30; then Redis is ahead by as much again.
        let (before, now) = (figures(&[(1, 100, 70)]), figures(&[(1, 150, 100)]));
        assert_eq!(now.compare(&before, Some(&before)), Comparison::default());
        // The ledger first: its event was faster than its settlement.
        let (before, now) = (figures(&[(1, 100, 120)]), figures(&[(1, 120, 140)]));
        assert_eq!(now.compare(&before, Some(&before)), Comparison::default());
        // A budget that was not there, and one that is gone.
        let (before, now) = (figures(&[(1, 5, 9)]), figures(&[(2, 0, 50)]));
        assert_eq!(now.compare(&before, None), Comparison::default());
    }

    #[test]
    fn rl_10_redis_is_raised_to_what_the_ledger_has_said_for_three_passes() {
        let passes = [
            figures(&[(1, 100, 90), (2, 7, 7)]),
            figures(&[(1, 60, 100), (2, 7, 7)]),
            figures(&[(1, 65, 110), (2, 7, 7)]),
        ];
        // Only once below: it may be the settlement that is late.
        let first = passes[1].compare(&passes[0], None);
        assert_eq!((first.drift_nanos, first.behind.len()), (30, 0));
        let second = passes[2].compare(&passes[1], Some(&passes[0]));
        assert_eq!(second.drift_nanos, 35);
        assert_eq!(second.behind.len(), 1);
        assert_eq!(
            (second.behind[0].budget_id.clone(), second.behind[0].spent),
            (vec![1; 16], 90)
        );
        // The ledger is behind what Redis had: told, and nothing is lowered.
        let (before, now) = (figures(&[(1, 100, 90)]), figures(&[(1, 100, 95)]));
        let comparison = now.compare(&before, Some(&before));
        assert_eq!((comparison.drift_nanos, comparison.behind.len()), (5, 0));
    }

    #[test]
    fn a_late_settlement_that_lowers_both_raises_nothing() {
        // Charged as reserved, 100; settled to 40 just before the second pass, whose event comes just after it.
        let passes = [
            figures(&[(1, 100, 100)]),
            figures(&[(1, 40, 100)]),
            figures(&[(1, 40, 40)]),
        ];
        assert_eq!(passes[1].compare(&passes[0], Some(&passes[0])).behind.len(), 0);
        assert_eq!(passes[2].compare(&passes[1], Some(&passes[0])).behind.len(), 0);
    }

    #[test]
    fn everybody_gets_a_turn() {
        let active = Active::default();
        let ids: Vec<Uuid> = (0..PASS_COUNT_MAX as u128 + 100)
            .map(|n| Uuid::from_u128(n + 1))
            .collect();
        {
            let mut turns = active.0.lock().unwrap();
            turns.known.extend(&ids);
            turns.order.extend(&ids);
        }
        let first = active.next();
        let second = active.next();
        assert_eq!(first.len(), PASS_COUNT_MAX);
        let seen: HashSet<Uuid> = first.into_iter().chain(second).collect();
        assert_eq!(seen.len(), ids.len());
    }
}
