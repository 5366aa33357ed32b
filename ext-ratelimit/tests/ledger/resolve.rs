//! Resolving reservations: once, in any order, and always written.

use crate::harness::{
    CALLER, HOUR, Store, WORKSPACE, budget, counts, on_both_stores, only, quota, request, request_id,
    reserve, settlement,
};
use rateguard_ext_ratelimit::ledger::Resolution::{Applied, Duplicate, Invalid, Replaced, Unknown};
use rateguard_ext_ratelimit::ledger::{Caller, Ledger, Resolution, Settlement};
use rateguard_model::quota::{AMOUNT_MAX, Meter, Quota, Unit};
use rateguard_model::window::Window;

async fn settle<S: Store>(store: &S, settlement: &Settlement) -> Resolution {
    store
        .ledger()
        .settle(std::slice::from_ref(settlement), store.now_ms())
        .await
        .expect("settled")[0]
}

async fn release<S: Store>(store: &S, settlement: &Settlement) -> Resolution {
    store
        .ledger()
        .release(std::slice::from_ref(settlement), store.now_ms())
        .await
        .expect("released")[0]
}

/// One of each meter, in units that settle.
fn all_meters() -> [Quota; 3] {
    let tokens = |quota| Quota {
        unit: Unit::Tokens,
        amount: 10,
        ..quota
    };
    [
        tokens(quota(
            1,
            100,
            Meter::TokenBucket {
                refill_milli_per_s: 1,
            },
        )),
        tokens(quota(2, 100, Meter::SlidingWindow { window_ms: 3_600_000 })),
        budget(3, 100, 10, HOUR),
    ]
}

async fn spent<S: Store>(store: &S) -> [(i64, i64); 3] {
    let [a, b, c] = all_meters();
    [
        counts(store, &a).await,
        counts(store, &b).await,
        counts(store, &c).await,
    ]
}

async fn rl_05_the_same_id_has_one_effect_and_one_answer<S: Store>(store: S) {
    let (request, first) = reserve(&store, &all_meters()).await;
    for _ in 0..3 {
        store.advance(7).await;
        assert_eq!(
            store
                .ledger()
                .reserve(&request, store.now_ms())
                .await
                .expect("an answer"),
            first
        );
    }
    assert_eq!(spent(&store).await, [(10, 0), (10, 0), (0, 10)]);
    assert_eq!(
        settle(&store, &settlement(&request, &first, &[7; 3])).await,
        Applied
    );
    // Also after it was settled.
    assert_eq!(
        store
            .ledger()
            .reserve(&request, store.now_ms())
            .await
            .expect("an answer"),
        first
    );
    assert_eq!(spent(&store).await, [(7, 0), (7, 0), (7, 0)]);
}

async fn a_request_without_settlement_is_idempotent_too<S: Store>(store: S) {
    let quotas = [
        quota(
            1,
            5,
            Meter::TokenBucket {
                refill_milli_per_s: 1,
            },
        ),
        quota(2, 5, Meter::SlidingWindow { window_ms: 60_000 }),
    ];
    let (request, first) = reserve(&store, &quotas).await;
    for _ in 0..10 {
        assert_eq!(
            store
                .ledger()
                .reserve(&request, store.now_ms())
                .await
                .expect("an answer"),
            first
        );
    }
    assert_eq!(
        (counts(&store, &quotas[0]).await, counts(&store, &quotas[1]).await),
        ((1, 0), (1, 0))
    );
}

async fn a_refused_id_is_judged_again<S: Store>(store: S) {
    let quota = quota(
        1,
        1,
        Meter::TokenBucket {
            refill_milli_per_s: 1_000,
        },
    );
    reserve(&store, std::slice::from_ref(&quota)).await;
    let (request, refused) = reserve(&store, std::slice::from_ref(&quota)).await;
    assert!(!refused.admitted);
    store
        .advance(only(&refused).retry_after_ms.expect("a time"))
        .await;
    assert!(
        store
            .ledger()
            .reserve(&request, store.now_ms())
            .await
            .expect("an answer")
            .admitted
    );
}

