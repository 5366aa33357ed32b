//! How long a change takes until every Envoy worker enforces it: revoked keys, edited rules, new APIs.
//!
//! Measured from before the REST call is sent. A kept-alive connection belongs to one worker for its life: eight of
//! them probe without a pause, and the last one to see the change gives the figure.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::load::percentile;
use rateguard_tests::scene::{Key, Scene};
use rateguard_tests::stack::Stack;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const REVOCATIONS: usize = 200;
const CHANGES: usize = 100;
const CONNECTIONS: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder().workers(2).start().await?;
    let scene = Scene::new(&stack).await?;
    scene.flat(stack.stub().addr(), "0").await?;
    let rule = scene.requests_per_workspace(1_000_000_000).await?;
    let key = scene.key(json!({})).await?;
    scene.in_force().await?;
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| Client::builder().pool_max_idle_per_host(1).no_proxy().build())
        .collect::<Result<_, _>>()?;

    println!(
        "\nfrom REST call to enforcement at every worker ({REVOCATIONS} revocations, {CHANGES} other changes each, 2 workers)"
    );
    let mut revoked = Vec::new();
    for _ in 0..REVOCATIONS {
        let victim = scene.key(json!({})).await?;
        let url = format!("{}/proxy/flat/x", stack.gateway_url());
        until_all(&clients, &url, &victim, |a| a.status == 200).await?;
        let path = format!("/keys/{}/revoke", victim.id);
        revoked.push(
            change(
                &scene,
                Method::POST,
                &path,
                json!({}),
                &clients,
                &url,
                &victim,
                |a| a.status == 401,
            )
            .await?,
        );
    }
    show("key revoked", 50, revoked);

    let mut edited = Vec::new();
    for n in 0..CHANGES {
        let size = 1_000_000 + n as u64;
        let url = format!("{}/proxy/flat/x", stack.gateway_url());
        let wished = size.to_string();
        let path = format!("/rules/{rule}");
        let body = json!({"bucketSize": size});
        edited.push(
            change(&scene, Method::PATCH, &path, body, &clients, &url, &key, |a| {
                a.limit == wished
            })
            .await?,
        );
    }
    show("rule edited", 250, edited);

    let mut added = Vec::new();
    for n in 0..CHANGES {
        let url = format!("{}/proxy/new-{n}/x", stack.gateway_url());
        let body = json!({
            "name": "new", "slug": format!("new-{n}"), "baseUrl": stack.stub().url(), "authType": "NONE",
            "costModel": {"type": "PER_REQUEST", "costCentsPerRequest": "0"},
        });
        added.push(
            change(&scene, Method::POST, "/apis", body, &clients, &url, &key, |a| {
                a.status == 200
            })
            .await?,
        );
    }
    show("API added (cluster included)", 250, added);
    Ok(())
}

/// What a probe saw.
struct Probe {
    status: u16,
    limit: String,
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call in a benchmark, named at each of its three callers"
)]
async fn change(
    scene: &Scene<'_>,
    method: Method,
    path: &str,
    body: Value,
    clients: &[Client],
    url: &str,
    key: &Key,
    seen: impl Fn(&Probe) -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    let write = scene.rest(method, path, &body);
    let (written, enforced) = tokio::join!(write, until_all(clients, url, key, seen));
    written?;
    Ok(enforced?.duration_since(start))
}

/// When the last connection saw it.
async fn until_all(
    clients: &[Client],
    url: &str,
    key: &Key,
    seen: impl Fn(&Probe) -> bool,
) -> Result<Instant> {
    let probes = clients.iter().map(|client| until(client, url, key, &seen));
    let times = futures_util::future::try_join_all(probes).await?;
    times.into_iter().max().context("no connection")
}

async fn until(client: &Client, url: &str, key: &Key, seen: &impl Fn(&Probe) -> bool) -> Result<Instant> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get(url).bearer_auth(&key.secret).send().await?;
        let limit = answer
            .headers()
            .get("x-ratelimit-limit")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let probe = Probe {
            status: answer.status().as_u16(),
            limit,
        };
        answer.bytes().await?;
        if seen(&probe) {
            return Ok(Instant::now());
        }
        ensure!(
            Instant::now() < end,
            "not in force after 20 s: {} {}",
            probe.status,
            probe.limit
        );
    }
}

fn show(name: &str, goal_ms: u32, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{name:>30}: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {:.1?} (goal p99 ≤ {goal_ms} ms)",
        percentile(&times, 0.5),
        percentile(&times, 0.9),
        percentile(&times, 0.99),
        percentile(&times, 1.0)
    );
}
