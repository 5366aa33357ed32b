//! Usage events per CPU-second on their way from the bus into ClickHouse: the consumer's share, the bus's and the
//! engine's, for Redis Streams and Kafka. The consumer is away while the events come, and then catches up.

use anyhow::{Context as _, Result, ensure};
use rateguard_tests::cpu;
use rateguard_tests::reported::{EVENTS_PER_REPORT, chat_completions};
use rateguard_tests::stack::{Part, Stack};
use rateguard_wire::v1::ReportUsageRequest;
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

/// Events per bus; another number for a quick look.
const EVENTS: &str = "RATEGUARD_BENCH_EVENTS";
const EVENTS_DEFAULT: u64 = 300_000;
const WORKSPACES: u64 = 20;
const CATCH_UP: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let events = std::env::var_os(EVENTS).and_then(|text| text.to_str()?.parse().ok());
    let batches = (events.unwrap_or(EVENTS_DEFAULT) / EVENTS_PER_REPORT).max(1);
    println!(
        "\nconsumer, {} events of {WORKSPACES} workspaces",
        batches * EVENTS_PER_REPORT
    );
    println!(
        "{:>16} {:>24} {:>20} {:>26} {:>10} {:>26}",
        "",
        "events/CPU-s consumer",
        "events/CPU-s bus",
        "events/CPU-s ClickHouse",
        "events/s",
        "CPU of both, Redis=1"
    );
    let mut on_redis = None;
    for bus in [Part::Redis, Part::Kafka] {
        let builder = Stack::builder()
            .durable()
            .clickhouse()
            // Nobody takes anything away at first.
            .limits_env("EVENTS_BYTES_MAX", &(4_u64 << 30).to_string());
        let builder = if bus == Part::Kafka {
            builder.kafka()
        } else {
            builder
        };
        measure(&builder.start().await?, bus, batches, &mut on_redis).await?;
    }
    Ok(())
}

/// `on_redis`: seconds of consumer and bus with Redis Streams, which are measured first.
async fn measure(stack: &Stack, bus: Part, batches: u64, on_redis: &mut Option<f64>) -> Result<()> {
    ensure!(
        stack.has(Part::ClickHouse) && stack.has(bus),
        "only servers of our own can be measured"
    );
    stack.kill(Part::ControlPlane);
    report(stack, batches).await?;
    let before = (used(stack, bus)?, used(stack, Part::ClickHouse)?);
    let started = Instant::now();
    stack.launch(Part::ControlPlane)?;
    let total = batches * EVENTS_PER_REPORT;
    // What the killed consumer had is its own for some seconds: the rate counts from the first rows on.
    let mut first: Option<(u64, Instant)> = None;
    let rate = loop {
        ensure!(started.elapsed() < CATCH_UP, "not within {CATCH_UP:?}");
        let rows = stored(stack).await;
        if rows > 0 {
            let (had, at) = first.get_or_insert((rows, Instant::now()));
            if rows >= total {
                break (total - *had) as f64 / at.elapsed().as_secs_f64();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let per_second = |time: Duration| total as f64 / time.as_secs_f64().max(0.01);
    // Since it was started: nothing of it is anything else's.
    let consumer = used(stack, Part::ControlPlane)?;
    let carrier = used(stack, bus)?.saturating_sub(before.0);
    let cpu = (consumer + carrier).as_secs_f64();
    println!(
        "{:>16} {:>24.0} {:>20.0} {:>26.0} {:>10.0} {:>26.2}",
        bus.name(),
        per_second(consumer),
        per_second(carrier),
        per_second(used(stack, Part::ClickHouse)?.saturating_sub(before.1)),
        rate,
        cpu / *on_redis.get_or_insert(cpu)
    );
    Ok(())
}

fn used(stack: &Stack, part: Part) -> Result<Duration> {
    cpu::time_of(stack.pid(part).with_context(|| format!("{part} has ended"))?)
}

/// Rows of the benchmark; none while ClickHouse does not say.
async fn stored(stack: &Stack) -> u64 {
    let sql = "SELECT count() FROM api_events WHERE model = 'bench'";
    let url = stack.engines().clickhouse_url.clone().unwrap_or_default();
    let Some((server, database)) = url.rsplit_once('/') else {
        return 0;
    };
    let request = stack.client().post(server).query(&[("database", database)]);
    let Ok(answer) = request.body(sql).send().await else {
        return 0;
    };
    let text = answer.text().await.unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

async fn report(stack: &Stack, batches: u64) -> Result<()> {
    let endpoint = Channel::from_shared(format!("http://{}", stack.addresses().limits))?;
    let mut client = LimitServiceClient::new(endpoint.connect().await?);
    let token: MetadataValue<_> = format!("Bearer {}", stack.seed().data_plane_token).parse()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the consumer corrects times that the real clock calls old"
    )]
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    for n in 0..batches {
        let mut request = tonic::Request::new(ReportUsageRequest {
            node_id: "bench".into(),
            events: chat_completions(n, u64::try_from(now_ms)?, "bench", WORKSPACES),
            ..ReportUsageRequest::default()
        });
        request.metadata_mut().insert("authorization", token.clone());
        let accepted = client.report_usage(request).await?.into_inner().accepted;
        ensure!(u64::from(accepted) == EVENTS_PER_REPORT, "{accepted} accepted");
    }
    Ok(())
}
