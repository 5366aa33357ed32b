//! Faults of whole parts: each test has a Stack of its own, because it breaks it.

mod configuration;
mod doctor;
mod events;
mod feed_answers;
mod filter_reload;
mod joint;
mod leases;
mod limit_service;
mod lost_spend;
mod redis;
mod replicas;
mod reservations;
mod traces;
mod upstream_address;
mod upstream_tls;

use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::{Stack, artifacts};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a busy machine may add to what a test waits for. It has to be far below what the fault would cost
/// if nothing were done about it; how quick things are is measured by the benches.
const BUSY: Duration = Duration::from_secs(8);

/// A workspace with an `openai` API, a rule for 1 000 requests and a key, in force.
async fn governed(stack: &Stack) -> (Scene<'_>, Key) {
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.openai(stack.stub().addr()).await.expect("an API");
    scene.requests_per_workspace(1_000).await.expect("a rule");
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    assert_eq!(Answer::of(scene.chat(&key)).await.status, 200);
    (scene, key)
}

/// The gateway's configuration with a line of it replaced, in a file of its own.
fn gateway_with(folder: &tempfile::TempDir, line: &str, replacement: &str) -> PathBuf {
    let template = artifacts::repository().join("envoy/gateway.yaml");
    let text = std::fs::read_to_string(template).expect("the gateway's configuration");
    assert_eq!(text.matches(line).count(), 1, "{line}");
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, text.replace(line, replacement)).expect("written");
    path
}

/// Waits until `done` answers true, or fails after `deadline` with what was waited for.
async fn eventually(what: &str, deadline: Duration, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !done().await {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
