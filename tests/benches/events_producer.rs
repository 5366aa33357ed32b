//! Usage events per CPU-second on their way into the bus: the limit service's share and the bus's own, for Redis
//! Streams and Kafka, in batches of one workspace and of twenty.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::cpu;
use rateguard_tests::reported::{EVENTS_PER_REPORT, chat_completions};
use rateguard_tests::stack::ports::{self, loopback};
use rateguard_tests::stack::process::Process;
use rateguard_tests::stack::services::Limits;
use rateguard_tests::stack::{artifacts, kafka, redis, wait};
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use rateguard_wire::v1::{ReportUsageRequest, RequestEvent};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

const BATCHES: u64 = 10_000;
const IN_FLIGHT: usize = 16;
const TOKEN: &str = "rgdp_SERVICEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const START: Duration = Duration::from_secs(60);

/// A limit service, its bus and a client.
struct Bus {
    limits: Process,
    store: Process,
    channel: Channel,
}

/// What a run took.
struct Cost {
    service: Duration,
    store: Duration,
    elapsed: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("\nReportUsage, {BATCHES} batches of {EVENTS_PER_REPORT} events, {IN_FLIGHT} in flight");
    println!(
        "{:>30} {:>22} {:>20} {:>10} {:>20}",
        "", "events/CPU-s service", "events/CPU-s bus", "events/s", "CPU, Redis Streams=1"
    );
    let mut on_redis = BTreeMap::new();
    let folder = tempfile::tempdir()?;
    for name in ["Redis Streams", "Kafka"] {
        let home = folder.path().join(name);
        std::fs::create_dir_all(&home)?;
        let mut bus = match name {
            "Kafka" => Bus::on_kafka(&home).await?,
            _ => Bus::on_redis(&home).await?,
        };
        bus.run(1, BATCHES / 4).await?;
        for workspaces in [1, 20] {
            let cost = bus.run(workspaces, BATCHES).await?;
            let per_second = |time: Duration| (BATCHES * EVENTS_PER_REPORT) as f64 / time.as_secs_f64();
            let cpu = (cost.service + cost.store).as_secs_f64();
            println!(
                "{:>30} {:>22.0} {:>20.0} {:>10.0} {:>20.2}",
                format!("{name}, {workspaces} per batch"),
                per_second(cost.service),
                per_second(cost.store),
                per_second(cost.elapsed),
                cpu / *on_redis.entry(workspaces).or_insert(cpu)
            );
        }
        bus.limits.kill();
        bus.store.kill();
    }
    Ok(())
}

impl Bus {
    async fn on_redis(home: &Path) -> Result<Self> {
        let port = ports::free()?;
        let store = redis::start(&home.join("data"), &home.join("redis.log"), port, true).await?;
        let variables = [
            ("EVENTS_REDIS_URL", format!("redis://{}/", loopback(port))),
            // Nobody takes anything away here.
            ("EVENTS_BYTES_MAX", (4_u64 << 30).to_string()),
        ];
        Self::on(store, &variables, home).await
    }

    async fn on_kafka(home: &Path) -> Result<Self> {
        let (port, controller) = (ports::free()?, ports::free()?);
        let store = kafka::start(&home.join("data"), &home.join("kafka.log"), port, controller).await?;
        let variables = [("KAFKA_BROKERS", loopback(port).to_string())];
        Self::on(store, &variables, home).await
    }

    async fn on(store: Process, variables: &[(&str, String)], home: &Path) -> Result<Self> {
        let grpc = loopback(ports::free()?);
        let service = Limits {
            grpc,
            http: loopback(ports::free()?),
            redis: None,
            control_plane: loopback(ports::free()?),
            token: TOKEN.to_owned(),
            extra: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
        };
        let program = artifacts::programs()?.limits;
        let mut limits = service.serve("limits", &program, &home.join("limits.log"))?;
        let endpoint = Channel::from_shared(format!("http://{grpc}"))?;
        wait::ready(&mut limits, START, async || {
            endpoint.connect().await?;
            Ok(())
        })
        .await?;
        let bus = Self {
            limits,
            store,
            channel: endpoint.connect().await?,
        };
        bus.await_topic().await?;
        Ok(bus)
    }

    /// A topic is made in the background when the service has started.
    async fn await_topic(&self) -> Result<()> {
        let mut client = LimitServiceClient::new(self.channel.clone());
        let deadline = Instant::now() + START;
        loop {
            match client.report_usage(request(batch(0, 1))?).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => {}
                Err(status) => return Err(status.into()),
            }
        }
    }

    async fn run(&self, workspaces: u64, batches: u64) -> Result<Cost> {
        let before = (cpu_of(&self.limits)?, cpu_of(&self.store)?);
        let started = Instant::now();
        let left = Arc::new(AtomicU64::new(batches));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (mut client, left) = (LimitServiceClient::new(self.channel.clone()), left.clone());
            tasks.spawn(async move {
                while let Ok(n) =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                {
                    let answer = client.report_usage(request(batch(n, workspaces))?).await?;
                    let accepted = u64::from(answer.into_inner().accepted);
                    ensure!(accepted == EVENTS_PER_REPORT, "{accepted} accepted");
                }
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(Cost {
            elapsed: started.elapsed(),
            service: cpu_of(&self.limits)?.saturating_sub(before.0),
            store: cpu_of(&self.store)?.saturating_sub(before.1),
        })
    }
}

fn cpu_of(process: &Process) -> Result<Duration> {
    cpu::time_of(process.pid().context("a part has ended")?)
}

fn request(events: Vec<RequestEvent>) -> Result<tonic::Request<ReportUsageRequest>> {
    let mut request = tonic::Request::new(ReportUsageRequest {
        node_id: "bench".into(),
        events,
        ..ReportUsageRequest::default()
    });
    let token: MetadataValue<_> = format!("Bearer {TOKEN}").parse()?;
    request.metadata_mut().insert("authorization", token);
    Ok(request)
}

fn batch(n: u64, workspaces: u64) -> Vec<RequestEvent> {
    chat_completions(n, 1_790_000_000_000 + n, "gpt-4o-mini", workspaces)
}
