//! The dashboard's queries over many events, through the control plane's own routes, and what an event takes on disk.
//!
//! Rows are made inside ClickHouse, block after block as time goes, so that they pass every view as consumed ones do.
//! `RATEGUARD_BENCH_EVENTS`: how many; then it takes as long as it takes. Unset: as many as fit seven minutes and half
//! of the free disk, a hundred million at most.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::load::percentile;
use rateguard_tests::scene::Scene;
use rateguard_tests::stack::Stack;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

const EVENTS_MAX: u64 = 100_000_000;
const GENERATE_MAX: Duration = Duration::from_secs(420);
/// Rows of one INSERT.
const BLOCK: u64 = 500_000;
/// Days that the rows are spread over; the raw table keeps 30.
const DAYS: u64 = 28;
const ROUNDS: usize = 5;

/// One row out of `numbers`: `{first}` and `{total}` place it in time, more of it by day than by night. Zipf-like over
/// 12 APIs, 200 keys, 20 models, 25 endpoints; log-normal latencies and tokens; half of all rows are of the workspace
/// that is asked for, the rest of nine others.
const ROWS: &str = "INSERT INTO api_events (workspace_id, timestamp, received_at, event_id, node_id, api_id, api_key_id, \
    key_owner_id, endpoint, method, model, status_code, error_type, latency_ms, upstream_latency_ms, ttft_ms, \
    request_bytes, response_bytes, cost_nanos, fresh_input, cache_read, output_text, reasoning, usage_source, \
    price_version, rate_limited, budget_exceeded, stream, tags) \
SELECT \
    if(randCanonical(1) < 0.5, toUUID('{workspace}'), {workspaces}[1 + rand(2) % 9]), \
    fromUnixTimestamp64Milli(at, 'UTC'), fromUnixTimestamp64Milli(at + 150, 'UTC'), generateUUIDv7(), \
    concat('envoy-', toString(rand(3) % 8)), \
    {apis}[1 + toUInt32(12 * pow(randCanonical(4), 2))], {keys}[1 + (key AS k)], {owners}[1 + k % 25], \
    concat('/v1/', ['chat/completions', 'responses', 'embeddings', 'messages', 'files/{id}'][1 + endpoint % 5], \
        if(endpoint < 5, '', concat('/', toString(intDiv(endpoint, 5))))), \
    if(rand(5) % 10 = 0, 'GET', 'POST'), concat('model-', toString(toUInt32(20 * pow(randCanonical(6), 2)))), \
    status, multiIf(status = 429, 'rate_limited', status >= 500, 'upstream_error', status >= 400, 'validation_error', ''), \
    latency, toUInt32(latency * 0.97), if(is_stream, toUInt32(latency * 0.2), 0), \
    toUInt64(exp(randNormal(7.5, 1))), toUInt64(exp(randNormal(8, 1))), \
    if(status >= 400, 0, input * 1500 + output * 6000), if(status >= 400, 0, input), if(status >= 400, 0, intDiv(input, 3)), \
    if(status >= 400, 0, output), if(k % 4 = 0, intDiv(output, 2), 0), if(status >= 400, 'none', 'reported'), '2026-11', \
    status = 429, status = 402, is_stream, \
    map('team', concat('team-', toString(k % 30)), 'feature', concat('f-', toString(rand(7) % 12))) \
FROM ( \
    SELECT \
        toInt64({start_ms} + 86400000 * (day + share - 0.12 * sin(2 * pi() * share))) AS at, \
        toUInt32(200 * pow(randCanonical(8), 3)) AS key, toUInt32(25 * pow(randCanonical(9), 2)) AS endpoint, \
        multiIf(randCanonical(10) < 0.94, 200, rand(11) % 2 = 0, 429, rand(12) % 4 = 0, 500, 400) AS status, \
        toUInt32(exp(randNormal(6.8, 0.9))) AS latency, rand(13) % 5 < 2 AS is_stream, \
        toInt64(exp(randNormal(6.5, 1.2))) AS input, toInt64(exp(randNormal(5.5, 1))) AS output \
    FROM (SELECT {days} * number / {total} AS place, floor(place) AS day, place - day AS share \
        FROM numbers({first}, {count})) \
)";

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder().clickhouse().start().await?;
    let scene = Scene::new(&stack).await?;
    let engine = Engine::of(&stack)?;
    let (events, took) = generate(&engine, &scene.workspace_id).await?;
    println!(
        "\n{events} events in {:.0} s: {:.0} a second through every view",
        took.as_secs_f64(),
        events as f64 / took.as_secs_f64()
    );
    disk(&engine, events).await?;
    ask(&scene).await
}

