//! Random operations on both stores: the same answers, the same status, and books that balance.
//!
//! Ids repeat and come in any order; settlements are sent late, twice, before their reserve is seen and after expiry.

use crate::books::{Books, is_total};
use crate::harness::{Memory, Redis, Store, budget, quota, request, settlement};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rateguard_ext_ratelimit::ledger::{
    BucketRef, Ledger, LedgerError, QuotaResult, Reserve, Reserved, Resolution, Settlement, Spent,
};
use rateguard_model::id::{RequestId, WorkspaceId};
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, Quota, Unit};
use rateguard_model::window::Window;
use std::collections::{BTreeMap, BTreeSet};

/// Reservations that a sequence speaks of.
const ID_COUNT: usize = 10;

const TTL_MS: u32 = 5_000;

#[derive(Debug, Clone)]
enum Operation {
    Reserve(usize),
    /// Which ids, and the actual amount of each of their quotas.
    Settle(Vec<(usize, Actual)>),
    /// Reports on an id, in one batch: number, what was given back of a hundred held, and the actual amount.
    Report(usize, Vec<(u32, i64, Actual)>),
    Release(usize),
    /// As what memory admitted in an outage and nobody settled.
    Charge(usize),
    Renew(usize),
    Advance(i64),
    Sweep(usize),
    Confirm,
    Reset(usize),
    /// Of the budget with a short window, or of the one that only alerts: in this window, or in the one before.
    Raise(bool, bool, i64),
}

#[derive(Debug, Clone, Copy)]
enum Actual {
    Nothing,
    AsHeld,
    Some(i64),
    All,
    Negative,
    TooMuch,
}

impl Actual {
    fn of(self, held: i64) -> i64 {
        match self {
            Self::Nothing => 0,
            Self::AsHeld => held,
            Self::Some(amount) => amount,
            Self::All => AMOUNT_MAX,
            Self::Negative => -1,
            Self::TooMuch => AMOUNT_MAX + 1,
        }
    }
}

/// The sliding windows among the quotas. A log's amounts cannot be reported on, so that half of the ids have none.
const LOGS: u16 = 1 << 2 | 1 << 3 | 1 << 7;

/// Which quotas an id asks for, as a bit set, and a factor on their amounts.
type Ask = (u16, i64);

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let any = 1..1_u16 << 10;
    let without_logs = any.clone().prop_map(|mask| (mask & !LOGS) | 1);
    proptest::collection::vec((prop_oneof![any, without_logs], 0..4_i64), ID_COUNT)
}

