//! Leases: who gets one, how large, what is drawn on it, and that every unit of it is accounted for.

use crate::support::*;
use proptest::prelude::*;
use rateguard_filter::effect::{Effect, ReserveCall, Settlement};
use rateguard_filter::event::Reserved;
use rateguard_filter::lease::LeaseBook;
use rateguard_model::id::{ApiId, KeyId, RequestId};
use rateguard_model::quota::{Meter, Mode, Quota};
use std::collections::BTreeMap;

fn answer(remaining: &[i64], reset_ms: i64) -> Reserved {
    admitted(remaining, 0, reset_ms)
}

/// `count` requests that the limit service answered, all in this instant.
fn asked(book: &mut LeaseBook, count: u64, quotas: &[Quota], remaining: &[i64], now_ms: i64) {
    for n in 0..count {
        let call = call(1_000_000 + n, quotas);
        assert_eq!(book.draw(&call, at(now_ms)), None);
        book.answered(&call, Some(&answer(remaining, 60_000)), at(now_ms));
    }
}

fn asks(book: &mut LeaseBook, now_ms: i64) -> Vec<ReserveCall> {
    let mut next = 9_000_000 + now_ms.unsigned_abs() * 1_000;
    book.asks(at(now_ms), || {
        next += 1;
        Some(id(next))
    })
}

fn amounts(call: &ReserveCall) -> Vec<i64> {
    call.quotas.iter().map(|quota| quota.amount).collect()
}

/// A lease for twice ten requests of 100, granted at 10 ms.
fn leased() -> (LeaseBook, ReserveCall) {
    let mut book = LeaseBook::new(true);
    asked(&mut book, 10, &quotas(100), &[1_000, 100_000], 0);
    let block = asks(&mut book, 10).pop().expect("a block");
    let effects = book.granted(block.id, Some(&answer(&[980, 98_000], 60_000)), at(10));
    assert!(matches!(effects[..], [Effect::Opened { .. }]), "{effects:?}");
    (book, block)
}

/// What a tick has to say.
fn said(book: &mut LeaseBook, now_ms: i64, hurry: bool) -> Vec<Effect> {
    if book.tick(at(now_ms), hurry) {
        book.reports(at(now_ms))
    } else {
        Vec::new()
    }
}

fn settlements(effects: Vec<Effect>) -> Vec<Settlement> {
    let settlement = |effect| match effect {
        Effect::Settle(settlement) => Some(*settlement),
        _ => None,
    };
    effects.into_iter().filter_map(settlement).collect()
}

fn figures(settlement: &Settlement) -> Vec<(i64, i64)> {
    let amounts = settlement.amounts.iter();
    amounts.map(|amount| (amount.returned, amount.actual)).collect()
}

#[test]
fn eight_requests_in_a_tenth_of_a_second_are_hot() {
    let mut book = LeaseBook::new(true);
    asked(&mut book, 7, &quotas(100), &[1_000, 100_000], 0);
    assert!(asks(&mut book, 10).is_empty());
    asked(&mut book, 1, &quotas(100), &[1_000, 100_000], 20);
    let block = asks(&mut book, 30).pop().expect("a block");
    assert_eq!(amounts(&block), [16, 1_600]);
    assert!(asks(&mut book, 40).is_empty(), "one block at a time");
    // As many over a longer time are not.
    let mut book = LeaseBook::new(true);
    for n in 0..20 {
        asked(&mut book, 1, &quotas(100), &[1_000, 100_000], n * 50);
        assert!(asks(&mut book, n * 50).is_empty());
    }
}

#[test]
fn blocks_shrink_near_the_limit_and_end_before_it() {
    let sizes = |remaining: i64, live_workers: u32| {
        let mut book = LeaseBook::new(true);
        for n in 0..10 {
            let call = call(n, &quotas(100));
            book.draw(&call, at(0));
            let answer = Reserved {
                live_workers,
                ..answer(&[1_000_000, remaining], 60_000)
            };
            book.answered(&call, Some(&answer), at(0));
        }
        asks(&mut book, 10).pop().map(|block| amounts(&block))
    };
    assert_eq!(sizes(100_000, 1), Some(vec![20, 2_000]));
    assert_eq!(sizes(24_000, 1), Some(vec![15, 1_500]));
    assert_eq!(sizes(20_000, 1), Some(vec![12, 1_200]));
    assert_eq!(sizes(19_999, 1), None);
    assert_eq!(sizes(79_999, 4), None);
    assert_eq!(sizes(0, 1), None);
    assert_eq!(sizes(-5, 1), None);
}

