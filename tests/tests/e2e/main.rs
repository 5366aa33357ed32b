//! Governed requests through real Envoy, limit service, Redis, control plane and Postgres: one Stack for all tests of
//! this program, one workspace for each.

mod admission;
mod auth_abuse;
mod budgets;
mod drop_in;
mod errors;
mod headers;
mod models;
mod request_bodies;
mod rules;
mod sdk;
mod streams;
mod time_outs;
mod upstream_faults;

use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::Stack;
use rateguard_tests::stub::Stub;
use serde_json::json;
use tokio::sync::OnceCell;

/// The one Stack. It ends with this process.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<&'static Stack> = OnceCell::const_new();
    STACK
        .get_or_init(async || {
            // As with the filter's own patience: a loaded machine must not make Redis look away.
            let builder = Stack::builder().limits_env("REDIS_TIMEOUT_MS", "5000");
            builder.start().await.expect("the Stack starts").share()
        })
        .await
}

fn stub(stack: &Stack) -> &Stub {
    stack.stub()
}

/// A workspace with the APIs `openai` and `anthropic` at the stub and a key for both, in force.
async fn scene() -> (Scene<'static>, Key) {
    let scene = bare_scene().await;
    let key = scene.key(json!({})).await.expect("a key");
    scene.in_force().await.expect("in force");
    (scene, key)
}

/// As the workspace's one request: what comes after it is refused.
async fn use_up(scene: &Scene<'_>, key: &Key) {
    scene.in_force().await.expect("in force");
    let answer = Answer::of(scene.chat(key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// As [`scene`], before the key and without waiting: the test adds to it.
async fn bare_scene() -> Scene<'static> {
    let stack = stack().await;
    let scene = Scene::new(stack).await.expect("a workspace");
    scene.openai(stub(stack).addr()).await.expect("an API");
    scene.anthropic(stub(stack).addr()).await.expect("an API");
    scene
}