fn actual() -> impl Strategy<Value = Actual> {
    prop_oneof![
        2 => Just(Actual::Nothing),
        4 => Just(Actual::AsHeld),
        4 => (0..60_i64).prop_map(Actual::Some),
        1 => Just(Actual::All),
        1 => Just(Actual::Negative),
        1 => Just(Actual::TooMuch),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let id = 0..ID_COUNT;
    prop_oneof![
        8 => id.clone().prop_map(Operation::Reserve),
        4 => proptest::collection::vec((id.clone(), actual()), 1..4).prop_map(Operation::Settle),
        4 => (id.clone(), proptest::collection::vec((1..6_u32, 0..=100_i64, actual()), 1..4))
            .prop_map(|(id, reports)| Operation::Report(id, reports)),
        1 => id.clone().prop_map(Operation::Release),
        1 => id.clone().prop_map(Operation::Charge),
        1 => id.prop_map(Operation::Renew),
        3 => (0..40_i64).prop_map(Operation::Advance),
        2 => (0..3_000_i64).prop_map(Operation::Advance),
        1 => Just(Operation::Advance(i64::from(TTL_MS))),
        2 => (1..5_usize).prop_map(Operation::Sweep),
        1 => Just(Operation::Confirm),
        1 => (0..10_usize).prop_map(Operation::Reset),
        2 => (any::<bool>(), any::<bool>(), 0..60_i64).prop_map(|(hard, now, spent)| Operation::Raise(hard, now, spent)),
    ]
}

/// One of every kind; small limits, so that they refuse often. The last is the one whose books are kept.
fn catalogue() -> Vec<Quota> {
    let tokens = |quota| Quota {
        unit: Unit::Tokens,
        amount: 7,
        ..quota
    };
    let shadow = |quota| Quota {
        mode: Mode::Shadow,
        ..quota
    };
    vec![
        quota(
            0,
            3,
            Meter::TokenBucket {
                refill_milli_per_s: 1_700,
            },
        ),
        tokens(quota(
            1,
            40,
            Meter::TokenBucket {
                refill_milli_per_s: 12_345,
            },
        )),
        quota(2, 4, Meter::SlidingWindow { window_ms: 900 }),
        tokens(quota(3, 50, Meter::SlidingWindow { window_ms: 2_500 })),
        quota(
            4,
            5,
            Meter::FixedWindow {
                window: Window::Rolling { ms: 700 },
            },
        ),
        budget(5, 60, 9, Window::Rolling { ms: 1_500 }),
        shadow(quota(
            6,
            2,
            Meter::TokenBucket {
                refill_milli_per_s: 900,
            },
        )),
        shadow(tokens(quota(7, 20, Meter::SlidingWindow { window_ms: 3_000 }))),
        shadow(budget(8, 30, 8, Window::Rolling { ms: 4_000 })),
        budget(9, 300, 10, Window::Total),
    ]
}

/// Both stores, and what a client would know.
struct Pair<'a> {
    memory: &'a Memory,
    redis: &'a Redis,
    workspace_id: WorkspaceId,
    requests: Vec<Reserve>,
    answers: BTreeMap<RequestId, Reserved>,
    /// Settled before their reserve was seen: no first answer is stored.
    early: BTreeSet<RequestId>,
    /// Settled with too much: from then on sums are cut, and books cannot be compared.
    cut: bool,
    was_reset: bool,
    awaiting: Vec<RequestId>,
    books: Books,
}

type Answer<T> = Result<T, TestCaseError>;

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    memory: Result<T, LedgerError>,
    redis: Result<T, LedgerError>,
) -> Answer<T> {
    let memory = memory.map_err(|error| TestCaseError::fail(format!("memory: {error:?}")))?;
    let redis = redis.map_err(|error| TestCaseError::fail(format!("redis: {error:?}")))?;
    prop_assert_eq!(&memory, &redis, "{}: memory, then redis", what);
    Ok(memory)
}

impl<'a> Pair<'a> {
    fn new(memory: &'a Memory, redis: &'a Redis, case: u64, asks: &[Ask]) -> Self {
        let mut workspace = [0; 16];
        workspace[8..].copy_from_slice(&case.to_be_bytes());
        let workspace_id = WorkspaceId::from_bytes(workspace);
        let catalogue = catalogue();
        let requests = asks.iter().enumerate().map(|(i, (mask, factor))| {
            let chosen = catalogue
                .iter()
                .enumerate()
                .filter(|(bit, _)| mask & (1 << bit) != 0);
            let quotas: Vec<Quota> = chosen
                .map(|(_, quota)| {
                    let factor = if quota.unit == Unit::Requests { 1 } else { *factor };
                    Quota {
                        amount: quota.amount * factor,
                        ..quota.clone()
                    }
                })
                .collect();
            let id = RequestId::v7(memory.now_ms() as u64, [i as u8; 10]);
            Reserve {
                workspace_id,
                ttl_ms: TTL_MS,
                whole_since_ms: None,
                ..request(id, &quotas)
            }
        });
        Self {
            memory,
            redis,
            workspace_id,
            requests: requests.collect(),
            answers: BTreeMap::new(),
            early: BTreeSet::new(),
            cut: false,
            was_reset: false,
            awaiting: Vec::new(),
            books: Books::default(),
        }
    }

    fn settlement(&self, i: usize, actual: Actual) -> Settlement {
        let request = &self.requests[i];
        let actuals: Vec<i64> = request
            .quotas
            .iter()
            .map(|quota| actual.of(quota.amount))
            .collect();
        if let Some(answer) = self.answers.get(&request.id) {
            return settlement(request, answer, &actuals);
        }
        // Reserved elsewhere, as while Redis was away: no window is known.
        let results = vec![QuotaResult::default(); request.quotas.len()];
        let elsewhere = Reserved {
            admitted: true,
            now_ms: self.memory.now_ms(),
            results,
        };
        settlement(request, &elsewhere, &actuals)
    }

