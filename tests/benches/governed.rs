//! CPU of everything (Envoy, limit service, Redis) per governed request over bare Envoy, in one run and in both forms:
//! with a call for each request, and with leases, where the hot key's worker reserves blocks ahead.
//!
//! One worker; key, four rules, a budget, JSON usage, headers, settlement and event in force. The rounds alternate, so
//! that what else the machine does falls on all sides. CPU time is the servers' own, from the kernel; the load
//! generator and the stub upstream do not count.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::cpu;
use rateguard_tests::load::{Outcome, Shot};
use rateguard_tests::scene::{Scene, chat_body};
use rateguard_tests::stack::{Part, Stack, artifacts, envoy, ports};
use rateguard_tests::stub::Stub;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const ROUNDS: usize = 5;
const REQUESTS: u64 = 10_000;
const CONNECTIONS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let stub = Stub::start_without_log(ports::loopback(0)).await?;
    let mut forms = Vec::new();
    for (name, leases) in [("a call each", false), ("leases", true)] {
        forms.push(Form::start(name, leases, stub.addr()).await?);
    }
    let Some(first) = forms.first() else { return Ok(()) };
    let bare = Bare::start(&first.stack, stub.addr()).await?;
    let body = chat_body(false).to_string();
    // The key stays away from the upstream: the stub refuses ours.
    let direct = Shot::post(
        "/v1/chat/completions",
        &[("content-type", "application/json")],
        &body,
    );

    // Warm-up: connections, Redis scripts, V8's tiers.
    all_ok(&direct.fire(bare.gateway, CONNECTIONS, REQUESTS / 2).await?)?;
    for form in &mut forms {
        all_ok(&form.fire(REQUESTS / 2).await?)?;
        form.commands = redis_commands(&form.stack).await?;
        form.drawn = form.draws().await?;
    }
    for _ in 0..ROUNDS {
        let before = bare.cpu()?;
        let plain = direct.fire(bare.gateway, CONNECTIONS, REQUESTS).await?;
        let baseline = bare.cpu()?.saturating_sub(before);
        all_ok(&plain)?;
        for form in &mut forms {
            let before = Cpu::of(&form.stack)?;
            let outcome = form.fire(REQUESTS).await?;
            let cost = Cpu::of(&form.stack)?.since(&before);
            all_ok(&outcome)?;
            form.rounds.push(Round {
                baseline,
                cost,
                plain: plain.percentile(0.5),
                governed: outcome.percentile(0.5),
            });
        }
    }
    for form in &mut forms {
        let count = ROUNDS as f64 * REQUESTS as f64;
        let commands = redis_commands(&form.stack).await? - form.commands;
        let drawn = form.draws().await? - form.drawn;
        report(form, commands as f64 / count, drawn as f64 / count);
    }
    Ok(())
}

/// A stack in which each request asks, or in which hot keys lease.
struct Form {
    name: &'static str,
    stack: Stack,
    shot: Shot,
    rounds: Vec<Round>,
    /// Redis commands and draws before the first round.
    commands: u64,
    drawn: u64,
}

