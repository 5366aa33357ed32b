//! Reports on reservations that stay open, as leases do while they are drawn on.

use crate::harness::{
    HOUR, Store, WORKSPACE, budget, counts, on_both_stores, quota, report, request, request_id, reserve,
    settlement,
};
use rateguard_ext_ratelimit::ledger::Resolution::{Applied, Duplicate, Invalid, Replaced};
use rateguard_ext_ratelimit::ledger::{Expired, Ledger, Member, Reserve, Resolution, Settlement};
use rateguard_model::id::RequestId;
use rateguard_model::quota::{Meter, Quota, Unit};

/// Tokens in a bucket that hardly refills, and money; a hundred of each.
fn block() -> [Quota; 2] {
    let meter = Meter::TokenBucket {
        refill_milli_per_s: 1,
    };
    let tokens = Quota {
        unit: Unit::Tokens,
        amount: 100,
        ..quota(1, 1_000, meter)
    };
    [tokens, budget(2, 1_000, 100, HOUR)]
}

async fn spent<S: Store>(store: &S) -> [(i64, i64); 2] {
    let [tokens, money] = block();
    [counts(store, &tokens).await, counts(store, &money).await]
}

async fn settle<S: Store>(store: &S, settlements: &[Settlement]) -> Vec<Resolution> {
    let settled = store.ledger().settle(settlements, store.now_ms()).await;
    settled.expect("settled")
}

async fn sweep<S: Store>(store: &S) -> Vec<Expired> {
    let swept = store.ledger().sweep(WORKSPACE, 10, store.now_ms()).await;
    swept.expect("swept")
}

async fn a_report_gives_back_and_charges_and_the_rest_stays_held<S: Store>(store: S) {
    let (lease, reserved) = reserve(&store, &block()).await;
    assert_eq!(spent(&store).await, [(100, 0), (0, 100)]);
    let first = report(&lease, &reserved, 1, 30, 20);
    assert_eq!(settle(&store, &[first]).await, [Applied]);
    assert_eq!(spent(&store).await, [(90, 0), (20, 70)]);
    // Totals: the second says what the first said and more.
    let second = report(&lease, &reserved, 2, 60, 75);
    assert_eq!(settle(&store, &[second]).await, [Applied]);
    assert_eq!(spent(&store).await, [(115, 0), (75, 40)]);
    assert_eq!(
        settle(&store, &[settlement(&lease, &reserved, &[90, 91])]).await,
        [Applied]
    );
    assert_eq!(spent(&store).await, [(90, 0), (91, 0)]);
    store.advance(60_000).await;
    assert_eq!(sweep(&store).await, []);
}

async fn rl_05_reports_repeated_late_or_lost_change_nothing<S: Store>(store: S) {
    let (lease, reserved) = reserve(&store, &block()).await;
    let parts: Vec<_> = (1..=4)
        .map(|n| report(&lease, &reserved, n, i64::from(n) * 20, i64::from(n) * 15))
        .collect();
    let batch = [parts[1].clone(), parts[0].clone(), parts[1].clone()];
    assert_eq!(settle(&store, &batch).await, [Applied, Duplicate, Duplicate]);
    assert_eq!(spent(&store).await, [(90, 0), (30, 60)]);
    // The third got lost.
    assert_eq!(settle(&store, &parts[3..]).await, [Applied]);
    assert_eq!(spent(&store).await, [(80, 0), (60, 20)]);
    let last = settlement(&lease, &reserved, &[70, 70]);
    let batch = [last.clone(), parts[2].clone(), last];
    assert_eq!(settle(&store, &batch).await, [Applied, Duplicate, Duplicate]);
    assert_eq!(spent(&store).await, [(70, 0), (70, 0)]);
    // Within one batch a report and the last word follow each other.
    let (lease, reserved) = reserve(&store, &block()).await;
    let batch = [
        report(&lease, &reserved, 1, 50, 40),
        settlement(&lease, &reserved, &[60, 60]),
    ];
    assert_eq!(settle(&store, &batch).await, [Applied, Applied]);
    assert_eq!(spent(&store).await, [(130, 0), (130, 0)]);
}

async fn an_expired_lease_charges_what_it_still_held<S: Store>(store: S) {
    let (lease, reserved) = reserve(&store, &block()).await;
    settle(&store, &[report(&lease, &reserved, 1, 70, 50)]).await;
    store.advance(60_000).await;
    let expired = sweep(&store).await;
    assert_eq!(expired.len(), 1);
    let charged: Vec<i64> = expired[0].charges.iter().map(|(.., amount)| *amount).collect();
    assert_eq!((expired[0].id, charged), (lease.id, vec![30, 30]));
    // What was used, and what nobody accounts for.
    let [tokens, money] = spent(&store).await;
    assert_eq!((tokens, money), ((80, 0), (80, 0)));
    // A late report adds what was used, and the last word replaces the charge.
    let late = report(&lease, &reserved, 2, 90, 60);
    assert_eq!(settle(&store, std::slice::from_ref(&late)).await, [Applied]);
    assert_eq!(settle(&store, std::slice::from_ref(&late)).await, [Duplicate]);
    assert_eq!(spent(&store).await, [(90, 0), (90, 0)]);
    let last = settlement(&lease, &reserved, &[65, 65]);
    let batch = [last.clone(), last.clone(), late];
    assert_eq!(settle(&store, &batch).await, [Replaced, Replaced, Duplicate]);
    assert_eq!(settle(&store, &[last]).await, [Replaced]);
    assert_eq!(spent(&store).await, [(65, 0), (65, 0)]);
}

