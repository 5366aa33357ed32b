//! What the ledger decides, and what happens when it does not answer.

use crate::support::*;
use rateguard_filter::effect::Effect;
use rateguard_filter::effect::Flow;
use rateguard_filter::event::Event;
use rateguard_filter::event::QuotaResult;
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::FailureMode;
use rateguard_model::quota::Mode;
use rateguard_model::quota::Unit;
use rateguard_model::resource::UnpricedModelPolicy;

#[test]
fn dp_01_nothing_passes_before_the_admission() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.request(
            "POST",
            "/proxy/openai/chat/completions",
            &[("x-api-key", KEY), JSON],
            false
        ),
        Flow::Pause
    );
    assert_eq!(
        scene.step(Event::RequestBody {
            size: 10,
            body: None,
            end_of_stream: false
        }),
        Flow::Pause
    );
    assert_eq!(scene.body(QUESTION), Flow::Pause);
    assert!(scene.reserve().is_some());
    assert_eq!(
        scene.step(Event::RequestBody {
            size: 0,
            body: None,
            end_of_stream: true
        }),
        Flow::Pause
    );
    assert!(scene.forwarded().is_none());
    assert_eq!(scene.admit(), Flow::Continue);
    assert!(scene.forwarded().is_some());
    assert!(scene.done.contains(&Effect::ResumeRequest));
}

#[test]
fn dp_03_a_refused_request_never_goes_on() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.reject(vec![refused(Some(1_500)), admitted()]);
    assert_eq!(
        scene.step(Event::RequestBody {
            size: 3,
            body: None,
            end_of_stream: true
        }),
        Flow::Pause
    );
    scene.end();
    assert!(scene.forwarded().is_none());
    assert!(!scene.done.contains(&Effect::ResumeRequest));
    assert!(scene.settled().is_none() && scene.released().is_none());
}

#[test]
fn a_request_that_no_quota_matches_makes_no_call() {
    let mut update = update();
    update.rules.clear();
    update.budgets.clear();
    let mut scene = Scene::with(update);
    assert_eq!(scene.get("/proxy/flat/x"), Flow::Continue);
    assert!(scene.reserve().is_none());
    assert!(scene.forwarded().is_some());
    scene.answer("200", &[JSON], true);
    scene.end();
    assert!(scene.settled().is_none());
    assert_eq!(scene.event().cost, NanoUsd(1_000_000));
}

#[test]
fn a_rule_that_refuses_is_429_with_when_to_come_back() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.reject(vec![refused(Some(1_500)), admitted()]);
    assert_eq!(scene.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(scene.reply_header("retry-after").as_deref(), Some("2"));
    assert_eq!(scene.reply_header("x-ratelimit-remaining").as_deref(), Some("0"));
    let details = scene.details();
    assert_eq!(
        (&details["rule"], &details["limit"], &details["retryAfterMs"]),
        (&"per key".into(), &100.into(), &1_500.into())
    );
    assert_eq!(details["resetsAt"], "2026-11-18T11:07:10Z");
    assert!(details.get("budget").is_none());
    scene.end();
    let event = scene.event();
    assert!(event.rate_limited && !event.budget_exceeded);
    assert_eq!(
        (event.rule_id, event.budget_id, event.cost),
        (Some(RULE), None, NanoUsd::ZERO)
    );
}

#[test]
fn a_budget_that_refuses_is_402_and_not_to_be_retried() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.reject(vec![admitted(), refused(None)]);
    assert_eq!(scene.refusal(), (402, "budget_exceeded".to_owned()));
    assert_eq!(scene.reply_header("x-should-retry").as_deref(), Some("false"));
    let details = scene.details();
    assert_eq!(
        details,
        serde_json::json!({"budget": "monthly", "used": 99, "reserved": 0.5, "limit": 100, "resetsAt": null})
    );
    scene.end();
    assert!(scene.event().budget_exceeded && !scene.event().rate_limited);
}

#[test]
fn a_rule_and_a_budget_that_both_refuse_are_429_naming_both() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.reject(vec![refused(Some(10)), refused(None)]);
    assert_eq!(scene.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(scene.details()["budget"], "monthly");
    scene.end();
    assert_eq!(
        (scene.event().rule_id, scene.event().budget_id),
        (Some(RULE), Some(BUDGET))
    );
}

#[test]
fn a_shadow_rule_never_refuses_but_is_recorded() {
    let mut update = update();
    update.rules[0].mode = Mode::Shadow;
    let mut scene = Scene::with(update);
    scene.get("/proxy/flat/x");
    let results = vec![
        QuotaResult {
            admitted: false,
            ..refused(None)
        },
        admitted(),
    ];
    scene.step(Event::ReserveAnswered(rateguard_filter::event::Reserved {
        admitted: true,
        degraded: false,
        live_workers: 1,
        results,
    }));
    scene.answer("200", &[], true);
    scene.end();
    assert!(scene.event().shadow);
    assert_eq!(
        (scene.event().status_code, scene.event().rule_id),
        (200, Some(RULE))
    );
}

#[test]
fn a_budget_that_refuses_beside_a_shadow_rule_names_both() {
    let mut update = update();
    update.rules[0].mode = Mode::Shadow;
    let mut scene = Scene::with(update);
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.reject(vec![refused(None), refused(None)]);
    assert_eq!(scene.refusal(), (402, "budget_exceeded".to_owned()));
    scene.end();
    let event = scene.event();
    assert!(event.shadow && !event.rate_limited);
    assert_eq!((event.rule_id, event.budget_id), (Some(RULE), Some(BUDGET)));
}

