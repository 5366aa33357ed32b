//! Events in, effects out: what the exchange machine makes of whole requests.

mod support;

use rateguard_filter::effect::{Effect, Flow};
use rateguard_filter::event::{Event, QuotaResult};
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::{FailureMode, Mode, Unit};
use rateguard_model::resource::{KeyState, UnpricedModelPolicy, UpstreamAuth};
use rateguard_model::usage::UsageSource;
use support::*;

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
fn an_answer_is_priced_in_its_headers_settled_and_recorded() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions?x=1", QUESTION);
    scene.wait_ms(3);
    scene.admit();
    assert_eq!(
        scene.upstream_header(":path").as_deref(),
        Some("/v1/chat/completions?x=1")
    );
    assert_eq!(
        scene.upstream_header("authorization").as_deref(),
        Some("Bearer upstream-secret")
    );
    assert_eq!(
        scene.upstream_header("x-rateguard-cluster").as_deref(),
        Some("api_chat")
    );
    assert_eq!(scene.upstream_header("x-request-id"), Some(ID.to_string()));
    scene.wait_ms(20);
    assert_eq!(
        scene.answer("200", &[JSON, ("content-length", "150")], false),
        Flow::Pause
    );
    assert_eq!(scene.chunk(&ANSWER[..40], false), Flow::Pause);
    assert_eq!(scene.chunk(ANSWER, true), Flow::Continue);
    // 19 × 150 000 ÷ 1 000 + 10 × 600 000 ÷ 1 000 = 8 850 nano-USD.
    for (name, value) in [
        ("x-rateguard-request-id", ID.to_string().as_str()),
        ("x-rateguard-cost-cents", "0.000885"),
        ("x-rateguard-tokens-input", "19"),
        ("x-rateguard-tokens-output", "10"),
        ("x-rateguard-latency-ms", "3"),
        ("x-rateguard-upstream-latency-ms", "20"),
        ("x-ratelimit-limit", "100"),
        ("x-ratelimit-remaining", "40"),
        ("x-ratelimit-reset", "1795000030"),
        ("ratelimit-policy", "\"per key\";q=100;w=60"),
        ("ratelimit", "\"per key\";r=40;t=30"),
        ("x-rateguard-budget-used", "20.000885"),
        ("x-rateguard-budget-limit", "100"),
        ("x-rateguard-budget-remaining", "79.999115"),
    ] {
        assert_eq!(scene.response_header(name).as_deref(), Some(value), "{name}");
    }
    assert!(scene.response_header("x-rateguard-degraded").is_none());
    scene.end();
    assert_eq!(scene.actual(Unit::Requests), Some(1));
    assert_eq!(scene.actual(Unit::NanoUsd), Some(8_850));
    let event = scene.event();
    assert_eq!(
        (event.status_code, event.cost, event.tokens.output_text),
        (200, NanoUsd(8_850), 10)
    );
    assert_eq!(event.usage_source, Some(UsageSource::Reported));
    assert_eq!(
        (event.model.as_str(), event.price_version.as_str()),
        ("gpt-4o-mini", "p1")
    );
    assert_eq!((event.upstream_latency_ms, event.latency_ms), (20, 23));
    assert_eq!(event.endpoint, "/v1/chat/completions");
    assert_eq!(event.tags, vec![("team".to_owned(), "core".to_owned())]);
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
fn every_refusal_before_the_ledger_has_its_row_of_the_table() {
    type Change = fn(&mut rateguard_filter::snapshot::Update);
    /// Name, path, body, what is different from the usual workspace, and what comes of it.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        Change,
        (u16, &'static str),
    );
    let chat = "/proxy/openai/chat/completions";
    let cases: [Case; 11] = [
        (
            "unknown slug",
            "/proxy/other/x",
            QUESTION,
            |_| {},
            (404, "api_not_found"),
        ),
        (
            "neither slug nor host",
            "/other",
            QUESTION,
            |_| {},
            (404, "api_not_found"),
        ),
        (
            "suspended",
            chat,
            QUESTION,
            |u| u.keys[0].state = KeyState::Suspended,
            (401, "invalid_api_key"),
        ),
        (
            "revoked",
            chat,
            QUESTION,
            |u| u.keys[0].state = KeyState::Revoked,
            (401, "invalid_api_key"),
        ),
        (
            "expired",
            chat,
            QUESTION,
            |u| u.keys[0].expires_at_ms = Some(1),
            (403, "expired_api_key"),
        ),
        (
            "old secret over",
            chat,
            QUESTION,
            |u| u.keys[0].secrets[0].not_after_ms = Some(1),
            (403, "expired_api_key"),
        ),
        (
            "other API",
            chat,
            QUESTION,
            |u| u.keys[0].allowed_api_ids = vec![FLAT],
            (403, "forbidden"),
        ),
        (
            "inactive",
            chat,
            QUESTION,
            |u| u.apis[0].is_active = false,
            (403, "api_inactive"),
        ),
        (
            "other model",
            chat,
            QUESTION,
            |u| u.keys[0].allowed_models = vec!["o3*".to_owned()],
            (403, "model_not_allowed"),
        ),
        (
            "no price",
            chat,
            r#"{"model":"llama"}"#,
            |_| {},
            (403, "model_not_priced"),
        ),
        ("not JSON", chat, "{", |_| {}, (400, "validation_error")),
    ];
    for (name, path, body, change, (status, code)) in cases {
        let mut update = update();
        change(&mut update);
        let mut scene = Scene::with(update);
        scene.post(path, body);
        assert_eq!(scene.refusal(), (status, code.to_owned()), "{name}");
        scene.end();
        assert!(scene.forwarded().is_none() && scene.reserve().is_none(), "{name}");
        assert_eq!(
            (scene.event().status_code, scene.event().error_type.as_str()),
            (status, code),
            "{name}"
        );
    }
}