#[test]
fn draws_take_all_amounts_or_none_until_the_block_is_used_up() {
    let (mut book, block) = leased();
    let too_much = call(1, &quotas(2_001));
    assert_eq!(book.draw(&too_much, at(20)), None);
    let most = book.draw(&call(2, &quotas(1_950)), at(20)).expect("drawn");
    // What nobody has drawn yet is not used.
    assert_eq!(
        [most.results[0].remaining, most.results[1].remaining],
        [980 + 19, 98_000 + 50]
    );
    assert_eq!(most.results[1].reserved, 950);
    assert_eq!(most.results[1].reset_ms, 59_990);
    assert_eq!(book.draw(&call(3, &quotas(51)), at(20)), None);
    let drawn = (4..100)
        .filter(|n| book.draw(&call(*n, &quotas(1)), at(20)).is_some())
        .count();
    assert_eq!(drawn, 19, "as many as the bucket of requests has");
    assert_eq!(amounts(&block), [20, 2_000]);
    assert_eq!(book.take_counts().drawn, 20);
}

#[test]
fn other_versions_partitions_keys_and_apis_do_not_draw() {
    let (mut book, _) = leased();
    let mut others = vec![call(1, &quotas(1)), call(2, &quotas(1)), call(3, &quotas(1)[..1])];
    let mut edited = quotas(1);
    edited[0].version = 2;
    others.push(call(4, &edited));
    edited[0].version = 1;
    edited[1].partition = "x".to_owned();
    others.push(call(5, &edited));
    others[0].key_id = KeyId::from_bytes([9; 16]);
    others[1].api_id = ApiId::from_bytes([9; 16]);
    for other in others {
        assert_eq!(book.draw(&other, at(20)), None, "{other:?}");
    }
    assert!(book.draw(&call(6, &quotas(1)), at(20)).is_some());
}

#[test]
fn rl_04_nothing_is_drawn_after_the_end_of_a_window() {
    let mut book = LeaseBook::new(true);
    asked(&mut book, 10, &quotas(100), &[1_000, 100_000], 0);
    let block = asks(&mut book, 10).pop().expect("a block");
    book.granted(block.id, Some(&answer(&[980, 98_000], 40)), at(15));
    assert!(book.draw(&call(1, &quotas(100)), at(49)).is_some());
    assert_eq!(book.draw(&call(2, &quotas(100)), at(50)), None);
}

#[test]
fn an_old_lease_gives_back_what_was_not_drawn() {
    let (mut book, block) = leased();
    let drawn = call(1, &quotas(100));
    assert!(book.draw(&drawn, at(20)).is_some());
    assert!(book.settled(&settlement(&drawn, 60), false));
    // Reported after a tenth of a second, and only once.
    assert!(settlements(said(&mut book, 100, false)).is_empty());
    let report = settlements(said(&mut book, 110, false)).pop().expect("a report");
    assert_eq!((report.id, report.part), (block.id, 1));
    assert_eq!(figures(&report), [(1, 60), (100, 60)]);
    assert!(said(&mut book, 300, false).is_empty());
    assert!(book.draw(&call(2, &quotas(100)), at(510)).is_none());
    let effects = said(&mut book, 510, false);
    assert!(matches!(effects[0], Effect::Closed { id } if id == block.id));
    let last = settlements(effects).pop().expect("the last word");
    assert_eq!((last.id, last.part), (block.id, 0));
    assert_eq!(figures(&last), [(20, 60), (2_000, 60)]);
    assert_eq!(book.take_counts().given_back, 19);
    assert!(said(&mut book, 1_000, false).is_empty());
}

#[test]
fn what_running_requests_hold_stays_held_when_a_lease_closes() {
    let (mut book, block) = leased();
    let running = [call(1, &quotas(100)), call(2, &quotas(200))];
    for call in &running {
        assert!(book.draw(call, at(20)).is_some());
    }
    let report = settlements(said(&mut book, 510, false)).pop().expect("a report");
    assert_eq!((report.part, figures(&report)), (1, vec![(18, 0), (1_700, 0)]));
    assert!(book.settled(&settlement(&running[0], 90), false));
    let report = settlements(said(&mut book, 620, false)).pop().expect("a report");
    assert_eq!((report.part, figures(&report)), (2, vec![(19, 90), (1_800, 90)]));
    assert!(book.settled(&settlement(&running[1], 300), false));
    let last = settlements(said(&mut book, 630, false))
        .pop()
        .expect("the last word");
    assert_eq!((last.part, figures(&last)), (0, vec![(20, 390), (2_000, 390)]));
    assert_eq!(last.id, block.id);
}

