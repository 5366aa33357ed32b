//! The desk: who waits, who asks together, what each is told, and that every unit of a joint reservation is accounted
//! for.

use crate::support::*;
use rateguard_filter::effect::{Effect, ReserveCall, Settlement};
use rateguard_filter::event::Reserved;
use rateguard_filter::lease::{Ask, Desk, JointCounts, LeaseBook, Outcome, Verdict};
use rateguard_model::id::{ApiId, KeyId, RequestId};
use rateguard_model::quota::{Meter, Mode};

pub(crate) fn answer(remaining: &[i64]) -> Reserved {
    admitted(remaining, 50, 60_000)
}

fn refusal() -> Reserved {
    let mut refusal = answer(&[5, 0]);
    refusal.admitted = false;
    refusal.results[1].admitted = false;
    refusal
}

/// A worker's desk and book, and ids that nobody else has.
pub(crate) struct Worker {
    pub(crate) desk: Desk,
    pub(crate) book: LeaseBook,
    pub(crate) next: u64,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self {
            desk: Desk::new(true, 150),
            book: LeaseBook::new(false),
            next: 1_000_000,
        }
    }

    pub(crate) fn asks(&mut self, now_ms: i64) -> Vec<Ask> {
        let next = &mut self.next;
        self.desk.asks(at(now_ms), || {
            *next += 1;
            Some(id(*next))
        })
    }

    pub(crate) fn enter(&mut self, requests: &[u64], cost: i64, now_ms: i64) {
        for n in requests {
            self.desk.enter(call(*n, &quotas(cost)), at(now_ms));
        }
    }

    pub(crate) fn answered(&mut self, ask: &Ask, reserved: Option<Reserved>, now_ms: i64) -> Outcome {
        self.desk
            .answered(ask.call.id, reserved, at(now_ms), &mut self.book)
    }

    /// The first asks alone; the others wait for its answer, and their joint call is answered here.
    pub(crate) fn joined(&mut self, others: &[u64], cost: i64) -> Ask {
        self.enter(&[1], cost, 0);
        let first = self.asks(0).pop().expect("a call");
        self.enter(others, cost, 0);
        assert_eq!(self.asks(0), [], "they wait");
        self.answered(&first, Some(answer(&[1_000, 100_000])), 1);
        let mut asks = self.asks(1);
        assert_eq!(asks.len(), 1, "{asks:?}");
        asks.remove(0)
    }

    pub(crate) fn last_words(&mut self, now_ms: i64) -> Vec<Settlement> {
        self.book.tick(at(now_ms), false);
        let effects = self.book.reports(at(now_ms));
        let last = effects.into_iter().filter_map(|effect| match effect {
            Effect::Settle(settlement) if settlement.part == 0 => Some(*settlement),
            _ => None,
        });
        last.collect()
    }
}

fn amounts(ask: &Ask) -> Vec<i64> {
    ask.call.quotas.iter().map(|quota| quota.amount).collect()
}

fn ids(asks: &[Ask]) -> Vec<RequestId> {
    asks.iter().map(|ask| ask.call.id).collect()
}

fn is_release_of(effects: &[Effect], reservation: RequestId) -> bool {
    matches!(effects, [Effect::Release(release)] if release.id == reservation && release.part == 0)
}

#[test]
fn one_alone_reserves_with_its_own_id() {
    let mut worker = Worker::new();
    worker.enter(&[1], 100, 0);
    let asks = worker.asks(0);
    assert_eq!(
        asks,
        [Ask {
            call: call(1, &quotas(100)),
            timeout_ms: 150
        }]
    );
    let outcome = worker.answered(&asks[0], Some(answer(&[9, 900])), 3);
    assert_eq!(outcome.effects, []);
    assert_eq!(outcome.verdicts, [(id(1), Verdict::Own(answer(&[9, 900])))]);
    assert!(worker.desk.is_idle() && worker.asks(3).is_empty());
    assert!(
        !worker.book.settled(&settlement(&call(1, &quotas(100)), 5), false),
        "it settles for itself"
    );
}

