//! `rateguard-control-plane doctor` on a whole installation, well and broken.

use rateguard_tests::stack::{Part, Stack, UNKNOWN_KEY, artifacts, postgres};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// The exit code and, by name, outcome and finding of each check.
fn examine(stack: &Stack, changed: &[(&str, &str)]) -> (Option<i32>, BTreeMap<String, (String, String)>) {
    let addresses = stack.addresses();
    let mut command = Command::new(artifacts::programs().unwrap().control_plane);
    command
        .args(["doctor", "--json"])
        .env_clear()
        .env("DATABASE_URL", postgres::url(addresses.postgres.port()))
        .env("REDIS_URL", format!("redis://{}/", addresses.redis))
        .env("LIMITS_URL", format!("http://{}", addresses.limits))
        .env("LIMITS_TOKEN", &stack.seed().data_plane_token)
        .env("ENVOY_ADMIN_URL", format!("http://{}", addresses.admin))
        .env("GATEWAY_PUBLIC_URL", stack.gateway_url())
        .env("DOCTOR_API_KEY", &stack.seed().api_key)
        .envs(changed.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said} {output:?}"));
    for secret in [&stack.seed().api_key, &stack.seed().data_plane_token] {
        assert!(!said.contains(secret.as_str()), "a secret is told: {said}");
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| {
            let outcome = text(&check["outcome"]);
            assert!(
                outcome != "failed" || check["fix"].is_string(),
                "a failure without its fix: {check}"
            );
            (text(&check["name"]), (outcome, text(&check["found"])))
        })
        .collect();
    (output.status.code(), found)
}

/// The names of what failed, sorted, capitals first.
fn failed(stack: &Stack, changed: &[(&str, &str)]) -> Vec<String> {
    let (code, found) = examine(stack, changed);
    assert_eq!(code, Some(1), "{found:#?}");
    found
        .into_iter()
        .filter(|(_, (outcome, _))| outcome == "failed")
        .map(|(name, _)| name)
        .collect()
}

#[tokio::test]
async fn the_doctor_finds_a_governed_gateway_well_and_tells_each_part_that_is_not() {
    let stack = Stack::start().await.expect("the Stack starts");
    let (code, found) = examine(&stack, &[]);
    assert_eq!(code, Some(0), "{found:#?}");
    for name in [
        "database",
        "database migrations",
        "Redis",
        "Redis eviction",
        "limit service",
        "limit service token",
        "Envoy",
        "filter in the chain",
        "filter version",
        "gateway refuses a bad key",
        "gateway takes a good key",
    ] {
        let outcome = found.get(name).map(|(outcome, _)| outcome.as_str());
        assert_eq!(outcome, Some("ok"), "{name}: {found:#?}");
    }
    assert_eq!(found["filter version"].1, env!("CARGO_PKG_VERSION"));

    let token = format!("rgdp_{}", "0".repeat(43));
    assert_eq!(
        failed(&stack, &[("LIMITS_TOKEN", &token)]),
        ["limit service token"]
    );
    assert_eq!(
        failed(&stack, &[("DOCTOR_API_KEY", UNKNOWN_KEY)]),
        ["gateway takes a good key"]
    );
    // The upstream itself: it answers, and nobody asks for a key.
    let upstream = format!("http://{}", stack.stub().addr());
    let ungoverned = failed(&stack, &[("GATEWAY_PUBLIC_URL", &upstream)]);
    assert!(
        ungoverned.contains(&"gateway refuses a bad key".to_owned()),
        "{ungoverned:?}"
    );

    // Each part that dies adds its line; the others stay well.
    stack.kill(Part::Redis);
    assert_eq!(failed(&stack, &[]), ["Redis"]);
    stack.kill(Part::Envoy);
    assert_eq!(
        failed(&stack, &[]),
        ["Envoy", "Redis", "gateway refuses a bad key"]
    );
    stack.kill(Part::Limits);
    assert_eq!(
        failed(&stack, &[]),
        ["Envoy", "Redis", "gateway refuses a bad key", "limit service"]
    );
    stack.kill(Part::Postgres);
    assert!(failed(&stack, &[]).contains(&"database".to_owned()));
}