#[test]
fn au_01_a_key_that_is_missing_malformed_or_unknown_is_401_with_one_message() {
    let mut messages = Vec::new();
    for value in [
        "",
        "Bearer",
        "Bearer rg_live_short",
        "Bearer sk-1",
        "Bearer rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnE",
    ] {
        let mut scene = Scene::new();
        scene.request("GET", "/proxy/flat/x", &[("authorization", value)], true);
        assert_eq!(scene.refusal(), (401, "invalid_api_key".to_owned()), "{value:?}");
        messages.push(scene.reply().body.clone());
        scene.end();
        assert_eq!(scene.event().workspace_id, None);
    }
    assert!(messages.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn cp_02_without_a_snapshot_nothing_is_let_through() {
    let mut scene = Scene::empty();
    scene.get("/proxy/flat/x");
    assert_eq!(scene.refusal(), (503, "not_ready".to_owned()));
    assert_eq!(scene.reply_header("retry-after").as_deref(), Some("1"));
    let mut scene = Scene::empty();
    scene.request("GET", "/ready", &[], true);
    assert_eq!(scene.reply().status, 503);
    let mut scene = Scene::new();
    scene.request("GET", "/ready", &[], true);
    assert_eq!(scene.reply().status, 200);
}

#[test]
fn cp_01_a_snapshot_that_is_too_old_is_as_good_as_none() {
    let mut scene = Scene::new();
    scene.config.snapshot_max_age_ms = Some(1_000);
    scene.wait_ms(1_001);
    scene.get("/proxy/flat/x");
    assert_eq!(scene.refusal(), (503, "not_ready".to_owned()));
}

#[test]
fn dp_25_upgrades_are_forbidden() {
    for headers in [
        [("upgrade", "websocket"), ("x-api-key", KEY)],
        [(":protocol", "websocket"), ("x-api-key", KEY)],
    ] {
        let mut scene = Scene::new();
        scene.request("GET", "/proxy/flat/x", &headers, true);
        assert_eq!(scene.refusal(), (403, "forbidden".to_owned()));
    }
    let mut scene = Scene::new();
    scene.request("CONNECT", "", &[], false);
    assert_eq!(scene.refusal(), (403, "forbidden".to_owned()));
}

#[test]
fn dp_12_a_body_over_its_limit_is_413_before_anything_is_reserved() {
    let mut scene = Scene::new();
    scene.request(
        "POST",
        "/proxy/openai/x",
        &[("x-api-key", KEY), ("content-length", "10485761")],
        false,
    );
    assert_eq!(scene.refusal(), (413, "request_too_large".to_owned()));
    // Need not be read: only the listener's buffer counts.
    let mut scene = Scene::new();
    scene.request(
        "POST",
        "/proxy/flat/x",
        &[("x-api-key", KEY), ("content-length", "33554433")],
        false,
    );
    assert_eq!(scene.refusal(), (413, "request_too_large".to_owned()));
    let mut scene = Scene::new();
    scene.request(
        "POST",
        "/proxy/flat/x",
        &[("x-api-key", KEY), ("content-length", "33554432")],
        false,
    );
    assert!(scene.reserve().is_some());
    // Of unknown length: as soon as too much is buffered.
    let mut scene = Scene::new();
    scene.request("POST", "/proxy/openai/x", &[("x-api-key", KEY), JSON], false);
    scene.step(Event::RequestBody {
        size: 10_485_761,
        body: None,
        end_of_stream: false,
    });
    assert_eq!(scene.refusal(), (413, "request_too_large".to_owned()));
    assert!(scene.reserve().is_none());
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
    assert_eq!(scene.event().status_code, 200);
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
fn streams_pass_at_once_and_end_with_their_cost() {
    let question = r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;
    let mut scene = Scene::new();
    scene.request(
        "POST",
        "/proxy/openai/chat/completions",
        &[("x-api-key", KEY), JSON, ("te", "trailers")],
        false,
    );
    scene.body(question);
    let body = scene.done.iter().find_map(|effect| {
        if let Effect::SetRequestBody(body) = effect {
            Some(body.clone())
        } else {
            None
        }
    });
    assert!(
        String::from_utf8(body.expect("a changed body"))
            .expect("text")
            .contains(r#""include_usage":true"#)
    );
    scene.admit();
    assert_eq!(scene.upstream_header("content-length"), None);
    assert_eq!(scene.upstream_header("te"), None);
    assert_eq!(
        scene.answer(
            "200",
            &[("content-type", "text/event-stream"), ("content-length", "9")],
            false
        ),
        Flow::Continue
    );
    assert_eq!(scene.response_header("x-rateguard-cost-cents"), None);
    assert_eq!(scene.response_header("content-length"), None);
    let first = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{}}]}\n\n";
    let usage = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10}}\n\n";
    assert_eq!(scene.chunk(first, false), Flow::Continue);
    assert!(
        !scene
            .done
            .iter()
            .any(|effect| matches!(effect, Effect::SetResponseBody(_))),
        "passes untouched"
    );
    scene.chunk(usage, false);
    assert!(
        scene.done.contains(&Effect::SetResponseBody(Vec::new())),
        "the client did not ask for this chunk"
    );
    scene.chunk("data: [DONE]\n\n", true);
    assert!(scene.done.contains(&Effect::AppendResponseBody(
        b": rateguard-cost-cents=0.000885\n\n".to_vec()
    )));
    assert!(scene.done.contains(&Effect::AddResponseTrailer(
        "x-rateguard-cost-cents",
        "0.000885".to_owned()
    )));
    scene.end();
    assert_eq!(scene.event().usage_source, Some(UsageSource::Reported));
    assert!(scene.event().stream);
}