#[test]
fn who_waits_for_an_answer_is_reserved_together_and_told_what_it_would_be_told_alone() {
    let mut worker = Worker::new();
    let ask = worker.joined(&[2, 3, 4], 100);
    assert_eq!(amounts(&ask), [3, 300]);
    assert!(![1, 2, 3, 4].map(id).contains(&ask.call.id), "an id of its own");
    let members = ask.call.members.iter();
    let named: Vec<_> = members.map(|member| (member.id, member.cost_nanos)).collect();
    assert_eq!(named, [2, 3, 4].map(|n| (id(n), 100)), "who it is for");
    let outcome = worker.answered(&ask, Some(answer(&[500, 50_000])), 2);
    assert!(matches!(outcome.effects[..], [Effect::Opened { id, .. }] if id == ask.call.id));
    let told = outcome.verdicts.iter().map(|(id, verdict)| match verdict {
        Verdict::Joint(reserved) => (
            *id,
            reserved.results[0].remaining,
            reserved.results[1].remaining,
            reserved.results[1].reserved,
            reserved.results[1].spent,
        ),
        other => panic!("{other:?}"),
    });
    let expected = [
        (id(2), 502, 50_200, 800, 50),
        (id(3), 501, 50_100, 900, 50),
        (id(4), 500, 50_000, 1_000, 50),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let counts = JointCounts {
        drawn: 3,
        granted: 1,
        refused: 0,
    };
    assert_eq!(worker.desk.take_counts(), counts);

    // It settles when the last of them has, to the unit.
    assert!(worker.last_words(60).is_empty());
    for (n, released) in [(2, false), (3, true), (4, false)] {
        assert!(
            worker
                .book
                .settled(&settlement(&call(n, &quotas(100)), 40), released)
        );
    }
    let last = worker.last_words(70);
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].id, ask.call.id);
    assert_eq!(
        (last[0].amounts[1].actual, last[0].amounts[1].returned),
        (80, 300)
    );
}

#[test]
fn a_refused_joint_reservation_lets_each_ask_and_pauses() {
    let mut degraded = answer(&[500, 50_000]);
    degraded.degraded = true;
    for (reserved, is_released) in [(refusal(), false), (degraded, true)] {
        let mut worker = Worker::new();
        let ask = worker.joined(&[2, 3], 100);
        let outcome = worker.answered(&ask, Some(reserved), 2);
        assert_eq!(outcome.verdicts, [], "nobody is refused by it");
        assert_eq!(is_release_of(&outcome.effects, ask.call.id), is_released);
        assert_eq!(outcome.effects.is_empty(), !is_released);
        let asks = worker.asks(2);
        assert_eq!(ids(&asks), [id(2), id(3)]);
        assert_eq!(worker.desk.take_counts().refused, 1);
        // Meanwhile nobody waits for anybody.
        worker.enter(&[4, 5], 100, 3);
        assert_eq!(ids(&worker.asks(3)), [id(4), id(5)]);
        let outcome = worker.answered(&asks[0], Some(refusal()), 4);
        assert_eq!(outcome.verdicts, [(id(2), Verdict::Own(refusal()))]);
        worker.enter(&[6, 7], 100, 503);
        assert_eq!(worker.asks(503).len(), 2);
        worker.enter(&[8, 9], 100, 505);
        assert_eq!(worker.asks(505).len(), 1, "the pause is over");
    }
}