async fn rl_05_settle_twice_counts_once<S: Store>(store: S) {
    let (request, reserved) = reserve(&store, &all_meters()).await;
    let settled = settlement(&request, &reserved, &[25; 3]);
    assert_eq!(settle(&store, &settled).await, Applied);
    assert_eq!(settle(&store, &settled).await, Duplicate);
    assert_eq!(
        settle(&store, &settlement(&request, &reserved, &[99; 3])).await,
        Duplicate
    );
    // Also within one batch.
    let (request, reserved) = reserve(&store, &all_meters()).await;
    let twice = [
        settlement(&request, &reserved, &[5; 3]),
        settlement(&request, &reserved, &[6; 3]),
    ];
    assert_eq!(
        store
            .ledger()
            .settle(&twice, store.now_ms())
            .await
            .expect("settled"),
        [Applied, Duplicate]
    );
    assert_eq!(spent(&store).await, [(30, 0), (30, 0), (30, 0)]);
}

async fn rl_05_settle_before_reserve_is_seen<S: Store>(store: S) {
    let late = request(request_id(store.now_ms()), &all_meters());
    let answered = reserve(&store, &all_meters()).await.1;
    let settled = settlement(&late, &answered, &[30; 3]);
    assert_eq!(settle(&store, &settled).await, Applied);
    let before = spent(&store).await;
    assert_eq!(before, [(40, 0), (40, 0), (30, 10)]);
    let answer = store
        .ledger()
        .reserve(&late, store.now_ms())
        .await
        .expect("an answer");
    assert!(answer.admitted && answer.results.iter().all(|result| result.admitted));
    assert_eq!(spent(&store).await, before);
    assert_eq!(settle(&store, &settled).await, Duplicate);
    assert_eq!(spent(&store).await, before);
}

async fn rl_05_release_after_settle_and_settle_after_release<S: Store>(store: S) {
    let (first, reserved) = reserve(&store, &all_meters()).await;
    let settled = settlement(&first, &reserved, &[12; 3]);
    assert_eq!(
        (settle(&store, &settled).await, release(&store, &settled).await),
        (Applied, Duplicate)
    );
    assert_eq!(spent(&store).await, [(12, 0), (12, 0), (12, 0)]);
    let (second, reserved) = reserve(&store, &all_meters()).await;
    let settled = settlement(&second, &reserved, &[12; 3]);
    assert_eq!(
        (release(&store, &settled).await, settle(&store, &settled).await),
        (Applied, Duplicate)
    );
    assert_eq!(spent(&store).await, [(12, 0), (12, 0), (12, 0)]);
}

async fn rl_05_settle_after_expiry_replaces_the_charge<S: Store>(store: S) {
    for (actual, total) in [(4, 4), (10, 14), (33, 47)] {
        let (request, reserved) = reserve(&store, &all_meters()).await;
        store.advance(60_000).await;
        let expired = store
            .ledger()
            .sweep(WORKSPACE, 10, store.now_ms())
            .await
            .expect("swept");
        assert_eq!(expired.len(), 1);
        store
            .ledger()
            .confirm_expired(WORKSPACE, &[request.id])
            .await
            .expect("confirmed");
        let charged = total - actual + 10;
        assert_eq!(
            spent(&store).await.map(|(spent, reserved)| spent + reserved),
            [charged; 3]
        );
        let settled = settlement(&request, &reserved, &[actual; 3]);
        assert_eq!(settle(&store, &settled).await, Replaced);
        assert_eq!(spent(&store).await, [(total, 0); 3]);
        // Whoever did not hear it hears the same, and nothing changes.
        assert_eq!(
            (settle(&store, &settled).await, release(&store, &settled).await),
            (Replaced, Replaced)
        );
        assert_eq!(spent(&store).await, [(total, 0); 3]);
    }
}

async fn an_abandoned_reservation_of_nobody_names_nobody<S: Store>(store: S) {
    let request = rateguard_ext_ratelimit::ledger::Reserve {
        caller: Caller::default(),
        ..request(request_id(store.now_ms()), &all_meters())
    };
    let ledger = store.ledger();
    ledger.reserve(&request, store.now_ms()).await.expect("reserved");
    store.advance(60_000).await;
    let expired = ledger.sweep(WORKSPACE, 10, store.now_ms()).await.expect("swept");
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].caller, Caller::default());
}

