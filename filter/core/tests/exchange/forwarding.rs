//! What goes upstream: headers, credentials, hosts, exemptions.

use crate::support::*;
use rateguard_filter::effect::Flow;
use rateguard_filter::event::Event;
use rateguard_model::resource::UpstreamAuth;

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
