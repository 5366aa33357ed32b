//! The switch between two ledgers, with fakes on both sides: who is asked, what is acknowledged, what is remembered.

use super::*;
use crate::degraded::admit::RETRY_AFTER_MS;
use crate::ledger::QuotaResult;
use rateguard_model::quota::{FailureMode, Meter, Mode, Quota, QuotaKind, Unit};
use rateguard_model::window::{Bounds, Window};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts what it is asked; admits while a quota's amount fits its limit. Can fail or hang.
#[derive(Default)]
struct Fake {
    calls: AtomicU32,
    /// 0: works, 1: fails, 2: hangs.
    state: AtomicU32,
    taken: Mutex<HashMap<(QuotaId, String), i64>>,
    settled: Mutex<Vec<Settlement>>,
    remaining: AtomicU64,
}

impl Fake {
    async fn answer(&self) -> Result<(), LedgerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.state.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(LedgerError::Unavailable(None)),
            _ => std::future::pending().await,
        }
    }

    fn set(&self, state: u32) {
        self.state.store(state, Ordering::SeqCst);
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Ledger for Arc<Fake> {
    async fn reserve(&self, request: &Reserve, now_ms: i64) -> Result<Reserved, LedgerError> {
        self.answer().await?;
        let mut taken = self.taken.lock().unwrap();
        let key = |q: &Quota| (q.id, q.partition.clone());
        let fits = |q: &Quota| taken.get(&key(q)).copied().unwrap_or(0) + q.amount <= q.limit;
        let admitted = request.quotas.iter().all(fits);
        let result = |_: &Quota| QuotaResult {
            admitted,
            remaining: i64::try_from(self.remaining.load(Ordering::SeqCst)).unwrap(),
            ..QuotaResult::default()
        };
        let results = request.quotas.iter().map(result).collect();
        if admitted {
            for quota in &request.quotas {
                *taken.entry(key(quota)).or_insert(0) += quota.amount;
            }
        }
        Ok(Reserved {
            admitted,
            now_ms,
            results,
        })
    }

    async fn settle(&self, settlements: &[Settlement], _: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.answer().await?;
        self.settled.lock().unwrap().extend_from_slice(settlements);
        Ok(vec![Resolution::Applied; settlements.len()])
    }

    async fn renew(
        &self,
        reservations: &[(WorkspaceId, RequestId)],
        _: u32,
        _: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        self.answer().await?;
        Ok(vec![Resolution::Unknown; reservations.len()])
    }

    async fn release(&self, releases: &[Settlement], _: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.answer().await?;
        Ok(vec![Resolution::Applied; releases.len()])
    }

    async fn charge(&self, overdue: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.settle(overdue, now_ms).await
    }

    async fn status(
        &self,
        _: WorkspaceId,
        buckets: &[BucketRef],
        _: i64,
    ) -> Result<Vec<BucketStatus>, LedgerError> {
        self.answer().await?;
        let window = Bounds {
            start_ms: 0,
            end_ms: i64::MAX,
        };
        Ok(buckets
            .iter()
            .map(|_| BucketStatus {
                spent: 0,
                reserved: 0,
                window,
            })
            .collect())
    }

    async fn sweep(&self, _: WorkspaceId, _: usize, _: i64) -> Result<Vec<Expired>, LedgerError> {
        self.answer().await?;
        Ok(Vec::new())
    }

    async fn confirm_expired(&self, _: WorkspaceId, _: &[RequestId]) -> Result<(), LedgerError> {
        self.answer().await
    }

    async fn open_workspaces(&self) -> Result<Vec<WorkspaceId>, LedgerError> {
        self.answer().await?;
        Ok(Vec::new())
    }

    async fn raise(&self, _: WorkspaceId, spent: &[Spent], _: bool, _: i64) -> Result<Vec<i64>, LedgerError> {
        self.answer().await?;
        Ok(vec![0; spent.len()])
    }
    async fn whole_until_ms(&self, _: WorkspaceId) -> Result<Option<i64>, LedgerError> {
        self.answer().await.map(|()| None)
    }
    async fn started_ms(&self) -> Result<i64, LedgerError> {
        self.answer().await.map(|()| 0)
    }
    async fn reset(&self, _: WorkspaceId, _: QuotaId, _: Option<&str>) -> Result<u32, LedgerError> {
        self.answer().await?;
        Ok(0)
    }
}

struct Case {
    primary: Arc<Fake>,
    memory: Arc<Fake>,
    failover: Failover<Arc<Fake>, Arc<Fake>>,
}

fn case() -> Case {
    let (primary, memory) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    let failover = Failover::new(
        Some(primary.clone()),
        memory.clone(),
        Arc::new(Workers::default()),
        Arc::new(Metrics::new()),
        Duration::from_millis(20),
        Tuning {
            outbox_grace: Duration::from_secs(1),
            ..Tuning::default()
        },
    );
    Case {
        primary,
        memory,
        failover,
    }
}

impl Case {
    async fn reserve(&self, n: u8, quotas: Vec<Quota>) -> Admission {
        self.reserve_at(n, quotas, 0).await.expect("answered")
    }

    async fn reserve_at(&self, n: u8, quotas: Vec<Quota>, now_ms: i64) -> Result<Admission, LedgerError> {
        let request = Reserve {
            members: Vec::new(),
            id: RequestId::from_bytes([n; 16]),
            workspace_id: WorkspaceId::from_bytes([9; 16]),
            caller: Caller::default(),
            ttl_ms: 100,
            whole_since_ms: None,
            quotas,
        };
        self.failover.reserve(&request, 1, None, now_ms).await
    }
}

fn rule(failure_mode: FailureMode, limit: i64) -> Quota {
    Quota {
        id: QuotaId::from_bytes([1; 16]),
        version: 1,
        kind: QuotaKind::Rule,
        unit: Unit::Requests,
        limit,
        meter: Meter::SlidingWindow { window_ms: 1_000 },
        mode: Mode::Enforce,
        failure_mode,
        partition: "k".into(),
        amount: 1,
    }
}

fn budget(limit: i64) -> Quota {
    Quota {
        id: QuotaId::from_bytes([2; 16]),
        kind: QuotaKind::Budget,
        unit: Unit::NanoUsd,
        meter: Meter::FixedWindow {
            window: Window::Rolling { ms: 60_000 },
        },
        ..rule(FailureMode::BoundedOpen, limit)
    }
}

fn settlement(n: u8) -> Settlement {
    Settlement {
        id: RequestId::from_bytes([n; 16]),
        workspace_id: WorkspaceId::from_bytes([9; 16]),
        reserved_at_ms: 0,
        amounts: Vec::new(),
        part: 0,
    }
}

#[tokio::test]
async fn rl_08_an_error_moves_to_memory_and_no_later_request_pays_for_it() {
    let case = case();
    assert!(
        !case
            .reserve(1, vec![rule(FailureMode::FailOpen, 9)])
            .await
            .degraded
    );
    case.primary.set(1);
    let admission = case.reserve(2, vec![rule(FailureMode::FailOpen, 9)]).await;
    assert!(admission.degraded && admission.reserved.admitted);
    let asked = case.primary.calls();
    for n in 3..8 {
        assert!(
            case.reserve(n, vec![rule(FailureMode::FailOpen, 9)])
                .await
                .degraded
        );
    }
    assert_eq!(case.primary.calls(), asked);
}

#[tokio::test]
async fn rl_09_a_hanging_redis_costs_each_caller_at_most_its_patience_and_then_nothing() {
    let case = case();
    case.primary.set(2);
    for n in 1..=3 {
        let admission = tokio::time::timeout(
            Duration::from_secs(2),
            case.reserve(n, vec![rule(FailureMode::FailOpen, 9)]),
        )
        .await;
        assert!(admission.expect("within the deadline").degraded);
    }
    assert!(case.failover.is_degraded());
    let asked = case.primary.calls();
    assert!(
        case.reserve(4, vec![rule(FailureMode::FailOpen, 9)])
            .await
            .degraded
    );
    assert_eq!(case.primary.calls(), asked);
}

#[tokio::test]
async fn rl_08_each_quota_follows_its_failure_mode() {
    let case = case();
    case.primary.set(1);
    let closed = case
        .reserve(1, vec![rule(FailureMode::FailClosed, 9), budget(5_000)])
        .await;
    assert!(closed.degraded && !closed.reserved.admitted);
    let admitted: Vec<_> = closed.reserved.results.iter().map(|r| r.admitted).collect();
    assert_eq!(admitted, [false, true]);
    // Open: approximated in memory.
    assert!(
        case.reserve(2, vec![rule(FailureMode::FailOpen, 1)])
            .await
            .reserved
            .admitted
    );
    assert!(
        !case
            .reserve(3, vec![rule(FailureMode::FailOpen, 1)])
            .await
            .reserved
            .admitted
    );
    // A shadow quota refuses nothing, closed or not.
    let shadow = Quota {
        mode: Mode::Shadow,
        ..rule(FailureMode::FailClosed, 9)
    };
    assert!(
        case.reserve(
            4,
            vec![Quota {
                id: QuotaId::from_bytes([5; 16]),
                ..shadow
            }]
        )
        .await
        .reserved
        .admitted
    );
}

#[tokio::test]
async fn rl_08_a_hard_budget_admits_its_share_of_what_was_last_seen() {
    let case = case();
    case.primary.remaining.store(3, Ordering::SeqCst);
    assert!(case.reserve(1, vec![budget(1_000)]).await.reserved.admitted);
    case.primary.set(1);
    let mut admitted = 0;
    for n in 2..20 {
        admitted += u32::from(case.reserve(n, vec![budget(1_000)]).await.reserved.admitted);
    }
    assert_eq!(admitted, 3);
    let refused = case.reserve(20, vec![budget(1_000)]).await.reserved;
    let result = refused.results[0];
    assert!(
        !result.admitted && result.remaining == 0 && result.retry_after_ms == Some(RETRY_AFTER_MS),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_share_is_given_back_when_another_quota_refuses() {
    let case = case();
    case.primary.remaining.store(1, Ordering::SeqCst);
    case.reserve(1, vec![budget(1_000)]).await;
    case.primary.set(1);
    assert!(
        !case
            .reserve(2, vec![budget(1_000), rule(FailureMode::FailOpen, 0)])
            .await
            .reserved
            .admitted
    );
    assert!(case.reserve(3, vec![budget(1_000)]).await.reserved.admitted);
    // The same id again takes no second share.
    assert!(case.reserve(3, vec![budget(1_000)]).await.reserved.admitted);
}

#[tokio::test]
async fn rl_08_nothing_is_acknowledged_that_is_not_durable() {
    let case = case();
    case.primary.set(1);
    case.reserve(1, vec![rule(FailureMode::FailOpen, 9)]).await;
    let asked = case.memory.calls();
    assert!(matches!(
        case.failover.settle(&[settlement(1)], 0).await,
        Err(LedgerError::Unavailable(_))
    ));
    assert!(matches!(
        case.failover.release(&[settlement(1)], 0).await,
        Err(LedgerError::Unavailable(_))
    ));
    assert_eq!(
        case.memory.calls(),
        asked,
        "memory keeps its hold until redis has the settlement"
    );
    let workspace_id = WorkspaceId::from_bytes([9; 16]);
    let held = [(workspace_id, RequestId::from_bytes([1; 16]))];
    assert_eq!(
        case.failover.renew(&held, 100, 0).await.unwrap(),
        [Resolution::Applied]
    );
    let foreign = [held[0], (workspace_id, RequestId::from_bytes([7; 16]))];
    assert!(case.failover.renew(&foreign, 100, 0).await.is_err());
}

#[tokio::test]
async fn rl_08_what_nobody_settled_is_charged_after_the_return_and_its_grace() {
    let case = case();
    case.primary.set(1);
    for n in [1, 2] {
        case.reserve(n, vec![rule(FailureMode::FailOpen, 9)]).await;
    }
    assert_eq!(case.failover.pending_count(), 2);
    assert!(
        case.failover.overdue(9, 50_000).is_empty(),
        "not while redis is away"
    );
    case.failover.probe(50_000).await;
    assert!(case.failover.is_degraded(), "the probe failed");
    case.primary.set(0);
    case.failover.probe(50_000).await;
    assert!(!case.failover.is_degraded());
    // One outbox settles in time.
    case.failover.settle(&[settlement(1)], 50_100).await.unwrap();
    assert!(case.failover.overdue(9, 50_999).is_empty(), "grace");
    let (overdue, _): (Vec<_>, Vec<_>) = case.failover.overdue(9, 51_000).into_iter().unzip();
    assert_eq!(
        overdue.iter().map(|s| s.id).collect::<Vec<_>>(),
        [RequestId::from_bytes([2; 16])]
    );
    assert_eq!(overdue[0].amounts[0].actual, 1);
    case.failover.settle(&overdue, 51_000).await.unwrap();
    assert_eq!(case.failover.pending_count(), 0);
    assert_eq!(case.primary.settled.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn without_redis_memory_is_the_store_and_nothing_is_degraded() {
    let memory = Arc::new(Fake::default());
    let failover = Failover::<Arc<Fake>, _>::new(
        None,
        memory.clone(),
        Arc::new(Workers::default()),
        Arc::new(Metrics::new()),
        Duration::from_millis(20),
        Tuning::default(),
    );
    let request = Reserve {
        members: Vec::new(),
        id: RequestId::from_bytes([1; 16]),
        workspace_id: WorkspaceId::from_bytes([9; 16]),
        caller: Caller::default(),
        ttl_ms: 100,
        whole_since_ms: None,
        quotas: vec![rule(FailureMode::FailClosed, 1)],
    };
    let admission = failover.reserve(&request, 1, None, 0).await.unwrap();
    assert!(admission.reserved.admitted && !admission.degraded);
    assert_eq!(
        failover.settle(&[settlement(1)], 0).await.unwrap(),
        [Resolution::Applied]
    );
    assert_eq!(memory.settled.lock().unwrap().len(), 1);
    assert_eq!(failover.pending_count(), 0);
}
