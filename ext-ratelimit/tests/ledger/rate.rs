//! Rules: both algorithms on both stores.

use crate::harness::{Store, counts, on_both_stores, only, quota, request, request_id, reserve};
use rateguard_ext_ratelimit::ledger::{Ledger, WAIT_MS_MAX};
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota, Unit};
use std::sync::Arc;

/// Ten a second, five at once.
fn token_bucket() -> Quota {
    quota(
        1,
        5,
        Meter::TokenBucket {
            refill_milli_per_s: 10_000,
        },
    )
}

/// Five in any second.
fn sliding_window() -> Quota {
    quota(2, 5, Meter::SlidingWindow { window_ms: 1_000 })
}

async fn drain<S: Store>(store: &S, quota: &Quota) {
    for left in (0..5).rev() {
        let (_, reserved) = reserve(store, std::slice::from_ref(quota)).await;
        assert!(reserved.admitted);
        assert_eq!(reserved.now_ms, store.now_ms());
        let result = only(&reserved);
        assert_eq!(
            (result.admitted, result.remaining, result.retry_after_ms),
            (true, left, None)
        );
    }
}

async fn within_the_limit<S: Store>(store: S, quota: Quota, reset_ms: i64) {
    drain(&store, &quota).await;
    assert_eq!(counts(&store, &quota).await, (5, 0));
    store.advance(reset_ms).await;
    assert_eq!(counts(&store, &quota).await, (0, 0));
}

async fn token_bucket_within_the_limit<S: Store>(store: S) {
    within_the_limit(store, token_bucket(), 500).await;
}

async fn sliding_window_within_the_limit<S: Store>(store: S) {
    within_the_limit(store, sliding_window(), 1_000).await;
}

async fn over_the_limit<S: Store>(store: S, quota: Quota) {
    drain(&store, &quota).await;
    for _ in 0..3 {
        let (_, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
        assert!(!reserved.admitted);
        let result = only(&reserved);
        assert_eq!((result.admitted, result.remaining, result.spent), (false, 0, 5));
        assert!(result.retry_after_ms.is_some_and(|ms| ms > 0));
    }
    // More than the limit can never be admitted.
    let (_, reserved) = reserve(&store, &[Quota { amount: 6, ..quota }]).await;
    assert_eq!((reserved.admitted, only(&reserved).retry_after_ms), (false, None));
}

async fn token_bucket_over_the_limit<S: Store>(store: S) {
    over_the_limit(store, token_bucket()).await;
}

async fn sliding_window_over_the_limit<S: Store>(store: S) {
    over_the_limit(store, sliding_window()).await;
}

async fn token_bucket_refill_over_time<S: Store>(store: S) {
    let quota = token_bucket();
    drain(&store, &quota).await;
    // One unit in 100 ms; being asked in between takes nothing away and adds nothing.
    for (ms, admitted) in [
        (50, false),
        (49, false),
        (1, true),
        (0, false),
        (99, false),
        (1, true),
    ] {
        store.advance(ms).await;
        assert_eq!(
            reserve(&store, std::slice::from_ref(&quota)).await.1.admitted,
            admitted,
            "after {ms} ms"
        );
    }
}

async fn sliding_window_refill_over_time<S: Store>(store: S) {
    let quota = sliding_window();
    let take = |amount| Quota {
        amount,
        ..quota.clone()
    };
    assert!(reserve(&store, &[take(2)]).await.1.admitted);
    store.advance(400).await;
    assert!(reserve(&store, &[take(3)]).await.1.admitted);
    // The two come back a second after they were taken, the three 400 ms later.
    store.advance(599).await;
    assert!(!reserve(&store, &[take(1)]).await.1.admitted);
    store.advance(1).await;
    let (_, reserved) = reserve(&store, &[take(3)]).await;
    assert_eq!(
        (reserved.admitted, only(&reserved).retry_after_ms),
        (false, Some(400))
    );
    assert!(reserve(&store, &[take(2)]).await.1.admitted);
    store.advance(399).await;
    assert!(!reserve(&store, &[take(1)]).await.1.admitted);
    store.advance(1).await;
    assert!(reserve(&store, &[take(3)]).await.1.admitted);
}

async fn burst<S: Store>(store: S, quota: Quota) {
    // Idle time is not saved up beyond the limit.
    assert!(reserve(&store, std::slice::from_ref(&quota)).await.1.admitted);
    store.advance(3_600_000).await;
    drain(&store, &quota).await;
    assert!(!reserve(&store, std::slice::from_ref(&quota)).await.1.admitted);
}

async fn token_bucket_burst<S: Store>(store: S) {
    burst(store, token_bucket()).await;
}

async fn sliding_window_burst<S: Store>(store: S) {
    burst(store, sliding_window()).await;
}

async fn correct_retry_after<S: Store>(store: S, quota: Quota) {
    drain(&store, &quota).await;
    store.advance(37).await;
    for amount in [1, 2, 5] {
        let asked = [Quota {
            amount,
            ..quota.clone()
        }];
        let (_, refused) = reserve(&store, &asked).await;
        let retry_after_ms = only(&refused)
            .retry_after_ms
            .expect("it can be admitted some time");
        store.advance(retry_after_ms - 1).await;
        assert!(
            !reserve(&store, &asked).await.1.admitted,
            "{amount} a millisecond too early"
        );
        store.advance(1).await;
        let (_, admitted) = reserve(&store, &asked).await;
        assert!(admitted.admitted, "{amount} after {retry_after_ms} ms");
        // Reset is exact too.
        let reset_ms = only(&admitted).reset_ms;
        store.advance(reset_ms - 1).await;
        assert_ne!(counts(&store, &quota).await.0, 0);
        store.advance(1).await;
        assert_eq!(counts(&store, &quota).await.0, 0);
        drain(&store, &quota).await;
    }
}

async fn token_bucket_correct_retry_after<S: Store>(store: S) {
    correct_retry_after(store, token_bucket()).await;
}

async fn sliding_window_correct_retry_after<S: Store>(store: S) {
    correct_retry_after(store, sliding_window()).await;
}

async fn concurrent_requests<S: Store>(store: S, quota: Quota) {
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (store, quota) = (store.clone(), quota.clone());
            tokio::spawn(async move { reserve(&*store, &[quota]).await.1.admitted })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += u32::from(task.await.expect("the task ends"));
    }
    assert_eq!(admitted, 5);
}

