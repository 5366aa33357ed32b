//! From the first byte of an answer to the settlement and the event.

use crate::support::*;
use rateguard_filter::effect::Effect;
use rateguard_filter::effect::Flow;
use rateguard_filter::event::Event;
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::Unit;
use rateguard_model::usage::UsageSource;

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
fn a_held_answer_that_is_not_whole_in_time_is_a_504_charged_as_estimated() {
    let mut scene = Scene::new();
    scene.post("/proxy/openai/chat/completions", QUESTION);
    scene.wait_ms(5);
    scene.admit();
    let until = scene.now.plus_ms(30_000);
    scene.wait_ms(20);
    scene.answer("200", &[JSON, ("content-length", "500")], false);
    assert!(
        scene.done.contains(&Effect::Hold { until }),
        "from when it was sent"
    );
    scene.chunk(&ANSWER[..50], false);
    scene.now = until;
    assert_eq!(scene.step(Event::HoldExpired), Flow::Pause);
    assert_eq!(scene.refusal(), (504, "upstream_timeout".to_owned()));
    assert_ne!(scene.reply_header("x-rateguard-cost-cents").as_deref(), Some("0"));
    assert!(scene.reply_header("x-ratelimit-limit").is_some());
    scene.end();
    let event = scene.event();
    assert_eq!(
        (event.status_code, event.error_type.as_str(), event.usage_source),
        (504, "upstream_timeout", Some(UsageSource::Estimated))
    );
    assert!(event.cost > NanoUsd::ZERO);
    assert_eq!(scene.actual(Unit::NanoUsd), Some(event.cost.0));
}

#[test]
fn what_is_not_held_any_more_has_all_the_time_it_needs() {
    let mut streamed = Scene::new();
    streamed.post("/proxy/openai/chat/completions", QUESTION);
    streamed.admit();
    streamed.answer("200", &[("content-type", "text/event-stream")], false);
    assert!(
        !streamed
            .done
            .iter()
            .any(|effect| matches!(effect, Effect::Hold { .. }))
    );
    streamed.step(Event::HoldExpired);
    streamed.chunk("data: [DONE]\n\n", true);
    streamed.end();
    assert_eq!(streamed.event().status_code, 200);

    let mut answered = Scene::new();
    answered.post("/proxy/openai/chat/completions", QUESTION);
    answered.admit();
    answered.answer("200", &[JSON], false);
    answered.chunk(ANSWER, true);
    answered.step(Event::HoldExpired);
    answered.end();
    assert_eq!(answered.event().error_type, "");
    assert!(
        !answered
            .done
            .iter()
            .any(|effect| matches!(effect, Effect::Reply(_)))
    );
}

#[test]
fn without_holding_the_cost_is_in_trailer_and_event() {
    let mut scene = Scene::new();
    scene.config.hold_responses = false;
    let headers = [("x-api-key", KEY), JSON, ("te", "trailers")];
    scene.request("POST", "/proxy/openai/chat/completions", &headers, false);
    scene.body(QUESTION);
    scene.admit();
    let headers = [JSON, ("content-length", "150")];
    assert_eq!(scene.answer("200", &headers, false), Flow::Continue);
    assert!(scene.response_header("x-rateguard-request-id").is_some());
    assert!(scene.response_header("x-rateguard-cost-cents").is_none());
    assert_eq!(scene.chunk(&ANSWER[..40], false), Flow::Continue);
    assert_eq!(scene.chunk(&ANSWER[40..], true), Flow::Continue);
    assert!(scene.done.contains(&Effect::AddResponseTrailer(
        "x-rateguard-cost-cents",
        "0.000885".to_owned()
    )));
    scene.end();
    assert_eq!(scene.event().cost, NanoUsd(8_850));
    assert_eq!(scene.actual(Unit::NanoUsd), Some(8_850));
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