async fn an_abandoned_reservation_is_charged_and_published<S: Store>(store: S) {
    let requests = quota(
        9,
        100,
        Meter::TokenBucket {
            refill_milli_per_s: 1,
        },
    );
    let [tokens, _, money] = all_meters();
    let (request, _) = reserve(&store, &[requests, tokens.clone(), money.clone()]).await;
    let ledger = store.ledger();
    assert_eq!(ledger.open_workspaces().await.expect("an answer"), [WORKSPACE]);
    store.advance(59_999).await;
    assert_eq!(
        ledger.sweep(WORKSPACE, 10, store.now_ms()).await.expect("swept"),
        []
    );
    assert_eq!(counts(&store, &money).await, (0, 10));
    store.advance(1).await;
    let expired = ledger.sweep(WORKSPACE, 10, store.now_ms()).await.expect("swept");
    assert_eq!(counts(&store, &money).await, (10, 0));
    assert_eq!(expired.len(), 1);
    assert_eq!(
        (expired[0].id, expired[0].workspace_id, expired[0].expired_at_ms),
        (request.id, WORKSPACE, store.now_ms())
    );
    assert_eq!(expired[0].caller, CALLER);
    let charge = |quota: &Quota| (quota.id, quota.version, quota.partition.clone(), quota.amount);
    assert_eq!(expired[0].charges, [charge(&tokens), charge(&money)]);
    // It is told until it is confirmed, and charged once.
    assert_eq!(
        ledger
            .sweep(WORKSPACE, 10, store.now_ms() + 1)
            .await
            .expect("swept"),
        expired
    );
    assert_eq!(counts(&store, &money).await, (10, 0));
    ledger
        .confirm_expired(WORKSPACE, &[request.id])
        .await
        .expect("confirmed");
    assert_eq!(
        ledger.sweep(WORKSPACE, 10, store.now_ms()).await.expect("swept"),
        []
    );
}

/// RL-20: the work of one sweep is bounded, and everything goes away in the end.
async fn rl_20_a_sweep_is_bounded<S: Store>(store: S) {
    let quota = budget(1, 1_000_000, 10, HOUR);
    for _ in 0..130 {
        assert!(reserve(&store, std::slice::from_ref(&quota)).await.1.admitted);
    }
    store.advance(60_000).await;
    let mut charged = 0;
    let mut rounds = 0;
    loop {
        let expired = store
            .ledger()
            .sweep(WORKSPACE, 40, store.now_ms())
            .await
            .expect("swept");
        if expired.is_empty() {
            break;
        }
        rounds += 1;
        assert!(expired.len() <= 40);
        charged += expired.len();
        let ids: Vec<_> = expired.iter().map(|expired| expired.id).collect();
        store
            .ledger()
            .confirm_expired(WORKSPACE, &ids)
            .await
            .expect("confirmed");
        let (spent, reserved) = counts(&store, &quota).await;
        assert_eq!(spent + reserved, 1_300);
    }
    assert_eq!((charged, rounds), (130, 4));
    assert_eq!(counts(&store, &quota).await, (1_300, 0));
}

async fn renewing_moves_the_expiry<S: Store>(store: S) {
    let quota = budget(1, 100, 10, Window::Total);
    let (request, reserved) = reserve(&store, std::slice::from_ref(&quota)).await;
    let key = (WORKSPACE, request.id);
    let stranger = (WORKSPACE, request_id(store.now_ms()));
    for _ in 0..50 {
        store.advance(50_000).await;
        let renewed = store
            .ledger()
            .renew(&[key, stranger], 60_000, store.now_ms())
            .await
            .expect("renewed");
        assert_eq!(renewed, [Applied, Unknown]);
        assert_eq!(
            store
                .ledger()
                .sweep(WORKSPACE, 10, store.now_ms())
                .await
                .expect("swept"),
            []
        );
    }
    // Forty minutes later it is still the same reservation.
    assert_eq!(
        settle(&store, &settlement(&request, &reserved, &[3])).await,
        Applied
    );
    assert_eq!(
        store
            .ledger()
            .renew(&[key], 60_000, store.now_ms())
            .await
            .expect("renewed"),
        [Unknown]
    );
    assert_eq!(counts(&store, &quota).await, (3, 0));
}

async fn rl_06_any_actual<S: Store>(store: S) {
    for (actual, total) in [(0, 0), (10, 10), (250, 260)] {
        let (request, reserved) = reserve(&store, &all_meters()).await;
        if reserved.admitted {
            assert_eq!(
                settle(&store, &settlement(&request, &reserved, &[actual; 3])).await,
                Applied
            );
        }
        assert_eq!(spent(&store).await, [(total, 0); 3]);
    }
    // Over the limit now: told as negative, and refused.
    let (_, refused) = reserve(&store, &all_meters()).await;
    assert!(!refused.admitted);
    assert_eq!(
        refused
            .results
            .iter()
            .map(|result| result.remaining)
            .collect::<Vec<_>>(),
        [-160; 3]
    );
}