async fn token_bucket_concurrent_requests<S: Store>(store: S) {
    concurrent_requests(store, token_bucket()).await;
}

async fn sliding_window_concurrent_requests<S: Store>(store: S) {
    concurrent_requests(store, sliding_window()).await;
}

/// Slow, odd and huge rates: no rounding anywhere.
async fn token_bucket_is_exact<S: Store>(store: S) {
    for (n, limit, rate, amount) in [
        (10, 3, 7, 3),
        (11, 1, 1, 1),
        (12, AMOUNT_MAX, 1, AMOUNT_MAX),
        // 10 USD a second in nano-USD
        (13, 25_000_000_000, 10_000_000_000_000, 25_000_000_000),
        (14, 9_007_199_254, 3, 9_007_199_254),
        (15, AMOUNT_MAX, AMOUNT_MAX as u64, AMOUNT_MAX),
        (16, AMOUNT_MAX, 9_000_000_000_001, AMOUNT_MAX),
    ] {
        let quota = [Quota {
            amount,
            ..quota(
                n,
                limit,
                Meter::TokenBucket {
                    refill_milli_per_s: rate,
                },
            )
        }];
        let (_, first) = reserve(&store, &quota).await;
        assert!(first.admitted, "{n}");
        let (_, refused) = reserve(&store, &quota).await;
        assert!(!refused.admitted, "{n}");
        // ⌈amount ÷ rate⌉ in milliseconds, in integers wide enough
        let rate = i128::from(rate);
        let exact_ms =
            ((i128::from(amount) * 1_000_000 + rate - 1) / rate).min(i128::from(WAIT_MS_MAX)) as i64;
        assert_eq!(only(&refused).retry_after_ms, Some(exact_ms), "{n}");
        assert_eq!(only(&first).reset_ms, exact_ms, "{n}");
        if exact_ms < 10_000_000 {
            store.advance(exact_ms - 1).await;
            assert!(!reserve(&store, &quota).await.1.admitted, "{n}");
            store.advance(1).await;
            assert!(reserve(&store, &quota).await.1.admitted, "{n}");
        }
    }
}

/// A settlement moves a sliding window's amount at the time it was taken.
async fn sliding_window_settles_at_its_original_time<S: Store>(store: S) {
    let quota = Quota {
        unit: Unit::Tokens,
        amount: 4,
        ..quota(3, 10, Meter::SlidingWindow { window_ms: 1_000 })
    };
    let (first, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    store.advance(600).await;
    let settled = crate::harness::settlement(&first, &reserved, &[9]);
    store
        .ledger()
        .settle(&[settled], store.now_ms())
        .await
        .expect("settled");
    assert_eq!(counts(&store, &quota).await, (9, 0));
    let (_, refused) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert_eq!(only(&refused).retry_after_ms, Some(400));
    store.advance(400).await;
    assert_eq!(counts(&store, &quota).await, (0, 0));
}

/// Another version of a rule is another bucket.
async fn an_edited_rule_starts_a_new_bucket<S: Store>(store: S) {
    for quota in [token_bucket(), sliding_window()] {
        drain(&store, &quota).await;
        drain(
            &store,
            &Quota {
                version: 2,
                ..quota.clone()
            },
        )
        .await;
        drain(
            &store,
            &Quota {
                partition: "key.other".into(),
                ..quota
            },
        )
        .await;
    }
}

async fn impossible_requests_are_invalid<S: Store>(store: S) {
    let good = token_bucket();
    for quotas in [
        vec![Quota {
            amount: -1,
            ..good.clone()
        }],
        vec![Quota {
            amount: AMOUNT_MAX + 1,
            ..good.clone()
        }],
        vec![Quota {
            limit: -1,
            ..good.clone()
        }],
        vec![Quota {
            partition: "a}{b".into(),
            ..good.clone()
        }],
        vec![Quota {
            meter: Meter::TokenBucket {
                refill_milli_per_s: 0,
            },
            ..good.clone()
        }],
        vec![Quota {
            meter: Meter::SlidingWindow { window_ms: 0 },
            ..good.clone()
        }],
        vec![good.clone(), good.clone()],
        vec![good; 65],
    ] {
        let request = request(request_id(store.now_ms()), &quotas);
        let answer = store.ledger().reserve(&request, store.now_ms()).await;
        assert!(
            matches!(
                answer,
                Err(rateguard_ext_ratelimit::ledger::LedgerError::Invalid(_))
            ),
            "{quotas:?}"
        );
    }
}

on_both_stores!(
    token_bucket_within_the_limit,
    token_bucket_over_the_limit,
    token_bucket_refill_over_time,
    token_bucket_burst,
    token_bucket_correct_retry_after,
    token_bucket_concurrent_requests,
    token_bucket_is_exact,
    sliding_window_within_the_limit,
    sliding_window_over_the_limit,
    sliding_window_refill_over_time,
    sliding_window_burst,
    sliding_window_correct_retry_after,
    sliding_window_concurrent_requests,
    sliding_window_settles_at_its_original_time,
    an_edited_rule_starts_a_new_bucket,
    impossible_requests_are_invalid,
);