#[test]
fn a_released_draw_can_be_drawn_again_while_the_lease_is_open() {
    let (mut book, _) = leased();
    let released = call(1, &quotas(2_000));
    assert!(book.draw(&released, at(20)).is_some());
    assert!(book.settled(&settlement(&released, 5), true));
    let again = call(2, &quotas(2_000));
    assert!(book.draw(&again, at(30)).is_some());
    book.tick(at(510), false);
    assert!(book.settled(&settlement(&again, 5), true));
    let last = settlements(said(&mut book, 520, false))
        .pop()
        .expect("the last word");
    assert_eq!(figures(&last), [(20, 0), (2_000, 0)]);
    assert!(!book.settled(&settlement(&again, 5), true), "not twice");
}

#[test]
fn refused_failed_and_degraded_blocks_give_no_lease_and_a_pause() {
    for (reserved, released) in [
        (
            Some(Reserved {
                admitted: false,
                ..answer(&[0, 0], 60_000)
            }),
            false,
        ),
        (
            Some(Reserved {
                degraded: true,
                ..answer(&[980, 98_000], 60_000)
            }),
            true,
        ),
        (None, true),
    ] {
        let mut book = LeaseBook::new(true);
        asked(&mut book, 10, &quotas(100), &[1_000, 100_000], 0);
        let block = asks(&mut book, 10).pop().expect("a block");
        let effects = book.granted(block.id, reserved.as_ref(), at(20));
        let is_release =
            matches!(&effects[..], [Effect::Release(release)] if release.id == block.id && release.part == 0);
        assert_eq!(is_release, released, "{effects:?}");
        assert_eq!(effects.is_empty(), !released);
        assert_eq!(book.take_counts().refused, 1);
        asked(&mut book, 10, &quotas(100), &[1_000, 100_000], 30);
        assert!(asks(&mut book, 40).is_empty());
    }
}

#[test]
fn a_degraded_answer_is_no_ground_for_a_block() {
    let mut book = LeaseBook::new(true);
    asked(&mut book, 10, &quotas(100), &[1_000, 100_000], 0);
    let last = call(1, &quotas(100));
    book.draw(&last, at(5));
    let degraded = Reserved {
        degraded: true,
        ..answer(&[1_000, 100_000], 60_000)
    };
    book.answered(&last, Some(&degraded), at(5));
    assert!(asks(&mut book, 10).is_empty());
}

#[test]
fn a_shadow_rule_that_would_refuse_the_block_looks_at_each_request() {
    let mut shadow = quotas(100);
    shadow[0].mode = Mode::Shadow;
    let mut book = LeaseBook::new(true);
    asked(&mut book, 10, &shadow, &[1_000, 100_000], 0);
    let block = asks(&mut book, 10).pop().expect("a block");
    let mut reserved = answer(&[980, 98_000], 60_000);
    reserved.results[0].admitted = false;
    let effects = book.granted(block.id, Some(&reserved), at(20));
    assert!(matches!(&effects[..], [Effect::Release(_)]), "{effects:?}");
    // A budget that only alerts takes what there is, and more.
    let mut soft = quotas(100);
    soft[1].mode = Mode::Shadow;
    let mut book = LeaseBook::new(true);
    asked(&mut book, 10, &soft, &[1_000, -7], 0);
    let block = asks(&mut book, 10).pop().expect("a block");
    let mut reserved = answer(&[980, -2_007], 60_000);
    reserved.results[1].admitted = false;
    book.granted(block.id, Some(&reserved), at(20));
    let drawn = book.draw(&call(1, &soft), at(30)).expect("drawn");
    assert!(!drawn.results[1].admitted);
}

#[test]
fn logs_are_never_leased_and_off_is_off() {
    let log = [quota(1, Meter::SlidingWindow { window_ms: 1_000 }, 1)];
    let mut book = LeaseBook::new(true);
    asked(&mut book, 50, &log, &[1_000_000], 0);
    assert!(asks(&mut book, 10).is_empty());
    let mut book = LeaseBook::new(false);
    asked(&mut book, 50, &quotas(1), &[1_000_000, 1_000_000], 0);
    assert!(asks(&mut book, 10).is_empty());
}

#[test]
fn the_table_is_bounded_and_cold_sets_make_room() {
    let mut book = LeaseBook::new(true);
    let of = |n: usize| {
        let mut quotas = quotas(1);
        quotas[0].partition = format!("k.{n}");
        quotas
    };
    for n in 0..1_000 {
        asked(&mut book, 1, &of(n), &[1_000_000, 1_000_000], 0);
    }
    asked(&mut book, 20, &of(5_000), &[1_000_000, 1_000_000], 0);
    assert!(asks(&mut book, 10).is_empty(), "full");
    book.tick(at(50), false);
    asked(&mut book, 20, &of(5_000), &[1_000_000, 1_000_000], 60);
    assert_eq!(asks(&mut book, 70).len(), 1);
}