/// ClickHouse, past the control plane.
struct Engine {
    client: reqwest::Client,
    server: String,
    database: String,
}

impl Engine {
    fn of(stack: &Stack) -> Result<Self> {
        let url = stack.engines().clickhouse_url.clone().context("ClickHouse")?;
        let (server, database) = url.rsplit_once('/').context("a database")?;
        Ok(Self {
            client: reqwest::Client::builder().no_proxy().build()?,
            server: server.to_owned(),
            database: database.to_owned(),
        })
    }

    async fn run(&self, sql: &str) -> Result<String> {
        let request = self
            .client
            .post(&self.server)
            .query(&[("database", &self.database)]);
        let answer = request.body(sql.to_owned()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{sql}: {text}");
        Ok(text)
    }

    async fn number(&self, sql: &str) -> Result<u64> {
        let text = self.run(sql).await?;
        text.trim().parse().with_context(|| format!("{sql}: {text}"))
    }
}

/// Makes the rows; how many, and how long it took.
async fn generate(engine: &Engine, workspace: &str) -> Result<(u64, Duration)> {
    let asked = std::env::var_os("RATEGUARD_BENCH_EVENTS").and_then(|n| n.into_string().ok());
    let asked: Option<u64> = asked.map(|n| n.replace('_', "").parse()).transpose()?;
    // The first block says how many will be made.
    let mut total = asked.unwrap_or(EVENTS_MAX);
    let begun = Instant::now();
    let mut made = 0;
    if asked.is_none() {
        let trial = BLOCK;
        engine.run(&rows(workspace, 0, trial, total)).await?;
        let fits = (GENERATE_MAX.as_secs_f64() / begun.elapsed().as_secs_f64() * trial as f64) as u64;
        total = total.min(fits).min(disk_fits(engine, trial).await?).max(trial);
        engine.run("TRUNCATE TABLE api_events").await?;
        for table in ["usage", "latency"] {
            for length in ["minute", "hour", "day"] {
                engine.run(&format!("TRUNCATE TABLE {table}_{length}")).await?;
            }
        }
        engine.run("TRUNCATE TABLE tags_hour").await?;
        engine.run("TRUNCATE TABLE spend_ledger").await?;
        println!("{total} events fit");
    }
    let begun = Instant::now();
    while made < total {
        let count = BLOCK.min(total - made);
        // The newest first: where they stop early, the oldest are missing.
        engine
            .run(&rows(workspace, total - made - count, count, total))
            .await?;
        made += count;
        if made % (BLOCK * 20) == 0 {
            println!("{made} after {:.0} s", begun.elapsed().as_secs_f64());
        }
        // Blocks get slower as merges set in.
        if asked.is_none() && begun.elapsed() > GENERATE_MAX {
            break;
        }
    }
    Ok((made, begun.elapsed()))
}

/// How many events fit half of the free disk, by what the first ones take.
async fn disk_fits(engine: &Engine, events: u64) -> Result<u64> {
    let used = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()";
    let used = engine.number(used).await?.max(1);
    let free = engine.number("SELECT min(free_space) FROM system.disks").await?;
    Ok(u64::try_from(u128::from(free) / 2 * u128::from(events) / u128::from(used)).unwrap_or(u64::MAX))
}

fn rows(workspace: &str, first: u64, count: u64, total: u64) -> String {
    let ids = |kind: u64, count: u64| {
        let ids = (0..count).map(|n| format!("toUUID('{kind:08x}-0000-7000-8000-{n:012x}')"));
        format!("[{}]", ids.collect::<Vec<_>>().join(","))
    };
    ROWS.replace("{workspace}", workspace)
        .replace("{workspaces}", &ids(1, 9))
        .replace("{apis}", &ids(2, 12))
        .replace("{keys}", &ids(3, 200))
        .replace("{owners}", &ids(4, 25))
        .replace("{first}", &first.to_string())
        .replace("{count}", &count.to_string())
        .replace("{total}", &total.to_string())
        .replace("{days}", &DAYS.to_string())
        .replace(
            "{start_ms}",
            &format!("(toUnixTimestamp(now()) - {DAYS} * 86400) * 1000"),
        )
}

async fn disk(engine: &Engine, events: u64) -> Result<()> {
    let sql = "SELECT table, sum(bytes_on_disk), sum(rows), count() FROM system.parts \
        WHERE active AND database = currentDatabase() GROUP BY table ORDER BY sum(bytes_on_disk) DESC";
    println!(
        "\n{:>20} {:>14} {:>12} {:>6} {:>16}",
        "table", "bytes", "rows", "parts", "bytes an event"
    );
    let mut all = 0.0;
    for line in engine.run(sql).await?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [table, bytes, rows, parts] = fields.as_slice() else {
            continue;
        };
        let an_event = bytes.parse::<f64>()? / events as f64;
        all += an_event;
        println!("{table:>20} {bytes:>14} {rows:>12} {parts:>6} {an_event:>16.2}");
    }
    println!("{:>20} {all:>52.2}", "together");
    Ok(())
}

