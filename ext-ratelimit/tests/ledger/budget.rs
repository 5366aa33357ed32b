//! Budgets: fixed windows that hold an estimate and settle to the actual.

use crate::harness::{
    HOUR, RedisServer, Store, budget, counts, on_both_stores, only, quota, request, request_id, reserve,
    reserve_at_once, settlement, wall_ms,
};
use rateguard_ext_ratelimit::ledger::{BucketRef, Ledger, Resolution};
use rateguard_model::quota::{AMOUNT_MAX, Meter, Mode, Quota, QuotaKind};
use rateguard_model::window::Window;
use std::sync::Arc;
use std::time::Instant;

async fn budget_within_the_limit<S: Store>(store: S) {
    let quota = budget(1, 100, 40, HOUR);
    let (_, first) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert_eq!(
        (only(&first).spent, only(&first).reserved, only(&first).remaining),
        (0, 40, 60)
    );
    let (_, second) = reserve(
        &store,
        &[Quota {
            amount: 60,
            ..quota.clone()
        }],
    )
    .await;
    assert!(second.admitted);
    assert_eq!((only(&second).reserved, only(&second).remaining), (100, 0));
    assert_eq!(
        only(&second).window_start_ms,
        store.now_ms() / 3_600_000 * 3_600_000
    );
}

