//! The dashboard's queries over many events, through the control plane's own routes, and what an event takes on disk.
//!
//! Rows are made inside ClickHouse, in blocks of a few hours each, so that they pass every view as consumed ones do.
//! `RATEGUARD_BENCH_EVENTS`: how many; then it takes as long as it takes. Unset: as many as fit ten minutes, half of the
//! free disk and 15 GB, a hundred million at most.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::load::percentile;
use rateguard_tests::scene::Scene;
use rateguard_tests::stack::Stack;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

const EVENTS_MAX: u64 = 100_000_000;
const GENERATE_MAX: Duration = Duration::from_secs(600);
const DISK_BYTES_MAX: u64 = 15_000_000_000;
/// How long merges may take to come to rest afterwards.
const MERGE_MAX: Duration = Duration::from_secs(180);
/// Rows of one INSERT.
const BLOCK: u64 = 500_000;
/// Blocks between two lines of progress.
const PROGRESS: u64 = 10;
/// Days that the rows are spread over; the raw table keeps 30.
const DAYS: u64 = 28;
const ROUNDS: usize = 5;

/// All that a row goes to.
const TABLES: [&str; 12] = [
    "api_events",
    "usage_minute",
    "usage_hour",
    "usage_day",
    "latency_minute",
    "latency_model_hour",
    "latency_model_day",
    "latency_api_hour",
    "latency_key_hour",
    "latency_key_day",
    "tags_hour",
    "spend_ledger",
];

/// The busiest API and key, and ones that are seldom used.
const QUESTIONS: [&str; 28] = [
    "summary",
    "summary?compare=previous",
    "summary?keyId=00000003-0000-7000-8000-000000000000",
    "summary?keyId=00000003-0000-7000-8000-000000000000&compare=previous",
    "requests",
    "requests?compare=previous",
    "requests?model=model-0",
    "requests?keyId=00000003-0000-7000-8000-000000000000",
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
    "latency?compare=previous",
    "latency?model=model-0",
    "latency?keyId=00000003-0000-7000-8000-000000000000",
    "latency?keyId=00000003-0000-7000-8000-000000000000&model=model-0",
    "events?limit=50",
    "events?limit=50&status=5xx",
    "events?limit=50&minLatencyMs=20000",
    "events?limit=50&keyId=00000003-0000-7000-8000-000000000000",
    "events?limit=50&keyId=00000003-0000-7000-8000-0000000000c6",
    "events?limit=50&endpoint=/v1/nothing",
];

/// Rows out of `numbers`: `{first}` and `{total}` place them in time, more by day than by night. Four workspaces; half
/// of the rows are of the one that is asked for. 200 keys, some much busier than others; each uses two of ten APIs (one
/// of them now and then), and there two endpoints and two models out of twenty. Log-normal latencies and tokens.
const ROWS: &str = "INSERT INTO api_events (workspace_id, timestamp, received_at, event_id, node_id, api_id, api_key_id, \
    key_owner_id, endpoint, method, model, status_code, error_type, latency_ms, upstream_latency_ms, ttft_ms, \
    request_bytes, response_bytes, cost_nanos, fresh_input, cache_read, output_text, reasoning, usage_source, \
    price_version, rate_limited, budget_exceeded, stream, tags) \
WITH {keys} AS keys, {apis} AS apis, {owners} AS owners, {workspaces} AS workspaces \
SELECT \
    if(k % 2 = 0, toUUID('{workspace}'), workspaces[1 + k % 3]), \
    fromUnixTimestamp64Milli(at, 'UTC'), fromUnixTimestamp64Milli(at + 150, 'UTC'), generateUUIDv7(), \
    concat('envoy-', toString(rand(1) % 8)), apis[1 + api], keys[1 + k], owners[1 + k % 25], \
    concat('/v1/', ['chat/completions', 'responses', 'embeddings', 'messages', 'files/{id}'][1 + api % 5], \
        if(is_second, '/more', ''), if(api < 5, '', '/old')), \
    if(is_second AND api % 5 = 4, 'GET', 'POST'), concat('model-', toString((k * 3 + (rand(2) % 4 = 0)) % 20)), \
    status, multiIf(status = 429, 'rate_limited', status >= 500, 'upstream_error', status >= 400, 'validation_error', ''), \
    latency, toUInt32(latency * 0.97), if(is_stream, toUInt32(latency * 0.2), 0), \
    toUInt64(input * 4 + 300), toUInt64(output * 5 + 500), is_good * (input * 1500 + output * 6000), \
    is_good * input, is_good * intDiv(input, 3), is_good * output, if(k % 4 = 0, is_good * intDiv(output, 2), 0), \
    if(is_good, 'reported', 'none'), '2026-11', status = 429, status = 402, is_stream, \
    map('team', concat('team-', toString(k % 30)), 'feature', concat('f-', toString(rand(3) % 4))) \
FROM ( \
    SELECT \
        toInt64({start_ms} + 86400000 * (day + share - 0.12 * sin(2 * pi() * share))) AS at, \
        toUInt32(200 * pow(randCanonical(4), 3)) AS k, (k * 7 + (rand(5) % 8 = 0)) % 10 AS api, \
        rand(6) % 5 = 0 AS is_second, \
        multiIf(randCanonical(7) < 0.94, 200, rand(8) % 2 = 0, 429, rand(9) % 4 = 0, 500, 400) AS status, \
        status < 400 AS is_good, toUInt32(exp(randNormal(6.8, 0.9))) AS latency, rand(10) % 5 < 2 AS is_stream, \
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
    println!("merges after {:.0} s", merged(&engine).await?.as_secs_f64());
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
    let total = match asked {
        Some(total) => total,
        None => fits(engine, workspace).await?,
    };
    println!("{total} events over {DAYS} days");
    let begun = Instant::now();
    let (blocks, mut made) = (total.div_ceil(BLOCK), 0);
    let step = coprime_step(blocks);
    for n in 0..blocks {
        // The newest first, and then all over the range: where they stop early, holes are spread evenly.
        let block = blocks - 1 - n * step % blocks;
        let count = BLOCK.min(total - block * BLOCK);
        engine.run(&rows(workspace, block * BLOCK, count, total)).await?;
        made += count;
        if (n + 1) % PROGRESS == 0 {
            println!("{made} after {:.0} s", begun.elapsed().as_secs_f64());
        }
        if asked.is_none() && begun.elapsed() > GENERATE_MAX {
            break;
        }
    }
    Ok((made, begun.elapsed()))
}

