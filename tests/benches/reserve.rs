//! Reserve calls per CPU-second of the limit service and of Redis, with one and with four rules and a budget.

use anyhow::{Context as _, Result, ensure};
use rateguard_model::id::RequestId;
use rateguard_tests::cpu;
use rateguard_tests::stack::{Part, Stack};
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use rateguard_wire::v1::{self, Quota, ReserveRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

const CALLS: u64 = 30_000;
const IN_FLIGHT: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let stack = Stack::builder().workers(1).start().await?;
    let channel = Channel::from_shared(format!("http://{}", stack.addresses().limits))?
        .connect()
        .await?;
    println!("\nReserve, {CALLS} calls, {IN_FLIGHT} in flight");
    println!(
        "{:>28} {:>16} {:>16} {:>14} {:>12}",
        "", "calls/s service", "calls/s Redis", "µs service", "µs Redis"
    );
    let mut lines = Vec::new();
    for (name, quotas) in [
        ("1 rule", rules(1)),
        ("4 rules", rules(4)),
        ("4 rules and a budget", with_budget(rules(4))),
    ] {
        run(&stack, &channel, &quotas, CALLS / 4).await?;
        let (service, redis) = run(&stack, &channel, &quotas, CALLS).await?;
        let per_second = |time: Duration| CALLS as f64 / time.as_secs_f64();
        let per_call = |time: Duration| time.as_secs_f64() * 1e6 / CALLS as f64;
        println!(
            "{name:>28} {:>16.0} {:>16.0} {:>14.1} {:>12.1}",
            per_second(service),
            per_second(redis),
            per_call(service),
            per_call(redis)
        );
        lines.push((name, per_call(service) + per_call(redis)));
    }
    if let Some((_, first)) = lines.first() {
        for (name, cost) in &lines {
            println!("{name:>28} {:.2} × one rule", cost / first);
        }
    }
    Ok(())
}

/// CPU time of service and Redis for this many calls.
async fn run(stack: &Stack, channel: &Channel, quotas: &[Quota], calls: u64) -> Result<(Duration, Duration)> {
    let pid = |part| stack.pid(part).context("a part has ended");
    let before = (
        cpu::time_of(pid(Part::Limits)?)?,
        cpu::time_of(pid(Part::Redis)?)?,
    );
    let left = Arc::new(AtomicU64::new(calls));
    let token: MetadataValue<_> = format!("Bearer {}", stack.seed().data_plane_token).parse()?;
    let workspace = stack
        .seed()
        .workspace_id
        .parse::<rateguard_model::id::WorkspaceId>()?;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..IN_FLIGHT {
        let (mut client, left, token) = (
            LimitServiceClient::new(channel.clone()),
            left.clone(),
            token.clone(),
        );
        let quotas = quotas.to_vec();
        tasks.spawn(async move {
            while let Ok(n) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
                let mut request = tonic::Request::new(ReserveRequest {
                    reservation_id: reservation(n).as_bytes().to_vec(),
                    workspace_id: workspace.as_bytes().to_vec(),
                    key_id: vec![1; 16],
                    api_id: vec![2; 16],
                    ttl_ms: 60_000,
                    quotas: quotas.clone(),
                    worker_id: worker as u64,
                    members: Vec::new(),
                });
                request.metadata_mut().insert("authorization", token.clone());
                let answer = client.reserve(request).await?.into_inner();
                ensure!(
                    answer.outcome() == v1::Outcome::Admitted && !answer.degraded,
                    "{answer:?}"
                );
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let after = (
        cpu::time_of(pid(Part::Limits)?)?,
        cpu::time_of(pid(Part::Redis)?)?,
    );
    Ok((after.0.saturating_sub(before.0), after.1.saturating_sub(before.1)))
}

/// Never the same twice in a run of this program.
fn reservation(n: u64) -> RequestId {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    if let Some(tail) = random.get_mut(2..) {
        tail.copy_from_slice(&(RUN.fetch_add(1, Ordering::Relaxed) << 32 | n).to_be_bytes());
    }
    RequestId::v7(1_790_000_000_000 + n, random)
}

fn rules(count: u8) -> Vec<Quota> {
    (0..count)
        .map(|i| Quota {
            id: vec![0x10 + i; 16],
            version: 1,
            kind: v1::QuotaKind::Rule.into(),
            algorithm: v1::Algorithm::TokenBucket.into(),
            unit: v1::Unit::Requests.into(),
            limit: 1_000_000_000,
            window: None,
            refill_milli_per_s: 1_000_000,
            mode: v1::Mode::Enforce.into(),
            failure_mode: v1::FailureMode::FailOpen.into(),
            partition: "bench".into(),
            amount: 1,
        })
        .collect()
}

fn with_budget(mut quotas: Vec<Quota>) -> Vec<Quota> {
    let calendar = v1::CalendarWindow {
        unit: v1::CalendarUnit::Month.into(),
        time_zone: "UTC".into(),
    };
    quotas.push(Quota {
        id: vec![0x40; 16],
        version: 1,
        kind: v1::QuotaKind::Budget.into(),
        algorithm: v1::Algorithm::FixedWindow.into(),
        unit: v1::Unit::NanoUsd.into(),
        limit: (1 << 53) - 1,
        window: Some(v1::Window {
            kind: Some(v1::window::Kind::Calendar(calendar)),
        }),
        refill_milli_per_s: 0,
        mode: v1::Mode::Enforce.into(),
        failure_mode: v1::FailureMode::BoundedOpen.into(),
        partition: "-".into(),
        amount: 1_000,
    });
    quotas
}