async fn rl_06_negative_and_too_large_are_invalid_alone<S: Store>(store: S) {
    let mut batch = Vec::new();
    for actual in [5, -1, 6, AMOUNT_MAX + 1, i64::MIN, i64::MAX] {
        let (request, reserved) = reserve(&store, &all_meters()).await;
        batch.push(settlement(&request, &reserved, &[actual; 3]));
    }
    let resolutions = store
        .ledger()
        .settle(&batch, store.now_ms())
        .await
        .expect("settled");
    assert_eq!(
        resolutions,
        [Applied, Invalid, Applied, Invalid, Invalid, Invalid]
    );
    assert_eq!(spent(&store).await, [(51, 0), (51, 0), (11, 40)]);
    // They are still open, and can be settled well.
    for settlement in &mut batch {
        for amount in &mut settlement.amounts {
            amount.actual = 1;
        }
    }
    let resolutions = store
        .ledger()
        .settle(&batch, store.now_ms())
        .await
        .expect("settled");
    assert_eq!(
        resolutions,
        [Duplicate, Applied, Duplicate, Applied, Applied, Applied]
    );
    assert_eq!(spent(&store).await, [(15, 0); 3]);
}

async fn rl_06_spend_saturates<S: Store>(store: S) {
    let quota = Quota {
        limit: AMOUNT_MAX,
        ..budget(3, 0, 10, HOUR)
    };
    for _ in 0..3 {
        let request = request(request_id(store.now_ms()), std::slice::from_ref(&quota));
        let mut settled = settlement(
            &request,
            &store
                .ledger()
                .reserve(&request, store.now_ms())
                .await
                .expect("an answer"),
            &[AMOUNT_MAX],
        );
        // A reservation of a full budget is refused; its settlement is written all the same.
        settled.amounts[0].actual = AMOUNT_MAX;
        assert_eq!(settle(&store, &settled).await, Applied);
    }
    assert_eq!(counts(&store, &quota).await, (AMOUNT_MAX, 0));
    assert!(!reserve(&store, &[quota]).await.1.admitted);
}

/// A batch of many workspaces and more than one script call.
async fn a_batch_mixes_workspaces<S: Store>(store: S) {
    let quota = budget(1, 1_000_000, 10, HOUR);
    let mut batch = Vec::new();
    for i in 0..180_u8 {
        let mut request = request(request_id(store.now_ms()), std::slice::from_ref(&quota));
        request.workspace_id = rateguard_model::id::WorkspaceId::from_bytes([i % 3; 16]);
        let reserved = store
            .ledger()
            .reserve(&request, store.now_ms())
            .await
            .expect("an answer");
        batch.push(settlement(&request, &reserved, &[i64::from(i)]));
    }
    let resolutions = store
        .ledger()
        .settle(&batch, store.now_ms())
        .await
        .expect("settled");
    assert!(resolutions.len() == 180 && resolutions.iter().all(|resolution| *resolution == Applied));
    for n in 0..3 {
        let workspace_id = rateguard_model::id::WorkspaceId::from_bytes([n; 16]);
        let bucket = rateguard_ext_ratelimit::ledger::BucketRef { quota: quota.clone() };
        let status = store
            .ledger()
            .status(workspace_id, &[bucket], store.now_ms())
            .await
            .expect("status");
        let expected: i64 = (0..180).filter(|i| i % 3 == i64::from(n)).sum();
        assert_eq!((status[0].spent, status[0].reserved), (expected, 0));
    }
}

on_both_stores!(
    rl_05_the_same_id_has_one_effect_and_one_answer,
    a_request_without_settlement_is_idempotent_too,
    a_refused_id_is_judged_again,
    rl_05_settle_twice_counts_once,
    rl_05_settle_before_reserve_is_seen,
    rl_05_release_after_settle_and_settle_after_release,
    rl_05_settle_after_expiry_replaces_the_charge,
    an_abandoned_reservation_of_nobody_names_nobody,
    an_abandoned_reservation_is_charged_and_published,
    rl_20_a_sweep_is_bounded,
    renewing_moves_the_expiry,
    rl_06_any_actual,
    rl_06_negative_and_too_large_are_invalid_alone,
    rl_06_spend_saturates,
    a_batch_mixes_workspaces,
);