#[test]
fn ev_09_dp_15_a_client_that_leaves_mid_stream_is_charged() {
    let mut scene = Scene::new();
    scene.post(
        "/proxy/openai/chat/completions",
        r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#,
    );
    scene.admit();
    scene.answer("200", &[("content-type", "text/event-stream")], false);
    scene.chunk(
        "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n",
        false,
    );
    scene.step(Event::Ended {
        details: Some(b"downstream_remote_disconnect"),
    });
    assert_eq!(scene.event().usage_source, Some(UsageSource::Estimated));
    assert_eq!(scene.event().error_type, "client_closed");
    assert!(scene.event().cost > NanoUsd::ZERO);
    assert_eq!(scene.actual(Unit::NanoUsd), Some(scene.event().cost.0));
}

#[test]
fn dp_15_a_client_that_leaves_before_the_decision_costs_nothing() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.end();
    assert!(scene.done.contains(&Effect::CancelReserve));
    assert!(scene.released().is_some());
    assert_eq!(
        (scene.event().cost, scene.event().error_type.as_str()),
        (NanoUsd::ZERO, "client_closed")
    );
}

#[test]
fn dp_15_a_client_that_leaves_while_the_upstream_works_is_charged_as_estimated() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    scene.step(Event::Ended {
        details: Some(b"downstream_remote_disconnect"),
    });
    assert_eq!(scene.event().usage_source, Some(UsageSource::Estimated));
    assert!(scene.actual(Unit::NanoUsd) > Some(0));
}