/// Asks everything that the dashboard asks, over ranges of a day, a week and four weeks.
async fn ask(scene: &Scene<'_>) -> Result<()> {
    let questions = [
        "summary",
        "summary?compare=previous",
        "requests",
        "requests?compare=previous",
        "requests?model=model-0",
        "top-endpoints",
        "costs?by=api",
        "costs?by=key",
        "costs?by=model",
        "costs?by=member",
        "costs?by=endpoint",
        "costs?by=tag",
        "costs?by=tag&tag=team",
        "costs?by=key&compare=previous",
        "latency",
        "latency?model=model-0",
        "events?limit=50",
        "events?limit=50&status=5xx",
        "events?limit=50&minLatencyMs=20000",
    ];
    println!(
        "\n{:>42} {:>10} {:>10} {:>10}",
        "milliseconds, slowest of 5 in brackets", "1 d", "7 d", "28 d"
    );
    let mut slowest = (Duration::ZERO, String::new());
    for question in questions {
        let mut cells = Vec::new();
        for days in [1, 7, 28] {
            let times = times_of(scene, question, days).await?;
            let last = times.last().copied().unwrap_or_default();
            if last > slowest.0 {
                slowest = (last, format!("{question}, {days} d"));
            }
            let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
            cells.push(format!(" {:>6.0} ({:.0})", ms(percentile(&times, 0.5)), ms(last)));
        }
        println!("{question:>42}{}", cells.concat());
    }
    println!(
        "\nslowest: {} in {:.0} ms",
        slowest.1,
        slowest.0.as_secs_f64() * 1_000.0
    );
    Ok(())
}

/// How long each round took, the slowest last.
async fn times_of(scene: &Scene<'_>, question: &str, days: i64) -> Result<Vec<Duration>> {
    let end = chrono_now();
    let start = end - chrono::Duration::days(days);
    let show = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let joint = if question.contains('?') { '&' } else { '?' };
    let path = format!(
        "/analytics/{question}{joint}start={}&end={}",
        show(start),
        show(end)
    );
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        scene.rest(Method::GET, &path, &Value::Null).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rows are of the days before the real now"
)]
fn chrono_now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
