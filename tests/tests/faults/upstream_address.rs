//! Names that move inside after they were checked (DNS rebinding): Envoy compares the address that it connects to.

use crate::eventually;
use rateguard_tests::dns::NameServer;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::artifacts::repository;
use rateguard_tests::stack::{Stack, postgres};
use rateguard_tests::stub::Stub;
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// Stands for a public address: the operator allows it.
const OUTSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Stands for whatever is inside.
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The gateway's bootstrap with a name server of ours.
fn bootstrap(folder: &Path, names: &NameServer) -> PathBuf {
    let text = std::fs::read_to_string(repository().join("envoy/gateway.yaml")).expect("the bootstrap");
    let resolver = json!({
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [{ "socket_address": {
                "protocol": "UDP", "address": names.addr().ip().to_string(), "port_value": names.addr().port(),
            } }],
            "dns_resolver_options": { "no_default_search_domain": true },
        },
    });
    let path = folder.join("gateway.yaml");
    std::fs::write(&path, format!("{text}\ntyped_dns_resolver_config: {resolver}\n")).expect("a template");
    path
}

/// Gives an API another base URL as if it had been checked when its name still was outside.
fn rebase(stack: &Stack, api: &str, base_url: &str) {
    let sql = format!(
        "WITH v AS (UPDATE feed_version SET version = version + 1 RETURNING version),
              a AS (UPDATE api SET base_url = '{base_url}', feed_version = (SELECT version FROM v)
                    WHERE id = '{api}' RETURNING id)
         SELECT pg_notify('rateguard_feed', (SELECT version::text FROM v)) FROM a"
    );
    postgres::query(stack.addresses().postgres.port(), &sql).expect("another base URL");
}

async fn becomes(scene: &Scene<'_>, key: &Key, status: u16) {
    eventually(&format!("answered {status}"), SOON, async || {
        Answer::of(scene.chat(key)).await.status == status
    })
    .await;
}

#[tokio::test]
async fn ca_06_a_name_that_moves_inside_is_blocked_when_envoy_connects() {
    let names = NameServer::start(&[OUTSIDE]).await.expect("a name server");
    let folder = tempfile::tempdir().expect("a folder");
    let stack = Stack::builder()
        .envoy_config(&bootstrap(folder.path(), &names))
        .control_plane_env("UPSTREAM_ALLOW", &format!("http://{OUTSIDE}/32:*"))
        .start()
        .await
        .expect("the Stack starts");
    let port = stack.stub().addr().port();
    let inside = Stub::start((INSIDE, port).into())
        .await
        .expect("something inside");
    let scene = Scene::new(&stack).await.expect("a workspace");
    let api = scene.openai(stack.stub().addr()).await.expect("an API");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");

    rebase(&stack, &api, &format!("http://moves.example:{port}"));
    let host = format!("moves.example:{port}");
    eventually("reached by its name", SOON, async || {
        let answer = Answer::of(scene.chat(&key).header("x-test-id", "by-name")).await;
        let seen = stack.stub().log().of_test("by-name").pop();
        answer.status == 200 && seen.is_some_and(|request| request.header("host") == Some(host.as_str()))
    })
    .await;

    names.say(&[INSIDE]);
    becomes(&scene, &key, 502).await;
    for _ in 0..20 {
        let answer = Answer::of(scene.chat(&key)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "upstream_error"),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("127.0.0.2"), "{}", answer.text);
    }

    // One of several addresses: the others serve, and it is never reached.
    names.say(&[INSIDE, OUTSIDE]);
    becomes(&scene, &key, 200).await;
    for _ in 0..40 {
        assert!(matches!(Answer::of(scene.chat(&key)).await.status, 200 | 502));
    }
    names.say(&[OUTSIDE]);
    eventually("served as before", SOON, async || {
        for _ in 0..10 {
            if Answer::of(scene.chat(&key)).await.status != 200 {
                return false;
            }
        }
        true
    })
    .await;
    assert!(inside.log().is_empty(), "a request went inside");
}
