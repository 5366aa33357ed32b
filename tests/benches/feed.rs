//! A hundred thousand keys: how long they take to every worker, what they weigh there, and whether a request waits.

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use rateguard_tests::load::percentile;
use rateguard_tests::scene::{Answer, Key, Scene};
use rateguard_tests::stack::{Part, Stack, postgres};
use rateguard_wire::v1::{PollRequest, PollResponse, PollRole};
use reqwest::{Client, Method};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: usize = 100_000;
const PROBES: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const WITHIN: Duration = Duration::from_secs(120);
const SLOW: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder()
        .control_plane_env("WORKSPACE_KEYS_MAX", "200000")
        .workers(2)
        .start()
        .await?;
    let scene = Scene::new(&stack).await?;
    scene.flat(stack.stub().addr(), "0").await?;
    let key = scene.key(json!({})).await?;
    scene.in_force().await?;
    let empty = gauge(&stack, "memory_bytes").await?;

    println!("\n{KEYS} keys in one workspace, 2 workers");
    let (idle, ()) = probed(&stack, &key, async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    show("requests while nothing changes", idle);

    let (during, took) = probed(&stack, &key, async {
        let (port, workspace_id) = (stack.addresses().postgres.port(), scene.workspace_id.clone());
        // Beside the probes, which share this task.
        tokio::task::spawn_blocking(move || insert(port, &workspace_id)).await??;
        let start = Instant::now();
        until_held(&stack).await?;
        Ok(start.elapsed())
    })
    .await?;
    println!("{:>40}: {took:.0?}", "imported at once, until a worker has them");
    show("requests while they come", during);
    scene.in_force().await?;
    let held = gauge(&stack, "memory_bytes").await?;
    report_memory("after the import", empty, held);

    let mut deltas = Vec::new();
    for _ in 0..50 {
        deltas.push(delta(&stack, &scene).await?);
    }
    deltas.sort_unstable();
    println!(
        "{:>40}: p50 {:.1?}, max {:.1?}",
        "one more key, until it is accepted",
        percentile(&deltas, 0.5),
        percentile(&deltas, 1.0)
    );
    whole(&stack).await?;

    stack.kill(Part::Envoy);
    let start = Instant::now();
    stack.launch(Part::Envoy)?;
    until_held(&stack).await?;
    println!(
        "{:>40}: {:.0?}",
        "a new Envoy, until a worker has them",
        start.elapsed()
    );
    stack.ready(Part::Envoy).await?;
    report_memory("in a new Envoy", empty, gauge(&stack, "memory_bytes").await?);
    Ok(())
}

fn insert(postgres_port: u16, workspace_id: &str) -> Result<()> {
    let sql = format!(
        "WITH v AS (UPDATE feed_version SET version = version + 1 RETURNING version),
              k AS (INSERT INTO api_key (id, workspace_id, name, environment, prefix, created_at, updated_at,
                                         feed_version)
                    SELECT gen_random_uuid(), '{workspace_id}', 'k', 'live', 'rg_live_xxxx', now(), now(), version
                    FROM v, generate_series(1, {KEYS}) RETURNING id),
              s AS (INSERT INTO api_key_secret (api_key_id, sha256, created_at)
                    SELECT id, sha256(uuid_send(id)), now() FROM k)
         SELECT pg_notify('rateguard_feed', (SELECT version::text FROM v))"
    );
    postgres::query(postgres_port, &sql).map(drop)
}

/// Runs something while requests are made without a pause; gives how long each took.
async fn probed<T>(
    stack: &Stack,
    key: &Key,
    work: impl Future<Output = Result<T>>,
) -> Result<(Vec<Duration>, T)> {
    let stop = AtomicBool::new(false);
    let url = format!("{}/proxy/flat/x", stack.gateway_url());
    let probe = async || -> Result<Vec<Duration>> {
        let client = Client::builder().pool_max_idle_per_host(1).no_proxy().build()?;
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            let answer = Answer::try_of(client.get(&url).bearer_auth(&key.secret)).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
            times.push(start.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(times)
    };
    let probes = futures_util::future::try_join_all((0..PROBES).map(|_| probe()));
    let work = async {
        let outcome = work.await;
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (times, outcome) = tokio::join!(probes, work);
    Ok((times?.concat(), outcome?))
}

/// From the REST call to the first accepted request.
async fn delta(stack: &Stack, scene: &Scene<'_>) -> Result<Duration> {
    let start = Instant::now();
    let key = scene.key(json!({})).await?;
    let url = format!("{}/proxy/flat/x", stack.gateway_url());
    loop {
        let request = stack.client().request(Method::GET, &url).bearer_auth(&key.secret);
        if Answer::try_of(request).await?.status == 200 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < WITHIN, "never accepted");
    }
}

/// Everything in one answer, as the limit service would take it.
async fn whole(stack: &Stack) -> Result<()> {
    let poll = PollRequest {
        node_id: "bench".to_owned(),
        role: PollRole::Filter.into(),
        ..PollRequest::default()
    };
    let start = Instant::now();
    let url = format!("{}/v1/config:poll", stack.console_url());
    let request = stack
        .client()
        .post(url)
        .bearer_auth(&stack.seed().data_plane_token);
    let body = request
        .header("content-type", "application/x-protobuf")
        .body(poll.encode_to_vec())
        .send()
        .await?
        .error_for_status()?
        .bytes()
        .await?;
    let took = start.elapsed();
    let keys = PollResponse::decode(body.clone())
        .context("a full answer")?
        .keys
        .len();
    println!(
        "{:>40}: {} bytes for {keys} keys, {took:.0?}",
        "everything in one answer",
        body.len()
    );
    Ok(())
}

async fn until_held(stack: &Stack) -> Result<()> {
    let end = Instant::now() + WITHIN;
    loop {
        if gauge(stack, "snapshot_keys")
            .await
            .is_ok_and(|keys| keys >= KEYS as u64)
        {
            return Ok(());
        }
        ensure!(Instant::now() < end, "not held after {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn gauge(stack: &Stack, name: &str) -> Result<u64> {
    let stats = stack.envoy_stats(name).await?;
    stats
        .into_values()
        .max()
        .with_context(|| format!("no gauge {name}"))
}

fn report_memory(when: &str, empty: u64, held: u64) {
    println!(
        "{:>40}: {} kB, {:.0} bytes a key (goal ≤ 100)",
        format!("memory of a worker's VM {when}"),
        held / 1_000,
        held.saturating_sub(empty) as f64 / KEYS as f64
    );
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let slow = times.iter().filter(|time| **time > SLOW).count();
    println!(
        "{name:>40}: {} requests, p50 {:.1?}, p99 {:.1?}, max {:.1?}, {slow} over {SLOW:?}",
        times.len(),
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        percentile(&times, 1.0)
    );
}