async fn budget_over_the_limit<S: Store>(store: S) {
    let quota = budget(1, 100, 40, HOUR);
    let (request, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    let more = [Quota {
        amount: 61,
        ..quota.clone()
    }];
    let (_, refused) = reserve(&store, &more).await;
    let until_next_hour_ms = 3_600_000 - store.now_ms() % 3_600_000;
    assert!(!refused.admitted);
    assert_eq!(only(&refused).retry_after_ms, Some(until_next_hour_ms));
    assert_eq!(only(&refused).reset_ms, until_next_hour_ms);
    assert_eq!((only(&refused).reserved, only(&refused).remaining), (40, 60));
    // Cheaper than estimated: room again.
    store
        .ledger()
        .settle(&[settlement(&request, &reserved, &[39])], store.now_ms())
        .await
        .expect("settled");
    assert_eq!(counts(&store, &quota).await, (39, 0));
    assert!(reserve(&store, &more).await.1.admitted);
    // Never: more than the limit, or a window that never ends.
    let (_, refused) = reserve(
        &store,
        &[Quota {
            amount: 101,
            ..quota.clone()
        }],
    )
    .await;
    assert_eq!(only(&refused).retry_after_ms, None);
    let total = budget(2, 100, 70, Window::Total);
    assert!(reserve(&store, std::slice::from_ref(&total)).await.1.admitted);
    let (_, refused) = reserve(&store, &[total]).await;
    assert_eq!((refused.admitted, only(&refused).retry_after_ms), (false, None));
}

async fn budget_refill_over_time<S: Store>(store: S) {
    let quota = [budget(1, 100, 100, Window::Rolling { ms: 10_000 })];
    for _ in 0..3 {
        assert!(reserve(&store, &quota).await.1.admitted);
        // Asking again and again does not move the window.
        for _ in 0..9 {
            store.advance(1_000).await;
            assert!(!reserve(&store, &quota).await.1.admitted);
        }
        store.advance(999).await;
        assert!(!reserve(&store, &quota).await.1.admitted);
        store.advance(1).await;
    }
}

async fn budget_correct_retry_after<S: Store>(store: S) {
    let quota = [budget(1, 100, 100, Window::Rolling { ms: 10_000 })];
    assert!(reserve(&store, &quota).await.1.admitted);
    store.advance(1_234).await;
    let (_, refused) = reserve(&store, &quota).await;
    assert_eq!(only(&refused).retry_after_ms, Some(8_766));
    store.advance(8_765).await;
    assert!(!reserve(&store, &quota).await.1.admitted);
    store.advance(1).await;
    assert!(reserve(&store, &quota).await.1.admitted);
}

/// 1000 concurrent reserves on a budget for 10, by two instances.
async fn rl_01_exactly_ten_of_a_thousand(ledgers: Vec<Arc<impl Ledger>>, now_ms: i64) {
    let quota = budget(1, 1_000, 100, Window::Total);
    assert_eq!(reserve_at_once(&ledgers, &quota, 1_000, now_ms).await, 10);
    let status = ledgers[0]
        .status(crate::harness::WORKSPACE, &[BucketRef { quota }], now_ms)
        .await
        .expect("status");
    assert_eq!((status[0].spent, status[0].reserved), (0, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_01_memory() {
    let ledger = Arc::new(rateguard_ext_ratelimit::ledger::memory::MemoryLedger::new());
    rl_01_exactly_ten_of_a_thousand(vec![ledger], wall_ms()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_01_two_redis_ledgers() {
    let server = RedisServer::start(&[]).await;
    let ledgers = vec![Arc::new(server.ledger()), Arc::new(server.ledger())];
    rl_01_exactly_ten_of_a_thousand(ledgers, wall_ms()).await;
}

/// A settlement belongs to the window it was reserved in.
async fn rl_04_settlements_cross_the_boundary<S: Store>(store: S) {
    let quota = budget(1, 100, 50, Window::Rolling { ms: 200 });
    let (request, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    store.advance(200).await;
    let (_, next) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert_eq!((only(&next).spent, only(&next).reserved), (0, 50));
    // 90 in the window before, nothing in this one.
    store
        .ledger()
        .settle(&[settlement(&request, &reserved, &[90])], store.now_ms())
        .await
        .expect("settled");
    assert_eq!(counts(&store, &quota).await, (0, 50));
}

/// The same on the server's own clock: windows of 40 ms, reserves and settles all the time, from two instances. In
/// every window that was seen, no more than the limit is admitted, and no spend is lost in the total beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_04_tiny_windows_lose_nothing() {
    let server = RedisServer::start(&[]).await;
    let ledgers = [Arc::new(server.ledger()), Arc::new(server.ledger())];
    let tiny = budget(1, 100, 10, Window::Rolling { ms: 40 });
    let total = budget(2, AMOUNT_MAX, 10, Window::Total);
    let until = Instant::now() + std::time::Duration::from_secs(1);
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let (ledger, quotas) = (ledgers[i % 2].clone(), [tiny.clone(), total.clone()]);
            tokio::spawn(async move {
                let mut admitted = Vec::new();
                while Instant::now() < until {
                    let request = request(request_id(wall_ms()), &quotas);
                    let reserved = ledger.reserve(&request, wall_ms()).await.expect("an answer");
                    if reserved.admitted {
                        let window = reserved.results[0].window_start_ms;
                        assert!(window <= reserved.now_ms && reserved.now_ms < window + 40);
                        let settled = settlement(&request, &reserved, &[10, 10]);
                        let resolutions = ledger.settle(&[settled], wall_ms()).await.expect("an answer");
                        assert_eq!(resolutions, [Resolution::Applied]);
                        admitted.push(window);
                    }
                }
                admitted
            })
        })
        .collect();
    let mut by_window = std::collections::BTreeMap::<i64, i64>::new();
    for task in tasks {
        for window in task.await.expect("the task ends") {
            *by_window.entry(window).or_default() += 10;
        }
    }
    assert!(by_window.len() > 5, "{by_window:?}");
    assert!(by_window.values().all(|spent| *spent <= 100), "{by_window:?}");
    let admitted: i64 = by_window.values().sum();
    let bucket = BucketRef { quota: total };
    let status = ledgers[0]
        .status(crate::harness::WORKSPACE, &[bucket], wall_ms())
        .await
        .expect("status");
    assert_eq!((status[0].spent, status[0].reserved), (admitted, 0));
}

/// Calendar windows come from the caller, in any time zone.
async fn a_calendar_month_ends_in_its_time_zone<S: Store>(store: S) {
    use rateguard_model::window::CalendarUnit;
    let window = Window::Calendar {
        unit: CalendarUnit::Month,
        time_zone: "Pacific/Auckland".parse().expect("a zone"),
    };
    let quota = [budget(1, 100, 100, window)];
    let (_, reserved) = reserve(&store, &quota).await;
    let bounds = window.bounds(store.now_ms());
    assert_eq!(only(&reserved).window_start_ms, bounds.start_ms);
    assert_eq!(only(&reserved).reset_ms, bounds.end_ms - store.now_ms());
    assert!(!reserve(&store, &quota).await.1.admitted);
}

/// Key has room, workspace is full: nothing is charged anywhere.
async fn rl_21_all_or_nothing<S: Store>(store: S) {
    let per_key = quota(
        1,
        100,
        Meter::TokenBucket {
            refill_milli_per_s: 1_000,
        },
    );
    let per_api = quota(2, 100, Meter::SlidingWindow { window_ms: 60_000 });
    let of_key = budget(3, 1_000, 60, HOUR);
    let of_workspace = budget(4, 100, 60, HOUR);
    let quotas = [per_key, per_api, of_key, of_workspace];
    assert!(reserve(&store, &quotas).await.1.admitted);
    let mut before = Vec::new();
    for quota in &quotas {
        before.push(counts(&store, quota).await);
    }
    assert_eq!(before, [(1, 0), (1, 0), (0, 60), (0, 60)]);
    for _ in 0..5 {
        let (_, refused) = reserve(&store, &quotas).await;
        assert!(!refused.admitted);
        let admits: Vec<bool> = refused.results.iter().map(|result| result.admitted).collect();
        assert_eq!(admits, [true, true, true, false]);
        let remaining: Vec<i64> = refused.results.iter().map(|result| result.remaining).collect();
        assert_eq!(remaining, [99, 99, 940, 40]);
    }
    for (quota, before) in quotas.iter().zip(before) {
        assert_eq!(counts(&store, quota).await, before);
    }
}

/// Shadow quotas never refuse. A shadow rule counts what it would have admitted, a budget that only alerts counts all.
async fn shadow_quotas_never_refuse<S: Store>(store: S) {
    let shadow = |quota: Quota| Quota {
        mode: Mode::Shadow,
        ..quota
    };
    let bucket = shadow(quota(
        1,
        2,
        Meter::TokenBucket {
            refill_milli_per_s: 1,
        },
    ));
    let window = shadow(quota(2, 2, Meter::SlidingWindow { window_ms: 60_000 }));
    let soft = shadow(budget(3, 20, 10, HOUR));
    let hard = budget(4, 40, 10, HOUR);
    let quotas = [bucket, window, soft, hard];
    let mut taken = Vec::new();
    for n in 1..=4 {
        let (request, reserved) = reserve(&store, &quotas).await;
        assert!(reserved.admitted);
        let admits: Vec<bool> = reserved.results.iter().map(|result| result.admitted).collect();
        assert_eq!(admits, [n <= 2, n <= 2, n <= 2, true]);
        taken.push((request, reserved));
    }
    assert!(!reserve(&store, &quotas).await.1.admitted, "the hard one refuses");
    let mut counted = Vec::new();
    for quota in &quotas {
        counted.push(counts(&store, quota).await);
    }
    assert_eq!(counted, [(2, 0), (2, 0), (0, 40), (0, 40)]);
    // What was never taken is not given back.
    let (request, reserved) = taken.remove(3);
    let release = settlement(&request, &reserved, &[0; 4]);
    assert_eq!(
        store
            .ledger()
            .release(&[release], store.now_ms())
            .await
            .expect("released"),
        [Resolution::Applied]
    );
    assert_eq!(counts(&store, &quotas[0]).await, (2, 0));
    assert_eq!(counts(&store, &quotas[1]).await, (2, 0));
    assert_eq!(counts(&store, &quotas[2]).await, (0, 30));
    let (request, reserved) = taken.remove(0);
    let release = settlement(&request, &reserved, &[0; 4]);
    store
        .ledger()
        .release(&[release], store.now_ms())
        .await
        .expect("released");
    assert_eq!(counts(&store, &quotas[0]).await, (1, 0));
    assert_eq!(counts(&store, &quotas[1]).await, (1, 0));
}

/// Requests of a fixed window are counted at once.
async fn requests_are_not_held<S: Store>(store: S) {
    let quota = Quota {
        kind: QuotaKind::Rule,
        ..quota(1, 2, Meter::FixedWindow { window: HOUR })
    };
    let (request, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert_eq!((only(&reserved).spent, only(&reserved).reserved), (1, 0));
    assert_eq!(store.ledger().open_workspaces().await.expect("an answer"), []);
    store
        .ledger()
        .release(&[settlement(&request, &reserved, &[0])], store.now_ms())
        .await
        .expect("released");
    assert_eq!(counts(&store, &quota).await, (0, 0));
}

async fn reset_empties_buckets<S: Store>(store: S) {
    let of = |partition: &str, meter| Quota {
        partition: partition.into(),
        ..quota(1, 5, meter)
    };
    for meter in [
        Meter::TokenBucket {
            refill_milli_per_s: 1,
        },
        Meter::SlidingWindow { window_ms: 60_000 },
        Meter::FixedWindow { window: HOUR },
    ] {
        for partition in ["a", "b", "c"] {
            reserve(&store, &[of(partition, meter)]).await;
        }
        let other = Quota {
            id: quota(9, 1, meter).id,
            ..of("a", meter)
        };
        reserve(&store, std::slice::from_ref(&other)).await;
        let ledger = store.ledger();
        let id = of("a", meter).id;
        assert_eq!(
            ledger
                .reset(crate::harness::WORKSPACE, id, Some("b"))
                .await
                .expect("reset"),
            1
        );
        assert_eq!(counts(&store, &of("a", meter)).await, (1, 0));
        assert_eq!(counts(&store, &of("b", meter)).await, (0, 0));
        assert_eq!(
            ledger
                .reset(crate::harness::WORKSPACE, id, None)
                .await
                .expect("reset"),
            2
        );
        assert_eq!(counts(&store, &of("c", meter)).await, (0, 0));
        assert_eq!(counts(&store, &other).await, (1, 0));
        // A bucket that was emptied counts from zero.
        let (_, reserved) = reserve(&store, &[of("a", meter)]).await;
        assert_eq!(only(&reserved).spent, 1);
        ledger
            .reset(crate::harness::WORKSPACE, id, None)
            .await
            .expect("reset");
        ledger
            .reset(crate::harness::WORKSPACE, other.id, None)
            .await
            .expect("reset");
    }
}

on_both_stores!(
    budget_within_the_limit,
    budget_over_the_limit,
    budget_refill_over_time,
    budget_correct_retry_after,
    rl_04_settlements_cross_the_boundary,
    a_calendar_month_ends_in_its_time_zone,
    rl_21_all_or_nothing,
    shadow_quotas_never_refuse,
    requests_are_not_held,
    reset_empties_buckets,
);
