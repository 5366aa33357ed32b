//! What is refused before the ledger is asked: keys, snapshots, upgrades, sizes.

use crate::support::*;
use rateguard_filter::event::Event;
use rateguard_model::resource::KeyState;

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