#[test]
fn dp_18_local_replies_are_mapped_and_never_read_as_usage() {
    for (status, details, expected, released) in [
        ("503", "cluster_not_found", (503, "not_ready"), true),
        (
            "503",
            "upstream_reset_before_response_started{overflow}",
            (503, "circuit_open"),
            true,
        ),
        (
            "503",
            "upstream_reset_before_response_started{remote_connection_failure|x}",
            (502, "upstream_error"),
            true,
        ),
        (
            "503",
            "upstream_reset_before_response_started{connection_termination}",
            (502, "upstream_error"),
            false,
        ),
        (
            "504",
            "upstream_per_try_timeout",
            (504, "upstream_timeout"),
            false,
        ),
        ("500", "unheard_of", (500, "internal_error"), true),
    ] {
        let mut scene = Scene::new();
        scene.post("/proxy/openai/chat/completions", QUESTION);
        scene.admit();
        assert_eq!(scene.local_reply(status, details), Flow::Continue, "{details}");
        assert_eq!(
            scene.response_header(":status"),
            Some(expected.0.to_string()),
            "{details}"
        );
        assert_eq!(
            scene.response_header("content-type").as_deref(),
            Some("application/json"),
            "{details}"
        );
        scene.chunk(ANSWER, true);
        let body = scene.done.iter().find_map(|effect| {
            if let Effect::SetResponseBody(body) = effect {
                Some(body)
            } else {
                None
            }
        });
        let body: serde_json::Value = serde_json::from_slice(body.expect("our body")).expect("JSON");
        assert_eq!(body["error"]["code"], expected.1, "{details}");
        scene.end();
        assert_eq!(scene.event().cost, NanoUsd::ZERO, "{details}");
        assert_eq!(
            (scene.event().status_code, scene.event().error_type.as_str()),
            expected,
            "{details}"
        );
        assert_eq!(scene.released().is_some(), released, "{details}");
        if !released {
            assert_eq!(
                (scene.actual(Unit::Requests), scene.actual(Unit::NanoUsd)),
                (Some(1), Some(0)),
                "{details}"
            );
        }
    }
}

#[test]
fn a_local_reply_without_a_body_is_answered_anew() {
    let mut scene = Scene::new();
    scene.get("/proxy/flat/x");
    scene.admit();
    let headers = [(":status", "503")].into_iter().collect();
    scene.step(Event::ResponseHeaders {
        headers,
        end_of_stream: true,
        details: Some(b"cluster_not_found"),
    });
    assert_eq!(scene.refusal(), (503, "not_ready".to_owned()));
    assert_eq!(scene.reply_header("retry-after").as_deref(), Some("1"));
}

#[test]
fn dp_12_a_local_413_while_deciding_releases() {
    let mut scene = Scene::new();
    scene.request("POST", "/proxy/flat/x", &[("x-api-key", KEY)], false);
    scene.local_reply("413", "request_payload_too_large");
    assert!(scene.done.contains(&Effect::CancelReserve));
    assert!(scene.released().is_some());
    assert_eq!(scene.response_header(":status").as_deref(), Some("413"));
    scene.end();
    assert_eq!(scene.event().error_type, "request_too_large");
}

#[test]
fn dp_14_up_10_an_answer_that_breaks_off_while_held_is_a_502_charged_as_estimated() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    scene.answer("200", &[JSON, ("content-length", "500")], false);
    scene.chunk(&ANSWER[..50], false);
    scene.step(Event::Ended {
        details: Some(b"upstream_reset_after_response_started{connection_termination}"),
    });
    assert_eq!(
        (scene.event().status_code, scene.event().error_type.as_str()),
        (502, "upstream_error")
    );
    assert_eq!(scene.event().usage_source, Some(UsageSource::Estimated));
}