async fn a_release_takes_back_what_was_reported<S: Store>(store: S) {
    let (lease, reserved) = reserve(&store, &block()).await;
    settle(&store, &[report(&lease, &reserved, 1, 70, 50)]).await;
    let release = settlement(&lease, &reserved, &[0, 0]);
    let released = store.ledger().release(&[release], store.now_ms()).await;
    assert_eq!(released.expect("released"), [Applied]);
    assert_eq!(spent(&store).await, [(0, 0), (0, 0)]);
}

/// Requests are counted at once and stay open for nobody; a block of them goes back all the same.
async fn a_block_of_requests_goes_back<S: Store>(store: S) {
    let meter = Meter::FixedWindow { window: HOUR };
    let block = Quota {
        amount: 50,
        ..quota(1, 100, meter)
    };
    let (lease, reserved) = reserve(&store, std::slice::from_ref(&block)).await;
    assert_eq!(counts(&store, &block).await, (50, 0));
    assert_eq!(
        settle(&store, &[report(&lease, &reserved, 1, 50, 7)]).await,
        [Applied]
    );
    assert_eq!(counts(&store, &block).await, (7, 0));
    assert_eq!(
        settle(&store, &[settlement(&lease, &reserved, &[8])]).await,
        [Applied]
    );
    assert_eq!(counts(&store, &block).await, (8, 0));
}

async fn an_expired_joint_reservation_names_its_members<S: Store>(store: S) {
    let members: Vec<Member> = (0..128)
        .map(|n| Member {
            id: RequestId::from_bytes([n; 16]),
            cost_nanos: (1 << 53) - 1 - i64::from(n),
        })
        .collect();
    for reported in [false, true] {
        let joint = Reserve {
            members: members.clone(),
            ..request(request_id(store.now_ms()), &block())
        };
        let reserved = store
            .ledger()
            .reserve(&joint, store.now_ms())
            .await
            .expect("reserved");
        if reported {
            settle(&store, &[report(&joint, &reserved, 1, 70, 50)]).await;
        }
        store.advance(60_000).await;
        let expired = sweep(&store).await;
        assert_eq!(expired.len(), 1);
        assert_eq!((expired[0].id, &expired[0].members), (joint.id, &members));
        assert_eq!(expired[0].charges.len(), 2, "and its quotas");
        store
            .ledger()
            .confirm_expired(WORKSPACE, &[joint.id])
            .await
            .expect("confirmed");
    }
}

async fn reports_on_a_lease_never_seen_are_written_once<S: Store>(store: S) {
    let answered = reserve(&store, &block()).await.1;
    let unseen = request(request_id(store.now_ms()), &block());
    for (part, used, status) in [(1, 10, Applied), (1, 10, Duplicate), (3, 25, Applied)] {
        let report = report(&unseen, &answered, part, 90, used);
        assert_eq!(settle(&store, &[report]).await, [status]);
    }
    assert_eq!(spent(&store).await, [(125, 0), (25, 100)]);
    // Its reserve comes late: nothing more is taken.
    let late = store.ledger().reserve(&unseen, store.now_ms()).await;
    assert!(late.expect("an answer").admitted);
    assert_eq!(
        settle(&store, &[settlement(&unseen, &answered, &[30, 30])]).await,
        [Applied]
    );
    assert_eq!(spent(&store).await, [(130, 0), (30, 100)]);
}

async fn reports_that_make_no_sense_are_invalid<S: Store>(store: S) {
    let (lease, reserved) = reserve(&store, &block()).await;
    let more_than_held = report(&lease, &reserved, 1, 101, 0);
    let negative = report(&lease, &reserved, 1, -1, 0);
    let mut other_amounts = report(&lease, &reserved, 1, 10, 10);
    other_amounts.amounts.pop();
    for senseless in [more_than_held, negative, other_amounts] {
        assert_eq!(settle(&store, &[senseless]).await, [Invalid]);
    }
    assert_eq!(spent(&store).await, [(100, 0), (0, 100)]);
    let log = quota(7, 10, Meter::SlidingWindow { window_ms: 60_000 });
    let (lease, reserved) = reserve(&store, &[log]).await;
    assert_eq!(
        settle(&store, &[report(&lease, &reserved, 1, 1, 1)]).await,
        [Invalid]
    );
}

on_both_stores!(
    a_report_gives_back_and_charges_and_the_rest_stays_held,
    rl_05_reports_repeated_late_or_lost_change_nothing,
    an_expired_lease_charges_what_it_still_held,
    an_expired_joint_reservation_names_its_members,
    a_release_takes_back_what_was_reported,
    a_block_of_requests_goes_back,
    reports_on_a_lease_never_seen_are_written_once,
    reports_that_make_no_sense_are_invalid,
);
