//! A desk and a ledger played at random: each request gets one answer, and every unit is accounted for.

use crate::desk::{Worker, answer};
use crate::support::*;
use proptest::prelude::*;
use rateguard_filter::effect::{Effect, ReserveCall};
use rateguard_filter::event::Reserved;
use rateguard_filter::lease::{Ask, Verdict};
use rateguard_model::id::RequestId;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Enter(i64),
    Leave(usize),
    /// The ledger's answer arrives, or is lost.
    Answer(usize, bool),
    End(usize, i64),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..300_i64).prop_map(Step::Enter),
        3 => any::<usize>().prop_map(Step::Leave),
        12 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(n, arrives)| Step::Answer(n, arrives)),
        12 => (any::<usize>(), 0..500_i64).prop_map(|(n, actual)| Step::End(n, actual)),
        6 => (0..60_i64).prop_map(Step::Pass),
    ]
}

/// A ledger of one budget, which knows who holds what.
#[derive(Default)]
struct Ledger {
    held: BTreeMap<RequestId, i64>,
    spent: i64,
}

const LIMIT: i64 = 20_000;

impl Ledger {
    fn left(&self) -> i64 {
        LIMIT - self.spent - self.held.values().sum::<i64>()
    }

    fn reserve(&mut self, ask: &Ask) -> Reserved {
        let amount = ask.call.quotas[1].amount;
        let admitted = amount <= self.left();
        if admitted {
            assert!(
                self.held.insert(ask.call.id, amount).is_none(),
                "one id, one reservation"
            );
        }
        let mut reserved = answer(&[1_000_000, self.left()]);
        reserved.admitted = admitted;
        reserved.results[1].admitted = admitted;
        reserved
    }

    /// The last word on a reservation.
    fn resolve(&mut self, reservation: &RequestId, actual: i64) {
        if self.held.remove(reservation).is_some() {
            self.spent += actual;
        }
    }
}

/// A worker, the ledger that it asks, and who is where.
struct Play {
    worker: Worker,
    ledger: Ledger,
    now_ms: i64,
    next: u64,
    waiting: BTreeMap<RequestId, ReserveCall>,
    /// Asked, not answered yet.
    under_way: Vec<(Ask, Reserved)>,
    running: Vec<ReserveCall>,
    used: i64,
}

impl Play {
    fn new() -> Self {
        Self {
            worker: Worker::new(),
            ledger: Ledger::default(),
            now_ms: 0,
            next: 0,
            waiting: BTreeMap::new(),
            under_way: Vec::new(),
            running: Vec::new(),
            used: 0,
        }
    }

    fn enter(&mut self, cost: i64) {
        self.next += 1;
        let call = call(self.next, &quotas(cost));
        let _ = self.worker.desk.enter(call.clone(), at(self.now_ms));
        self.waiting.insert(call.id, call);
    }

    fn leave(&mut self, n: usize) {
        let ids: Vec<RequestId> = self.waiting.keys().copied().collect();
        if let Some(id) = ids.get(n % ids.len().max(1)) {
            self.waiting.remove(id);
            self.worker.desk.leave(id);
            // As the exchange does: it may have been reserved for it alone.
            self.ledger.resolve(id, 0);
        }
    }

    fn ask(&mut self) {
        for ask in self.worker.asks(self.now_ms) {
            let reserved = self.ledger.reserve(&ask);
            self.under_way.push((ask, reserved));
        }
    }

    fn answer(&mut self, n: usize, arrives: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let (ask, reserved) = self.under_way.remove(n % self.under_way.len());
        let answer = arrives.then_some(reserved);
        let outcome = self.worker.answered(&ask, answer, self.now_ms);
        // Who left meanwhile released its own; a call that nobody waits for must not keep anything.
        if outcome.verdicts.is_empty() && outcome.effects.is_empty() {
            self.ledger.resolve(&ask.call.id, 0);
        }
        self.apply(outcome.effects);
        for (id, verdict) in outcome.verdicts {
            self.told(id, &verdict);
        }
    }

    fn told(&mut self, id: RequestId, verdict: &Verdict) {
        let call = self.waiting.remove(&id).expect("one answer for each that waits");
        match verdict {
            Verdict::Own(reserved) if !reserved.admitted => {}
            Verdict::Own(_) | Verdict::Joint(_) => self.running.push(call),
            Verdict::Failed => self.ledger.resolve(&id, 0),
        }
    }

    fn end(&mut self, n: usize, actual: i64) {
        if self.running.is_empty() {
            return;
        }
        let call = self.running.swap_remove(n % self.running.len());
        self.used += actual;
        if !self.worker.book.settled(&settlement(&call, actual), false) {
            self.ledger.resolve(&call.id, actual);
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        for id in self.worker.desk.tick(at(self.now_ms)) {
            self.told(id, &Verdict::Failed);
        }
        if self.worker.book.tick(at(self.now_ms), false) {
            let effects = self.worker.book.reports(at(self.now_ms));
            self.apply(effects);
        }
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Settle(last) if last.part == 0 => {
                    let amount = last.amounts[1];
                    assert_eq!(self.ledger.held.get(&last.id), Some(&amount.returned));
                    self.ledger.resolve(&last.id, amount.actual);
                }
                Effect::Release(release) => self.ledger.resolve(&release.id, 0),
                _ => {}
            }
        }
    }
}

proptest! {
    /// Every request gets one answer, no more is drawn than was reserved, and in the end nothing is held and exactly
    /// what was used is spent.
    #[test]
    fn every_request_is_answered_once_and_every_unit_accounted_for(steps in prop::collection::vec(step(), 1..400)) {
        let mut play = Play::new();
        for step in steps {
            match step {
                Step::Enter(cost) => play.enter(cost),
                Step::Leave(n) => play.leave(n),
                Step::Answer(n, arrives) => play.answer(n, arrives),
                Step::End(n, actual) => play.end(n, actual),
                Step::Pass(ms) => play.pass(ms),
            }
            play.ask();
            let running: i64 = play.running.iter().map(|call| call.quotas[1].amount).sum();
            prop_assert!(running <= play.ledger.held.values().sum::<i64>(), "more runs than is held");
        }
        for _ in 0..1_000 {
            if play.waiting.is_empty() && play.under_way.is_empty() {
                break;
            }
            play.answer(0, true);
            play.pass(1);
            play.ask();
        }
        prop_assert_eq!(play.waiting.len(), 0);
        while !play.running.is_empty() {
            play.end(0, 3);
        }
        play.pass(1);
        prop_assert!(play.worker.desk.is_idle());
        prop_assert_eq!(play.ledger.held.values().sum::<i64>(), 0);
        prop_assert_eq!(play.ledger.spent, play.used);
    }
}