#[test]
fn dp_15_a_stream_left_early_pays_for_the_text_it_was_sent() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":\
                 {\"input_tokens\":10,\"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\
                 \"text_delta\",\"text\":\"word\"}}\n\n";
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    scene.answer("200", &[("content-type", "text/event-stream")], false);
    scene.chunk(start, false);
    for _ in 0..10 {
        scene.chunk(delta, false);
    }
    scene.step(Event::Ended { details: None });
    let (event, sent) = (scene.event(), (start.len() + 10 * delta.len()) as i64);
    assert_eq!(event.usage_source, Some(UsageSource::Partial));
    assert_eq!(
        event.tokens.output_tokens(),
        sent / 100,
        "not the 1 that the provider began with"
    );
}

#[test]
fn dp_13_an_answer_over_the_hold_limit_streams() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    let answered = scene.answer("200", &[JSON, ("content-length", "4194305")], false);
    assert_eq!(answered, Flow::Continue);
    // Of unknown length: held until too much is there.
    let mut scene = Scene::new();
    scene.config.response_hold_max_bytes = 100;
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    assert_eq!(scene.answer("200", &[JSON], false), Flow::Pause);
    assert_eq!(scene.chunk(&ANSWER[..100], false), Flow::Pause);
    assert_eq!(scene.chunk(&ANSWER[..101], false), Flow::Continue);
    assert_eq!(scene.response_header("x-rateguard-cost-cents"), None);
    assert_eq!(scene.chunk(&ANSWER[101..], true), Flow::Continue);
    scene.end();
    assert_eq!(scene.event().cost, NanoUsd(8_850));
}

#[test]
fn up_12_a_providers_error_costs_no_tokens() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    scene.answer("429", &[JSON, ("retry-after", "7")], false);
    scene.chunk(r#"{"error":{"message":"slow down"}}"#, true);
    assert_eq!(scene.response_header("retry-after").as_deref(), Some("7"));
    assert_eq!(
        scene.response_header("x-rateguard-cost-cents").as_deref(),
        Some("0")
    );
    scene.end();
    assert_eq!(
        (scene.event().cost, scene.event().error_type.as_str()),
        (NanoUsd::ZERO, "upstream_status_429")
    );
}

#[test]
fn up_05_a_compressed_answer_is_charged_as_estimated() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.admit();
    assert_eq!(
        scene.upstream_header("accept-encoding").as_deref(),
        Some("identity")
    );
    scene.answer(
        "200",
        &[JSON, ("content-encoding", "gzip"), ("content-length", "20")],
        false,
    );
    scene.chunk("\u{1f}\u{8b}compressed", true);
    scene.end();
    assert_eq!(scene.event().usage_source, Some(UsageSource::Estimated));
    assert!(scene.event().cost > NanoUsd::ZERO);
}

