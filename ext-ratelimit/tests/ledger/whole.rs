//! Whether buckets are whole, and raising what was spent.

use crate::harness::{
    HOUR, Store, WORKSPACE, budget, counts, on_both_stores, request, request_id, reserve, settlement,
};
use rateguard_ext_ratelimit::ledger::{Ledger, LedgerError, MARK_BEAT_MS, Reserve, Reserved, Spent};
use rateguard_model::quota::{AMOUNT_MAX, Quota};
use rateguard_model::window::Window;

const HOUR_MS: i64 = 3_600_000;

/// Reserves where the buckets must have been whole since then.
async fn ask<S: Store>(store: &S, quota: &Quota, since_ms: i64) -> Result<Reserved, LedgerError> {
    let request = Reserve {
        whole_since_ms: Some(since_ms),
        ..request(request_id(store.now_ms()), std::slice::from_ref(quota))
    };
    store.ledger().reserve(&request, store.now_ms()).await
}

async fn raise<S: Store>(store: &S, quota: &Quota, window_start_ms: i64, spent: i64, whole: bool) -> i64 {
    let spent = [Spent {
        quota: quota.clone(),
        window_start_ms,
        spent,
    }];
    let raised = store
        .ledger()
        .raise(WORKSPACE, &spent, whole, store.now_ms())
        .await;
    raised.expect("raised")[0]
}

fn hour_of<S: Store>(store: &S) -> i64 {
    store.now_ms() / HOUR_MS * HOUR_MS
}

async fn rl_17_nothing_is_taken_before_the_spend_is_known<S: Store>(store: S) {
    let quota = budget(1, 100, 40, HOUR);
    assert_eq!(
        store.ledger().whole_until_ms(WORKSPACE).await.expect("told"),
        None
    );
    let unknown = ask(&store, &quota, 0).await;
    assert!(matches!(unknown, Err(LedgerError::SpendUnknown)), "{unknown:?}");
    assert_eq!(counts(&store, &quota).await, (0, 0));
    // Raising alone says nothing about the others.
    assert_eq!(raise(&store, &quota, hour_of(&store), 70, false).await, 70);
    assert!(matches!(
        ask(&store, &quota, 0).await,
        Err(LedgerError::SpendUnknown)
    ));
    assert_eq!(raise(&store, &quota, hour_of(&store), 70, true).await, 0);
    let refused = ask(&store, &quota, 0).await.expect("known");
    assert_eq!((refused.admitted, refused.results[0].spent), (false, 70));
    let less = Quota {
        amount: 30,
        ..quota.clone()
    };
    assert!(ask(&store, &less, 0).await.expect("known").admitted);
    // Who does not ask is answered as ever.
    let other = budget(2, 100, 40, HOUR);
    assert!(reserve(&store, &[other]).await.1.admitted);
}

async fn rl_17_an_older_copy_is_not_whole<S: Store>(store: S) {
    let quota = budget(1, 1_000, 1, HOUR);
    let told_ms = store.now_ms();
    raise(&store, &quota, hour_of(&store), 0, true).await;
    let until_ms = store.ledger().whole_until_ms(WORKSPACE).await.expect("told");
    assert_eq!(until_ms, Some(told_ms));
    assert!(ask(&store, &quota, told_ms).await.expect("known").admitted);
    let newer = ask(&store, &quota, told_ms + 1).await;
    assert!(matches!(newer, Err(LedgerError::SpendUnknown)), "{newer:?}");
    // Whoever is answered may remember that it was whole a beat before.
    for _ in 0..3 {
        store.advance(MARK_BEAT_MS - 1).await;
        let admitted = ask(&store, &quota, told_ms).await.expect("known");
        let seen_ms = admitted.now_ms - MARK_BEAT_MS;
        assert!(ask(&store, &quota, seen_ms).await.expect("known").admitted);
        let until_ms = store.ledger().whole_until_ms(WORKSPACE).await.expect("told");
        assert!(
            until_ms.is_some_and(|until_ms| until_ms >= seen_ms),
            "{until_ms:?}"
        );
    }
    // An idle workspace stays whole.
    store.advance(7 * 86_400_000).await;
    assert!(ask(&store, &quota, told_ms).await.expect("known").admitted);
    assert!(ask(&store, &quota, store.now_ms()).await.expect("known").admitted);
}

async fn what_was_spent_is_raised_and_never_lowered<S: Store>(store: S) {
    let quota = budget(1, 1_000, 40, HOUR);
    let hour = hour_of(&store);
    let (first, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    let settled = settlement(&first, &reserved, &[50]);
    store
        .ledger()
        .settle(&[settled], store.now_ms())
        .await
        .expect("settled");
    let (_, held) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert!(held.admitted);
    for (spent, by, after) in [(49, 0, 50), (50, 0, 50), (51, 1, 51), (0, 0, 51), (700, 649, 700)] {
        assert_eq!(raise(&store, &quota, hour, spent, false).await, by, "{spent}");
        assert_eq!(counts(&store, &quota).await, (after, 40), "{spent}");
    }
    // The window before, of a bucket that knows it; one older than that is nobody's any more.
    store.advance(HOUR_MS).await;
    assert_eq!(raise(&store, &quota, hour, 800, false).await, 100);
    assert_eq!(counts(&store, &quota).await, (0, 0));
    assert_eq!(raise(&store, &quota, hour + HOUR_MS, 5, false).await, 5);
    assert_eq!(raise(&store, &quota, hour - HOUR_MS, 9, false).await, 0);
    assert_eq!(counts(&store, &quota).await, (5, 0));
    // A window that never ends, and one that nothing was counted in yet.
    let total = budget(2, AMOUNT_MAX, 1, Window::Total);
    assert_eq!(raise(&store, &total, 0, AMOUNT_MAX, false).await, AMOUNT_MAX);
    assert_eq!(counts(&store, &total).await, (AMOUNT_MAX, 0));
}

async fn a_raised_bucket_lives_as_long_as_any_other<S: Store>(store: S) {
    let quota = budget(1, 100, 1, HOUR);
    raise(&store, &quota, hour_of(&store), 100, false).await;
    assert!(!reserve(&store, std::slice::from_ref(&quota)).await.1.admitted);
    store.advance(HOUR_MS).await;
    assert!(reserve(&store, std::slice::from_ref(&quota)).await.1.admitted);
}

async fn figures_that_make_no_sense_are_refused<S: Store>(store: S) {
    let fixed = budget(1, 100, 1, HOUR);
    let log = Quota {
        meter: rateguard_model::quota::Meter::SlidingWindow { window_ms: 1_000 },
        ..fixed.clone()
    };
    for (quota, window_start_ms, spent) in [
        (&fixed, 0, -1),
        (&fixed, 0, AMOUNT_MAX + 1),
        (&fixed, -1, 1),
        (&log, 0, 1),
    ] {
        let spent = [Spent {
            quota: quota.clone(),
            window_start_ms,
            spent,
        }];
        let answer = store
            .ledger()
            .raise(WORKSPACE, &spent, true, store.now_ms())
            .await;
        assert!(matches!(answer, Err(LedgerError::Invalid(_))), "{answer:?}");
    }
    assert!(matches!(
        ask(&store, &fixed, 0).await,
        Err(LedgerError::SpendUnknown)
    ));
}

on_both_stores!(
    rl_17_nothing_is_taken_before_the_spend_is_known,
    rl_17_an_older_copy_is_not_whole,
    what_was_spent_is_raised_and_never_lowered,
    a_raised_bucket_lives_as_long_as_any_other,
    figures_that_make_no_sense_are_refused,
);