#[test]
fn more_than_is_left_is_not_tried_together() {
    let mut worker = Worker::new();
    worker.enter(&[1], 100, 0);
    let first = worker.asks(0).remove(0);
    worker.enter(&[2, 3, 4], 100, 0);
    worker.answered(&first, Some(answer(&[1_000, 299])), 1);
    assert_eq!(ids(&worker.asks(1)), [2, 3, 4].map(id));
    // A budget that only alerts takes everything.
    let soft = |n| {
        let mut quotas = quotas(100);
        quotas[1].mode = Mode::Shadow;
        call(n, &quotas)
    };
    let mut worker = Worker::new();
    worker.desk.enter(soft(1), at(0));
    let first = worker.asks(0).remove(0);
    worker.desk.enter(soft(2), at(0));
    worker.desk.enter(soft(3), at(0));
    worker.answered(&first, Some(answer(&[1_000, -7])), 1);
    assert_eq!(amounts(&worker.asks(1)[0]), [2, 200]);
}

#[test]
fn dp_16_no_answer_fails_who_waited_for_it_and_the_others_go_on() {
    let mut worker = Worker::new();
    let ask = worker.joined(&[2, 3], 100);
    worker.enter(&[4], 100, 2);
    let outcome = worker.answered(&ask, None, 2);
    assert!(is_release_of(&outcome.effects, ask.call.id));
    assert_eq!(
        outcome.verdicts,
        [(id(2), Verdict::Failed), (id(3), Verdict::Failed)]
    );
    let own = worker.asks(2);
    assert_eq!(ids(&own), [id(4)]);
    let outcome = worker.answered(&own[0], None, 3);
    assert_eq!(
        (outcome.effects, outcome.verdicts),
        (vec![], vec![(id(4), Verdict::Failed)])
    );
}

#[test]
fn a_slow_call_holds_nobody_up_and_nobody_waits_longer_than_the_deadline() {
    let mut worker = Worker::new();
    worker.enter(&[1], 100, 0);
    assert_eq!(worker.asks(0).len(), 1);
    worker.enter(&[2, 3], 100, 4);
    assert_eq!(worker.asks(9), []);
    assert_eq!(worker.desk.tick(at(50)), []);
    let asks = worker.asks(50);
    assert_eq!((asks.len(), asks[0].timeout_ms), (1, 150 - 46));
    worker.enter(&[4], 100, 60);
    let own = worker.asks(60);
    assert_eq!((ids(&own), own[0].timeout_ms), (vec![id(4)], 150));
    // The host should have said so.
    assert_eq!(worker.desk.tick(at(150)), []);
    assert_eq!(worker.desk.tick(at(155)), [id(1), id(2), id(3)]);
    assert_eq!(worker.answered(&asks[0], None, 156).verdicts, []);
    assert_eq!(worker.desk.tick(at(211)), [id(4)]);
}

#[test]
fn who_leaves_gives_its_part_back() {
    let mut worker = Worker::new();
    let ask = worker.joined(&[2, 3, 4], 100);
    worker.desk.leave(&id(2));
    worker.desk.leave(&id(4));
    let outcome = worker.answered(&ask, Some(answer(&[500, 50_000])), 2);
    assert_eq!(outcome.verdicts.len(), 1);
    assert!(
        worker
            .book
            .settled(&settlement(&call(3, &quotas(100)), 40), false)
    );
    let last = worker.last_words(50).pop().expect("the last word");
    let figures = last.amounts.iter().map(|amount| (amount.returned, amount.actual));
    assert_eq!(figures.collect::<Vec<_>>(), [(3, 40), (300, 40)]);

    // Nobody is left: everything goes back at once.
    let mut worker = Worker::new();
    let ask = worker.joined(&[2, 3], 100);
    worker.desk.leave(&id(2));
    worker.desk.leave(&id(3));
    assert_eq!(
        worker.answered(&ask, Some(answer(&[500, 50_000])), 2).verdicts,
        []
    );
    let last = worker.last_words(3).pop().expect("the last word");
    assert_eq!((last.amounts[1].returned, last.amounts[1].actual), (200, 0));

    // Who has not asked yet is not asked for, and who asked alone keeps nobody waiting.
    let mut worker = Worker::new();
    worker.enter(&[1], 100, 0);
    let first = worker.asks(0).remove(0);
    worker.enter(&[2, 3], 100, 0);
    worker.desk.leave(&id(1));
    worker.desk.leave(&id(2));
    assert_eq!(
        worker.answered(&first, Some(answer(&[500, 50_000])), 2),
        Outcome::default()
    );
    assert_eq!(ids(&worker.asks(2)), [id(3)]);
}

