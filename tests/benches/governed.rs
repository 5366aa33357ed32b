//! CPU of everything (Envoy, limit service, Redis) per governed request over bare Envoy, in one run and in three forms:
//! synchronous (every request waits for an answer to a call that was made after it came; those that wait at the same time
//! share one), with leases, where the hot key's worker reserves blocks ahead, and with a call for each request.
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
/// Requests under way at a time. Those that wait together share calls, so it matters.
const CONNECTIONS: [usize; 2] = [16, 64];

#[tokio::main]
async fn main() -> Result<()> {
    let stub = Stub::start_without_log(ports::loopback(0)).await?;
    let mut forms = Vec::new();
    for (name, settings) in [
        ("synchronous", r#""leases": false,"#),
        ("leases", ""),
        ("a call each", r#""leases": false, "jointReservations": false,"#),
    ] {
        forms.push(Form::start(name, settings, stub.addr()).await?);
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
    all_ok(&direct.fire(bare.gateway, CONNECTIONS[0], REQUESTS / 2).await?)?;
    for form in &mut forms {
        all_ok(&form.fire(CONNECTIONS[0], REQUESTS / 2).await?)?;
    }
    for connections in CONNECTIONS {
        for form in &mut forms {
            form.rounds.clear();
            form.commands = redis_commands(&form.stack).await?;
            form.admitted = form.admissions().await?;
        }
        for _ in 0..ROUNDS {
            let before = bare.cpu()?;
            let plain = direct.fire(bare.gateway, connections, REQUESTS).await?;
            let baseline = bare.cpu()?.saturating_sub(before);
            all_ok(&plain)?;
            for form in &mut forms {
                form.round(connections, baseline, &plain).await?;
            }
        }
        for form in &mut forms {
            let count = ROUNDS as f64 * REQUESTS as f64;
            let commands = redis_commands(&form.stack).await? - form.commands;
            let admitted = form.admissions().await?.since(&form.admitted);
            report(form, connections, commands as f64 / count, &admitted);
        }
    }
    Ok(())
}

/// A stack in which requests are reserved one way.
struct Form {
    name: &'static str,
    stack: Stack,
    shot: Shot,
    rounds: Vec<Round>,
    /// Redis commands and admissions before the first round.
    commands: u64,
    admitted: Admissions,
}

impl Form {
    /// `settings`: of the plugin configuration.
    async fn start(name: &'static str, settings: &str, upstream: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("gateway.yaml");
        let template = std::fs::read_to_string(artifacts::repository().join("envoy/gateway.yaml"))?;
        let line = r#""mode": "gateway","#;
        ensure!(template.contains(line), "the gateway's configuration has no mode");
        let changed = template.replace(line, &format!("{line} {settings}"));
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
            admitted: Admissions::default(),
        })
    }

    async fn fire(&self, connections: usize, requests: u64) -> Result<Outcome> {
        let gateway = self.stack.addresses().gateway;
        self.shot.fire(gateway, connections, requests).await
    }

    async fn round(&mut self, connections: usize, baseline: Duration, plain: &Outcome) -> Result<()> {
        let before = Cpu::of(&self.stack)?;
        let outcome = self.fire(connections, REQUESTS).await?;
        let cost = Cpu::of(&self.stack)?.since(&before);
        all_ok(&outcome)?;
        self.rounds.push(Round {
            baseline,
            cost,
            plain: plain.percentile(0.5),
            governed: outcome.percentile(0.5),
        });
        Ok(())
    }

    async fn admissions(&self) -> Result<Admissions> {
        let stats = self
            .stack
            .envoy_stats("rateguard_(requests_admitted|lease_draws|joint_)")
            .await?;
        let sum = |name: &str| {
            stats
                .iter()
                .filter(|(key, _)| key.contains(name))
                .map(|(_, n)| n)
                .sum()
        };
        Ok(Admissions {
            all: sum("requests_admitted"),
            by_leases: sum("lease_draws_total"),
            jointly: sum("joint_admissions"),
            joint: sum("joint_reservations_granted"),
        })
    }
}

/// Requests admitted, and how.
#[derive(Default)]
struct Admissions {
    all: u64,
    by_leases: u64,
    jointly: u64,
    /// Joint reservations that did so.
    joint: u64,
}

impl Admissions {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            all: self.all - earlier.all,
            by_leases: self.by_leases - earlier.by_leases,
            jointly: self.jointly - earlier.jointly,
            joint: self.joint - earlier.joint,
        }
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

fn report(form: &mut Form, connections: usize, commands: f64, admitted: &Admissions) {
    let rounds = &mut form.rounds;
    rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / REQUESTS as f64;
    println!(
        "\ngoverned request, {}: CPU per request ({ROUNDS} rounds of {REQUESTS}, {connections} connections, sorted by ratio)",
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
    let of_all = |count: u64| count as f64 * 100.0 / admitted.all.max(1) as f64;
    let alone = admitted.all.saturating_sub(admitted.by_leases + admitted.jointly);
    println!(
        "{}, {connections} connections: median ratio over bare Envoy {median:.2} (goal ≤ 3.2); Redis commands per request, settlement included: {commands:.3}; admitted by leases {:.1} %, jointly {:.1} % ({:.1} requests a reservation), alone {:.1} %",
        form.name,
        of_all(admitted.by_leases),
        of_all(admitted.jointly),
        admitted.jointly as f64 / admitted.joint.max(1) as f64,
        of_all(alone),
    );
}