impl Form {
    async fn start(name: &'static str, leases: bool, upstream: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("gateway.yaml");
        let template = std::fs::read_to_string(artifacts::repository().join("envoy/gateway.yaml"))?;
        let line = r#""mode": "gateway","#;
        ensure!(template.contains(line), "the gateway's configuration has no mode");
        let changed = template.replace(line, &format!(r#"{line} "leases": {leases},"#));
        std::fs::write(&config, changed)?;
        let stack = Stack::builder()
            .workers(1)
            .reserve_timeout_ms(150)
            .upstream(upstream)
            .envoy_config(&config)
            .start()
            .await?;
        let shot = set_up(&stack, upstream).await?;
        Ok(Self {
            name,
            stack,
            shot,
            rounds: Vec::new(),
            commands: 0,
            drawn: 0,
        })
    }

    async fn fire(&self, requests: u64) -> Result<Outcome> {
        let gateway = self.stack.addresses().gateway;
        self.shot.fire(gateway, CONNECTIONS, requests).await
    }

    async fn draws(&self) -> Result<u64> {
        let stats = self.stack.envoy_stats("rateguard_lease_draws_total").await?;
        Ok(stats.values().sum())
    }
}

/// Four rules, a budget and a key; answers a governed request.
async fn set_up(stack: &Stack, upstream: SocketAddr) -> Result<Shot> {
    let scene = Scene::new(stack).await?;
    scene.openai(upstream).await?;
    for scope in ["PER_KEY", "PER_WORKSPACE", "GLOBAL", "PER_IP"] {
        let rule = json!({
            "name": scope, "algorithm": "TOKEN_BUCKET", "bucketSize": 1_000_000, "refillRate": 100_000, "scopes": [{"type": scope}],
        });
        scene.rule(rule).await?;
    }
    scene.hard_budget(json!(100_000_000)).await?;
    let key = scene.key(json!({})).await?;
    scene.in_force().await?;
    let authorization = format!("Bearer {}", key.secret);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = chat_body(false).to_string();
    Ok(Shot::post("/proxy/openai/v1/chat/completions", &headers, &body))
}

struct Round {
    baseline: Duration,
    cost: Cpu,
    plain: Duration,
    governed: Duration,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.cost.total().as_secs_f64() / self.baseline.as_secs_f64()
    }
}

struct Cpu {
    envoy: Duration,
    limits: Duration,
    redis: Duration,
}

impl Cpu {
    fn of(stack: &Stack) -> Result<Self> {
        let time = |part| cpu::time_of(stack.pid(part).context("a part has ended")?);
        Ok(Self {
            envoy: time(Part::Envoy)?,
            limits: time(Part::Limits)?,
            redis: time(Part::Redis)?,
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            envoy: self.envoy.saturating_sub(earlier.envoy),
            limits: self.limits.saturating_sub(earlier.limits),
            redis: self.redis.saturating_sub(earlier.redis),
        }
    }

    fn total(&self) -> Duration {
        self.envoy + self.limits + self.redis
    }
}

/// Envoy with the same listener and nothing in it.
struct Bare {
    gateway: SocketAddr,
    process: rateguard_tests::stack::process::Process,
}

impl Bare {
    async fn start(stack: &Stack, upstream: SocketAddr) -> Result<Self> {
        let (gateway, admin) = (ports::loopback(ports::free()?), ports::loopback(ports::free()?));
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bare_envoy.yaml");
        let config = stack.folder().root().join("bare.yaml");
        let values = envoy::Placeholders::from([
            ("ADMIN_PORT", admin.port().to_string()),
            ("GATEWAY_PORT", gateway.port().to_string()),
            ("UPSTREAM_PORT", upstream.port().to_string()),
        ]);
        envoy::render_file(&template, &config, &values)?;
        let process = envoy::start(&config, &stack.folder().log("bare"), 1)?;
        let started = tokio::time::Instant::now();
        while tokio::net::TcpStream::connect(gateway).await.is_err() {
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "the bare Envoy does not listen"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { gateway, process })
    }

    fn cpu(&self) -> Result<Duration> {
        cpu::time_of(self.process.pid().context("the bare Envoy has ended")?)
    }
}

fn all_ok(outcome: &Outcome) -> Result<()> {
    ensure!(
        outcome.count(200) == outcome.total(),
        "not every answer was 200: {:?}",
        outcome.statuses
    );
    Ok(())
}

/// Commands that clients sent to Redis; what a script does inside is not counted.
async fn redis_commands(stack: &Stack) -> Result<u64> {
    let info = stack.redis_command(&["INFO", "commandstats"]).await?;
    let text: String = redis::from_redis_value(info).context("INFO is text")?;
    let calls = |name: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(&format!("cmdstat_{name}:calls=")))
            .and_then(|l| l.split(',').next()?.parse::<u64>().ok())
            .unwrap_or_default()
    };
    Ok(calls("evalsha") + calls("eval"))
}

fn report(form: &mut Form, commands: f64, drawn: f64) {
    let rounds = &mut form.rounds;
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / REQUESTS as f64;
    println!(
        "\ngoverned request, {}: CPU per request ({ROUNDS} rounds of {REQUESTS}, {CONNECTIONS} connections, sorted by ratio)",
        form.name
    );
    println!(
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>7} {:>12} {:>12}",
        "bare µs", "envoy µs", "limits µs", "redis µs", "total µs", "ratio", "bare p50", "governed p50"
    );
    for round in rounds.iter() {
        println!(
            "{:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>7.2} {:>12.2?} {:>12.2?}",
            per_request(round.baseline),
            per_request(round.cost.envoy),
            per_request(round.cost.limits),
            per_request(round.cost.redis),
            per_request(round.cost.total()),
            round.ratio(),
            round.plain,
            round.governed,
        );
    }
    let median = rounds.get(rounds.len() / 2).map(Round::ratio).unwrap_or_default();
    println!(
        "{}: median ratio over bare Envoy {median:.2} (goal ≤ 3.2); Redis commands per request, settlement included: {commands:.3}; admitted from leases: {:.1} %",
        form.name,
        drawn * 100.0
    );
}