#[test]
fn a_refusal_by_nobody_is_no_refusal() {
    let mut scene = Scene::new();
    scene.get("/proxy/flat/x");
    scene.reject(vec![admitted(), admitted()]);
    // Unavailable: the failure modes decide, and a budget never seen admits a thousandth of its limit.
    assert!(scene.forwarded().is_some());
}

#[test]
fn dp_16_rl_08_without_the_limit_service_failure_modes_decide() {
    for (mode, expected) in [
        (FailureMode::FailOpen, None),
        (FailureMode::FailClosed, Some((503, "not_ready".to_owned()))),
    ] {
        let mut update = update();
        update.budgets.clear();
        update.rules[0].failure_mode = mode;
        let mut scene = Scene::with(update);
        scene.get("/proxy/flat/x");
        scene.limits_away();
        match expected {
            None => {
                scene.answer("200", &[], true);
                assert_eq!(
                    scene.response_header("x-rateguard-degraded").as_deref(),
                    Some("true")
                );
                scene.end();
                assert!(scene.event().degraded);
                assert_eq!(
                    scene.actual(Unit::Requests),
                    Some(1),
                    "spend is settled once the service is back"
                );
            }
            Some(refusal) => {
                assert_eq!(scene.refusal(), refusal);
                assert!(scene.forwarded().is_none());
                assert!(
                    scene.released().is_some(),
                    "the service may have reserved without our hearing of it"
                );
            }
        }
    }
}

#[test]
fn a_bounded_budget_whose_share_is_used_up_refuses() {
    let mut update = update();
    update.budgets[0].limit = NanoUsd(999_000);
    let mut scene = Scene::with(update);
    scene.get("/proxy/flat/x");
    scene.limits_away();
    assert_eq!(scene.refusal(), (402, "budget_exceeded".to_owned()));
    assert_eq!(
        scene.reply_header("x-rateguard-degraded").as_deref(),
        Some("true")
    );
}

#[test]
fn rl_03_nothing_unknown_is_reserved_at_zero() {
    let mut scene = Scene::new();
    scene.post(
        "/proxy/openai/chat/completions",
        r#"{"model":"gpt-9","messages":[]}"#,
    );
    assert!(
        scene
            .reserve()
            .is_some_and(|call| call.quotas.iter().all(|quota| quota.amount > 0))
    );
    let mut update = update();
    update.workspaces[0].unpriced_model_policy = UnpricedModelPolicy::Allow;
    let mut scene = Scene::with(update);
    scene.post(
        "/proxy/openai/chat/completions",
        r#"{"model":"llama","messages":[]}"#,
    );
    assert!(scene.reserve().is_some(), "allowed by the workspace's policy");
}

#[test]
fn a_late_or_stray_event_changes_nothing() {
    let mut scene = Scene::new();
    scene.get("/proxy/flat/x");
    scene.admit();
    let before = scene.done.len();
    scene.limits_away();
    assert_eq!(scene.done.len(), before);
    scene.end();
    let after = scene.done.len();
    scene.end();
    scene.chunk("late", true);
    assert_eq!(scene.done.len(), after, "settled and recorded once");
}

/// A question that does not bound its answer.
const UNBOUNDED: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;

/// What the next exchange of the same worker reserves in output tokens' price: input is taken off.
fn reserved_output(scene: &mut Scene, body: &str) -> i64 {
    let mut next = Scene::new();
    next.averages = std::mem::take(&mut scene.averages);
    next.post("/proxy/openai/chat/completions", body);
    let call = next.reserve().expect("asked");
    let money = call.quotas.iter().find(|quota| quota.unit == Unit::NanoUsd);
    let input = i64::try_from(body.len().div_ceil(4)).expect("short") * 150;
    let output = (money.expect("a budget").amount - input) / 600;
    scene.averages = next.averages;
    output
}

fn answered(body: &str, status: &str, answer: &str) -> Scene {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", body);
    scene.admit();
    scene.answer(status, &[JSON], false);
    scene.chunk(answer, true);
    scene.end();
    scene
}

#[test]
fn an_unbounded_answer_is_estimated_by_what_the_model_usually_says_to_the_key() {
    assert_eq!(
        reserved_output(&mut Scene::new(), UNBOUNDED),
        1_000,
        "nothing learned: the model's default"
    );
    let mut scene = answered(UNBOUNDED, "200", ANSWER);
    assert_eq!(reserved_output(&mut scene, UNBOUNDED), 10);
    assert_eq!(
        reserved_output(&mut scene, QUESTION),
        50,
        "max_tokens says it better"
    );
    let other_model = UNBOUNDED.replace("gpt-4o-mini", "gpt-5");
    assert_eq!(reserved_output(&mut scene, &other_model), 1_000);
    let three = UNBOUNDED.replace("\"messages\"", "\"n\":3,\"messages\"");
    assert_eq!(reserved_output(&mut scene, &three), 30);
}

#[test]
fn only_whole_reported_answers_teach() {
    let bounded = UNBOUNDED.replace("\"messages\"", "\"max_tokens\":10,\"messages\"");
    let mut cut_short = answered(&bounded, "200", ANSWER);
    assert_eq!(reserved_output(&mut cut_short, UNBOUNDED), 1_000);
    let mut error = answered(UNBOUNDED, "500", r#"{"error":{"message":"no"}}"#);
    assert_eq!(reserved_output(&mut error, UNBOUNDED), 1_000);
    let mut silent = answered(UNBOUNDED, "200", r#"{"id":"x","choices":[]}"#);
    assert_eq!(reserved_output(&mut silent, UNBOUNDED), 1_000);
}