#[test]
fn only_who_meets_the_same_quotas_goes_together() {
    let mut worker = Worker::new();
    let mut others: Vec<ReserveCall> = (1..=6).map(|n| call(n, &quotas(1))).collect();
    others[0].key_id = KeyId::from_bytes([9; 16]);
    others[1].api_id = ApiId::from_bytes([9; 16]);
    others[2].quotas = quotas(1)[..1].into();
    let mut edited = quotas(1);
    edited[0].version = 2;
    others[3].quotas = edited.as_slice().into();
    edited[0].version = 1;
    edited[1].partition = "x".to_owned();
    others[4].quotas = edited.into();
    for other in others {
        worker.desk.enter(other, at(0));
    }
    assert_eq!(ids(&worker.asks(0)), [1, 2, 3, 4, 5, 6].map(id));
    // Logs are asked for one by one, and so is everything where joint reservations are off.
    let log = [quota(1, Meter::SlidingWindow { window_ms: 1_000 }, 1)];
    let mut worker = Worker::new();
    let mut off = Desk::new(false, 150);
    for n in 1..4 {
        worker.desk.enter(call(n, &log), at(0));
        off.enter(call(n, &quotas(1)), at(0));
    }
    assert_eq!(ids(&worker.asks(0)), [1, 2, 3].map(id));
    assert_eq!(ids(&off.asks(at(0), || None)), [1, 2, 3].map(id));
}

#[test]
fn the_queues_are_bounded() {
    let mut worker = Worker::new();
    let of = |n: u64, partition: u64| {
        let mut quotas = quotas(1);
        quotas[0].partition = format!("k.{partition}");
        call(n, &quotas)
    };
    for n in 0..2_000 {
        worker.desk.enter(of(n, n), at(0));
        for ask in worker.asks(0) {
            worker.answered(&ask, Some(answer(&[500, 50_000])), 0);
        }
    }
    let together = |worker: &mut Worker, now_ms| {
        worker.desk.enter(of(5_000, 5_000), at(now_ms));
        worker.desk.enter(of(5_001, 5_000), at(now_ms));
        let asks = worker.asks(now_ms);
        for ask in &asks {
            worker.answered(ask, Some(answer(&[500, 50_000])), now_ms);
        }
        asks.len() == 1
    };
    assert!(!together(&mut worker, 1), "full");
    worker.desk.tick(at(50));
    assert!(together(&mut worker, 51));
}

#[test]
fn more_than_a_reservation_can_name_ask_in_turns_or_all_alone() {
    let others: Vec<u64> = (2..=200).collect();
    let mut worker = Worker::new();
    let ask = worker.joined(&others, 100);
    assert_eq!((ask.call.members.len(), amounts(&ask)), (128, vec![128, 12_800]));
    assert_eq!(worker.asks(1), [], "the others wait for it");
    worker.answered(&ask, Some(answer(&[1_000, 100_000])), 2);
    let asks = worker.asks(2);
    assert_eq!(asks.len(), 1, "{asks:?}");
    assert_eq!(asks[0].call.members.len(), 71);

    // Refused: whoever was in it asks alone, and so do those who waited behind.
    let mut worker = Worker::new();
    let ask = worker.joined(&others, 100);
    let refused = Reserved {
        admitted: false,
        ..answer(&[0, 0])
    };
    worker.answered(&ask, Some(refused), 2);
    let alone = worker.asks(2);
    assert_eq!(alone.len(), others.len());
    assert!(alone.iter().all(|ask| ask.call.members.is_empty()));
}