    fn report(&self, i: usize, (part, percent, actual): (u32, i64, Actual)) -> Settlement {
        let mut report = self.settlement(i, actual);
        report.part = part;
        for amount in &mut report.amounts {
            amount.returned = amount.quota.amount * percent / 100;
        }
        report
    }

    async fn run(&mut self, operation: &Operation) -> Answer<()> {
        let now_ms = self.memory.now_ms();
        let (memory, redis) = (self.memory.ledger(), self.redis.ledger());
        match operation {
            Operation::Reserve(i) => {
                let request = self.requests[*i].clone();
                let before = self.statuses().await?;
                let reserved = same(
                    "reserve",
                    memory.reserve(&request, now_ms).await,
                    redis.reserve(&request, now_ms).await,
                )?;
                if !reserved.admitted {
                    prop_assert_eq!(
                        before,
                        self.statuses().await?,
                        "a refused request leaves no trace"
                    );
                }
                if let Some(first) = self
                    .answers
                    .get(&request.id)
                    .filter(|_| !self.early.contains(&request.id))
                {
                    prop_assert_eq!(first, &reserved, "the same id twice");
                }
                self.books.reserved(&request, &reserved);
                if reserved.admitted {
                    self.answers.entry(request.id).or_insert(reserved);
                }
            }
            Operation::Settle(which) => {
                let batch: Vec<_> = which
                    .iter()
                    .map(|(i, actual)| self.settlement(*i, *actual))
                    .collect();
                self.cut |= which.iter().any(|(_, actual)| matches!(actual, Actual::All));
                let resolutions = same(
                    "settle",
                    memory.settle(&batch, now_ms).await,
                    redis.settle(&batch, now_ms).await,
                )?;
                for (settlement, resolution) in batch.iter().zip(resolutions) {
                    self.note_resolved(settlement, resolution, false);
                }
            }
            Operation::Report(i, reports) => {
                let batch: Vec<_> = reports.iter().map(|report| self.report(*i, *report)).collect();
                self.cut |= reports.iter().any(|(_, _, actual)| matches!(actual, Actual::All));
                let resolutions = same(
                    "report",
                    memory.settle(&batch, now_ms).await,
                    redis.settle(&batch, now_ms).await,
                )?;
                for (report, resolution) in batch.iter().zip(resolutions) {
                    self.books.reported(report, resolution);
                    self.note_early(report, resolution);
                }
            }
            Operation::Raise(hard, in_force, spent) => {
                let (quota, window_ms) = if *hard { (5, 1_500) } else { (8, 4_000) };
                let at_ms = if *in_force { now_ms } else { now_ms - window_ms };
                let spent = [Spent {
                    quota: catalogue().swap_remove(quota),
                    window_start_ms: at_ms / window_ms * window_ms,
                    spent: *spent,
                }];
                same(
                    "raise",
                    memory.raise(self.workspace_id, &spent, false, now_ms).await,
                    redis.raise(self.workspace_id, &spent, false, now_ms).await,
                )?;
            }
            Operation::Release(i) => {
                let batch = [self.settlement(*i, Actual::AsHeld)];
                let resolutions = same(
                    "release",
                    memory.release(&batch, now_ms).await,
                    redis.release(&batch, now_ms).await,
                )?;
                self.note_resolved(&batch[0], resolutions[0], true);
            }
            Operation::Charge(i) => {
                let batch = [self.settlement(*i, Actual::AsHeld)];
                let resolutions = same(
                    "charge",
                    memory.charge(&batch, now_ms).await,
                    redis.charge(&batch, now_ms).await,
                )?;
                self.books.overdue(&batch[0], resolutions[0]);
                self.note_early(&batch[0], resolutions[0]);
            }
            Operation::Renew(i) => {
                let keys = [(self.workspace_id, self.requests[*i].id)];
                let (memory, redis) = (
                    memory.renew(&keys, TTL_MS, now_ms).await,
                    redis.renew(&keys, TTL_MS, now_ms).await,
                );
                same("renew", memory, redis)?;
            }
            Operation::Advance(ms) => {
                self.memory.advance(*ms).await;
                self.redis.advance(*ms).await;
            }
            Operation::Sweep(max) => {
                // Both charge the same number of those due longest; which of many awaiting are told is up to the store.
                let (memory, redis) = (
                    memory.sweep(self.workspace_id, *max, now_ms).await,
                    redis.sweep(self.workspace_id, *max, now_ms).await,
                );
                let count = same("sweep", memory.map(|all| all.len()), redis.map(|all| all.len()))?;
                prop_assert!(count <= *max);
                self.note_expired().await?;
            }
            Operation::Confirm => {
                memory
                    .confirm_expired(self.workspace_id, &self.awaiting)
                    .await
                    .expect("memory answers");
                redis
                    .confirm_expired(self.workspace_id, &self.awaiting)
                    .await
                    .expect("redis answers");
                self.awaiting.clear();
            }
            Operation::Reset(n) => {
                let id = catalogue()[*n].id;
                // Which buckets exist at all is up to the store: idle ones may be gone.
                memory
                    .reset(self.workspace_id, id, None)
                    .await
                    .expect("memory answers");
                redis
                    .reset(self.workspace_id, id, None)
                    .await
                    .expect("redis answers");
                self.was_reset |= is_total(&catalogue()[*n]);
            }
        }
        self.balance().await
    }