#[test]
fn up_06_usage_that_makes_no_sense_is_charged_at_the_reservation() {
    for figure in [
        "-1",
        "1e400",
        "0.5",
        "\"12\"",
        "9223372036854775808",
        "[]",
        "true",
    ] {
        let mut scene = Scene::new();
        scene.post("/proxy/openai/chat/completions", QUESTION);
        let reserved = scene
            .reserve()
            .and_then(|call| call.quotas.iter().find(|quota| quota.unit == Unit::NanoUsd))
            .map(|quota| quota.amount);
        scene.admit();
        scene.answer("200", &[JSON], false);
        scene.chunk(&ANSWER.replace("10,", &format!("{figure},")), true);
        scene.end();
        assert_eq!(scene.actual(Unit::NanoUsd), reserved, "{figure}");
        assert!(reserved > Some(0));
    }
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
fn au_07_what_a_client_must_not_say_is_dropped() {
    let mut scene = Scene::new();
    let internal = [
        ("x-rateguard-cluster", "api_chat"),
        ("x-rateguard-workspace", "1"),
        ("x-rateguard-key", KEY),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil"),
        ("x-envoy-retry-on", "5xx"),
        ("forwarded", "for=1"),
        ("via", "1.1 x"),
        ("x-real-ip", "10.0.0.1"),
        ("connection", "x"),
        ("te", "trailers"),
        ("x-request-id", "mine"),
        ("anthropic-version", "2023-06-01"),
        ("idempotency-key", "k"),
        ("x-api-key", "sk-other"),
    ];
    scene.request(
        "GET",
        &format!("/proxy/flat/x?key={KEY}&alt=sse"),
        &internal,
        true,
    );
    scene.admit();
    for name in [
        "x-rateguard-workspace",
        "x-rateguard-key",
        "cookie",
        "x-forwarded-host",
        "x-envoy-retry-on",
        "forwarded",
        "via",
        "x-real-ip",
        "connection",
        "te",
    ] {
        assert_eq!(scene.upstream_header(name), None, "{name}");
    }
    assert_eq!(
        scene.upstream_header("x-rateguard-cluster").as_deref(),
        Some("api_flat")
    );
    assert_eq!(scene.upstream_header("x-request-id"), Some(ID.to_string()));
    assert_eq!(scene.upstream_header(":path").as_deref(), Some("/x?alt=sse"));
    assert_eq!(
        scene.upstream_header(":authority").as_deref(),
        Some("flat.example.com:8443")
    );
    assert_eq!(
        scene.upstream_header("anthropic-version").as_deref(),
        Some("2023-06-01")
    );
    assert_eq!(scene.upstream_header("idempotency-key").as_deref(), Some("k"));
    assert_eq!(
        scene.upstream_header("x-api-key").as_deref(),
        Some("sk-other"),
        "no credential of ours: the client's passes"
    );
    let all = scene.forwarded().expect("forwarded");
    assert!(
        !String::from_utf8_lossy(all.as_bytes()).contains(KEY),
        "the key never leaves"
    );
}

#[test]
fn every_kind_of_credential_is_injected() {
    for (auth, name, value) in [
        (
            UpstreamAuth::Bearer {
                token: "t".to_owned(),
            },
            "authorization",
            "Bearer t",
        ),
        (
            UpstreamAuth::ApiKeyHeader {
                header_name: "x-api-key".to_owned(),
                value: "v".to_owned(),
            },
            "x-api-key",
            "v",
        ),
        (
            UpstreamAuth::Basic {
                user_password: "u:p".to_owned(),
            },
            "authorization",
            "Basic dTpw",
        ),
    ] {
        let mut update = update();
        update.apis[1].auth = auth;
        let mut scene = Scene::with(update);
        scene.request(
            "GET",
            "/proxy/flat/x",
            &[("authorization", "Bearer sk-other"), ("x-api-key", KEY)],
            true,
        );
        scene.admit();
        assert_eq!(scene.upstream_header(name).as_deref(), Some(value));
        let all = String::from_utf8_lossy(scene.forwarded().expect("forwarded").as_bytes()).into_owned();
        assert!(!all.contains("sk-other") && !all.contains(KEY));
    }
}

#[test]
fn an_api_is_also_found_by_its_host() {
    let mut scene = Scene::new();
    scene.config.mode = rateguard_filter::config::Mode::DropIn;
    let headers = [
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "API.openai.com:443"),
        ("x-api-key", KEY),
    ]
    .into_iter()
    .collect();
    scene.step(Event::RequestHeaders {
        headers,
        end_of_stream: true,
        id: ID,
        peer: Some(b"192.0.2.1:1234"),
    });
    scene.admit();
    assert_eq!(scene.upstream_header(":path").as_deref(), Some("/v1/models"));
    assert_eq!(
        scene.upstream_header(":authority").as_deref(),
        Some("API.openai.com:443"),
        "the mesh routes"
    );
    assert_eq!(scene.upstream_header("x-rateguard-cluster"), None);
}

#[test]
fn what_the_operator_exempts_passes_without_a_key_but_steers_nothing() {
    let mut scene = Scene::new();
    scene.config.bypass.path_prefixes = vec!["/public".to_owned()];
    assert_eq!(
        scene.request("GET", "/public/x", &[("x-rateguard-cluster", "api_chat")], true),
        Flow::Continue
    );
    assert_eq!(scene.upstream_header("x-rateguard-cluster"), None);
    scene.end();
    assert!(scene.events().is_empty());
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let mut scene = Scene::new();
    scene.request("HEAD", "/proxy/openai/models", &[("x-api-key", KEY)], true);
    scene.admit();
    assert_eq!(
        scene.answer("200", &[JSON, ("content-length", "100")], true),
        Flow::Continue
    );
    assert_eq!(
        scene.response_header("x-rateguard-cost-cents").as_deref(),
        Some("0")
    );
    assert_eq!(scene.response_header("content-length").as_deref(), Some("100"));
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