#[test]
fn draining_closes_everything() {
    let (mut book, block) = leased();
    let running = call(1, &quotas(100));
    assert!(book.draw(&running, at(20)).is_some());
    let report = settlements(said(&mut book, 30, true)).pop().expect("a report");
    assert_eq!((report.id, report.part), (block.id, 1));
    assert_eq!(book.draw(&call(2, &quotas(100)), at(30)), None);
    assert!(book.settled(&settlement(&running, 1), false));
    let last = settlements(said(&mut book, 31, true))
        .pop()
        .expect("the last word");
    assert_eq!(last.part, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Request(i64),
    End(usize, i64, bool),
    Answer(bool),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..300_i64).prop_map(Step::Request),
        20 => (any::<usize>(), 0..500_i64, any::<bool>()).prop_map(|(n, actual, released)| Step::End(n, actual, released)),
        3 => any::<bool>().prop_map(Step::Answer),
        4 => (0..60_i64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// What the ledger gave is what draws used, what was given back and what is under way, at every report.
    #[test]
    fn every_unit_is_accounted_for(steps in proptest::collection::vec(step(), 1..400)) {
        let mut book = LeaseBook::new(true);
        let (mut now_ms, mut next) = (0, 0_u64);
        let mut running: Vec<(ReserveCall, bool)> = Vec::new();
        let mut pending: Vec<ReserveCall> = Vec::new();
        let mut granted: BTreeMap<RequestId, i64> = BTreeMap::new();
        let mut last: BTreeMap<RequestId, (u32, i64, i64)> = BTreeMap::new();
        let mut closed: BTreeMap<RequestId, i64> = BTreeMap::new();
        let mut used = 0;
        let run = steps.iter().cloned().map(Some).chain((0..40).map(|_| None));
        for step in run {
            match step {
                Some(Step::Request(cost)) => {
                    next += 1;
                    let call = call(next, &quotas(cost));
                    let drawn = book.draw(&call, at(now_ms)).is_some();
                    if !drawn {
                        book.answered(&call, Some(&answer(&[1_000_000, 50_000_000], 60_000)), at(now_ms));
                    }
                    running.push((call, drawn));
                }
                Some(Step::End(n, actual, released)) if !running.is_empty() => {
                    let (call, drawn) = running.swap_remove(n % running.len());
                    prop_assert_eq!(book.settled(&settlement(&call, actual), released), drawn);
                    used += if drawn && !released { actual } else { 0 };
                }
                Some(Step::Answer(yes)) if !pending.is_empty() => {
                    let block = pending.remove(0);
                    let reserved = Reserved { admitted: yes, ..answer(&[1_000_000, 50_000_000], 300) };
                    book.granted(block.id, Some(&reserved), at(now_ms));
                    if yes {
                        granted.insert(block.id, block.quotas[1].amount);
                    }
                }
                Some(_) => now_ms += 7,
                None => {
                    // The end: everybody finishes, time passes.
                    now_ms += 100;
                    for block in pending.drain(..) {
                        book.granted(block.id, None, at(now_ms));
                    }
                    for (call, drawn) in running.drain(..) {
                        prop_assert_eq!(book.settled(&settlement(&call, 3), false), drawn);
                        used += if drawn { 3 } else { 0 };
                    }
                }
            }
            if let Some(Step::Pass(ms)) = step {
                now_ms += ms;
                // A batch of events may be closed at any time.
                let is_cut = ms % 2 == 0 || book.tick(at(now_ms), false);
                let reports = if is_cut { book.reports(at(now_ms)) } else { Vec::new() };
                for settlement in settlements(reports) {
                    let (returned, actual) = figures(&settlement)[1];
                    let (part, before, used) = last.get(&settlement.id).copied().unwrap_or_default();
                    prop_assert!(settlement.part == 0 || settlement.part > part);
                    prop_assert!(returned >= before && actual >= used && returned <= granted[&settlement.id]);
                    last.insert(settlement.id, (settlement.part, returned, actual));
                    if settlement.part == 0 {
                        prop_assert!(closed.insert(settlement.id, actual).is_none());
                        prop_assert_eq!(returned, granted[&settlement.id]);
                    }
                }
                if is_cut {
                    let reported: i64 = last.values().map(|(_, _, actual)| actual).sum();
                    prop_assert_eq!(reported, used, "reports and the draws that were settled");
                }
                pending.extend(asks(&mut book, now_ms));
            } else if step.is_none() {
                for settlement in settlements(said(&mut book, now_ms, false)) {
                    if settlement.part == 0 {
                        let (returned, actual) = figures(&settlement)[1];
                        prop_assert!(closed.insert(settlement.id, actual).is_none());
                        prop_assert_eq!(returned, granted[&settlement.id]);
                    }
                }
            }
        }
        prop_assert_eq!(closed.len(), granted.len(), "every lease has its last word");
        prop_assert_eq!(closed.values().sum::<i64>(), used);
    }
}
