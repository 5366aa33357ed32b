//! TI-06: what a workspace feels of another one that sends a hundred times what it may. Both have a budget and a rule of
//! their own; one Envoy, one limit service, one Redis.
//!
//! The rounds alternate: the quiet workspace alone, then beside the noisy one, which is refused at the rate at which it
//! would otherwise be served. The figure is the ratio of the quiet one's latencies.

use anyhow::{Result, ensure};
use rateguard_tests::load::{Shot, percentile};
use rateguard_tests::scene::Scene;
use rateguard_tests::stack::Stack;
use serde_json::json;
use std::time::Duration;

const ROUNDS: usize = 5;
/// Of the quiet workspace, per round.
const REQUESTS: u64 = 1_000;
const QUIET_PER_S: u32 = 200;
const NOISY_LIMIT_PER_S: u32 = 10;
const NOISY_PER_S: u32 = 100 * NOISY_LIMIT_PER_S;
const CONNECTIONS: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder()
        .workers(2)
        .reserve_timeout_ms(150)
        .start()
        .await?;
    let quiet = workspace(&stack, 1_000_000).await?;
    let noisy = workspace(&stack, NOISY_LIMIT_PER_S).await?;
    let gateway = stack.addresses().gateway;
    let measured = || quiet.fire_at(gateway, CONNECTIONS, REQUESTS, QUIET_PER_S);
    let flood = u64::from(NOISY_PER_S) * REQUESTS / u64::from(QUIET_PER_S);
    measured().await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut refused, mut sent) = (0, 0);
    for _ in 0..ROUNDS {
        alone.extend(measured().await?.latencies);
        let (measured, noise) = tokio::join!(
            measured(),
            noisy.fire_at(gateway, CONNECTIONS, flood, NOISY_PER_S)
        );
        let (measured, noise) = (measured?, noise?);
        ensure!(
            measured.count(200) == REQUESTS,
            "the quiet one was refused: {:?}",
            measured.statuses
        );
        beside.extend(measured.latencies);
        refused += noise.count(429);
        sent += noise.total();
    }
    alone.sort_unstable();
    beside.sort_unstable();
    println!(
        "\na workspace at {QUIET_PER_S}/s beside one at {NOISY_PER_S}/s that may {NOISY_LIMIT_PER_S}/s ({refused} of {sent} refused)"
    );
    for share in [0.5, 0.9, 0.99] {
        let [alone, beside] =
            [&alone, &beside].map(|all| percentile::<Duration>(all, share).as_secs_f64() * 1e3);
        println!(
            "  p{:<4} alone {alone:6.2} ms   beside {beside:6.2} ms   ratio {:.2}",
            share * 100.0,
            beside / alone
        );
    }
    Ok(())
}

/// A workspace of its own that may so many requests a second.
async fn workspace(stack: &Stack, per_second: u32) -> Result<Shot> {
    let scene = Scene::new(stack).await?;
    scene.flat(stack.stub().addr(), "0.01").await?;
    scene
        .rule(
            json!({"algorithm": "TOKEN_BUCKET", "bucketSize": per_second, "refillRate": per_second,
                     "scopes": [{"type": "PER_WORKSPACE"}]}),
        )
        .await?;
    scene.hard_budget(json!(100_000_000)).await?;
    let key = scene.key(json!({})).await?;
    scene.in_force().await?;
    let authorization = format!("Bearer {}", key.secret);
    Ok(Shot::post(
        "/proxy/flat/x",
        &[("authorization", &authorization)],
        "",
    ))
}