    fn note_resolved(&mut self, settlement: &Settlement, resolution: Resolution, release: bool) {
        self.books.resolved(settlement, resolution, release);
        self.note_early(settlement, resolution);
    }

    fn note_early(&mut self, settlement: &Settlement, resolution: Resolution) {
        if resolution == Resolution::Applied && !self.answers.contains_key(&settlement.id) {
            self.early.insert(settlement.id);
        }
    }

    /// A sweep that charges nothing tells all that await publishing.
    async fn note_expired(&mut self) -> Answer<()> {
        let now_ms = self.memory.now_ms();
        let memory = self.memory.ledger().sweep(self.workspace_id, 1_000, now_ms).await;
        let redis = self.redis.ledger().sweep(self.workspace_id, 1_000, now_ms).await;
        let expired = same("awaiting", memory, redis)?;
        for expired in expired {
            self.books.expired(expired.id);
            if !self.awaiting.contains(&expired.id) {
                self.awaiting.push(expired.id);
            }
        }
        Ok(())
    }

    async fn statuses(&self) -> Answer<Vec<(i64, i64)>> {
        let now_ms = self.memory.now_ms();
        let buckets: Vec<BucketRef> = catalogue().into_iter().map(|quota| BucketRef { quota }).collect();
        let memory = self
            .memory
            .ledger()
            .status(self.workspace_id, &buckets, now_ms)
            .await;
        let redis = self
            .redis
            .ledger()
            .status(self.workspace_id, &buckets, now_ms)
            .await;
        let statuses = same("status", memory, redis)?;
        Ok(statuses
            .iter()
            .map(|status| (status.spent, status.reserved))
            .collect())
    }

    async fn balance(&self) -> Answer<()> {
        let statuses = self.statuses().await?;
        for (i, (spent, reserved)) in statuses.iter().enumerate() {
            prop_assert!(
                *spent >= 0 && *reserved >= 0,
                "quota {}: {} spent, {} reserved",
                i,
                spent,
                reserved
            );
        }
        if !self.cut && !self.was_reset {
            let total = statuses.last().copied();
            prop_assert_eq!(
                total,
                Some((self.books.spent(), self.books.open.values().sum())),
                "the total budget"
            );
        }
        Ok(())
    }
}

#[test]
fn rl_05_both_stores_give_the_same_answers_to_any_sequence() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let redis = runtime.block_on(Redis::open());
    let case = std::cell::Cell::new(0);
    let config = Config {
        cases: 150,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    let sequences = (asks(), proptest::collection::vec(operation(), 1..60));
    let outcome = TestRunner::new(config).run(&sequences, |(asks, operations)| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let memory = Memory::open().await;
            // Both clocks start together; Redis' has moved on with the cases before.
            memory.advance(redis.now_ms() - memory.now_ms()).await;
            let mut pair = Pair::new(&memory, &redis, case.get(), &asks);
            for operation in &operations {
                pair.run(operation).await?;
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