/// About 0.618 of `n`, with no factor in common, so that its multiples modulo `n` are all numbers below `n`.
fn coprime_step(n: u64) -> u64 {
    fn greatest_common_divisor(a: u64, b: u64) -> u64 {
        if b == 0 {
            a
        } else {
            greatest_common_divisor(b, a % b)
        }
    }
    let about = (n as f64 * 0.618) as u64;
    (about.max(1)..=n)
        .find(|step| greatest_common_divisor(*step, n) == 1)
        .unwrap_or(1)
}

/// How many events fit the time and the disk, by what some of them took, which are forgotten again.
async fn fits(engine: &Engine, workspace: &str) -> Result<u64> {
    let (trial, begun) = (BLOCK * 2, Instant::now());
    for first in [0, BLOCK] {
        engine.run(&rows(workspace, first, BLOCK, EVENTS_MAX)).await?;
    }
    let in_time = GENERATE_MAX.as_secs_f64() / begun.elapsed().as_secs_f64() * trial as f64;
    let used = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()";
    let used = u128::from(engine.number(used).await?.max(1));
    let free = engine.number("SELECT min(free_space) FROM system.disks").await?;
    let on_disk = u128::from(DISK_BYTES_MAX.min(free / 2)) * u128::from(trial) / used;
    for table in TABLES {
        engine.run(&format!("TRUNCATE TABLE {table}")).await?;
    }
    let fits = (in_time as u64).min(u64::try_from(on_disk)?).min(EVENTS_MAX);
    Ok(fits.max(BLOCK))
}

/// Waits until merges are done, as they are in a table that grows at the pace of requests.
async fn merged(engine: &Engine) -> Result<Duration> {
    let begun = Instant::now();
    let running = "SELECT count() FROM system.merges WHERE database = currentDatabase()";
    // Between two merges there may be none for a moment.
    let mut idle = 0;
    while idle < 10 && begun.elapsed() < MERGE_MAX {
        idle = if engine.number(running).await? == 0 {
            idle + 1
        } else {
            0
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(begun.elapsed())
}

fn rows(workspace: &str, first: u64, count: u64, total: u64) -> String {
    let ids = |kind: u64, count: u64| {
        let ids = (0..count).map(|n| format!("toUUID('{kind:08x}-0000-7000-8000-{n:012x}')"));
        format!("[{}]", ids.collect::<Vec<_>>().join(","))
    };
    ROWS.replace("{workspace}", workspace)
        .replace("{workspaces}", &ids(1, 3))
        .replace("{apis}", &ids(2, 10))
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
    println!(
        "\n{:>62} {:>10} {:>10} {:>10}",
        "milliseconds, slowest of 5 in brackets", "1 d", "7 d", "28 d"
    );
    let mut slowest = (Duration::ZERO, String::new());
    for question in QUESTIONS {
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
