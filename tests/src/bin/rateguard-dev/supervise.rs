//! The process that stays: holds the Stack until it is told to end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rateguard_tests::stack::{Part, Stack, is_port_conflict, kafka, ports, wait};
use tokio::signal::unix::{SignalKind, signal};

use crate::{record, report};

/// Where a browser and a `curl` look first (SPEC 3.5).
const CONSOLE_PORT: u16 = 3000;
const GATEWAY_PORT: u16 = 3001;
/// Kept from one run to the next where free: the demo's APIs point at it.
const STUB_PORT: u16 = 3009;
const START_ATTEMPTS: u32 = 3;
/// It takes some two seconds; a ledger of events that is away is no reason to keep anybody from the rest.
const SPEND_WITHIN: Duration = Duration::from_secs(20);

/// Starts everything and stays until SIGTERM or SIGINT.
///
/// # Errors
/// A part does not come up, or a file of `home` cannot be written.
pub(crate) async fn run(home: &Path) -> Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Handled, so that closing the terminal does not end the stack.
    let _hang_up = signal(SignalKind::hangup())?;
    let supervisor = record::Entry::of(record::SUPERVISOR, std::process::id(), None)?;
    record::write(home, std::slice::from_ref(&supervisor))?;
    let outcome = tokio::select! {
        stack = start(home) => serve(home, supervisor, stack, &mut end, &mut interrupt).await,
        _ = end.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    report::remove(home);
    record::remove(home);
    outcome
}

/// Tries other ports when somebody else was quicker to take those that had been free.
async fn start(home: &Path) -> Result<Stack> {
    let mut attempt = 1;
    loop {
        match start_once(home).await {
            Err(error) if is_port_conflict(&error) && attempt < START_ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

async fn start_once(home: &Path) -> Result<Stack> {
    // Claimed until every part has its port: two `up` at the same instant find the same ports free.
    let claimed_console = ports::claim_from(CONSOLE_PORT, &[GATEWAY_PORT, STUB_PORT])?;
    let console = claimed_console.port();
    let claimed_gateway = ports::claim_from(GATEWAY_PORT, &[console, STUB_PORT])?;
    let gateway = claimed_gateway.port();
    let claimed_stub = ports::claim_from(STUB_PORT, &[console, gateway])?;
    let stub = claimed_stub.port();
    for (what, wanted, got) in [
        ("console", CONSOLE_PORT, console),
        ("gateway", GATEWAY_PORT, gateway),
    ] {
        if wanted != got {
            println!("port {wanted} is taken: the {what} is on {got}");
        }
    }
    let mut choices = Stack::builder().clickhouse();
    if kafka::given_brokers().is_some() {
        choices = choices.kafka();
    }
    choices
        .home(&home.join("stack"))
        .durable()
        .reserve_timeout_ms(150)
        .console_port(console)
        .gateway_port(gateway)
        .lasting_stub_port(stub)
        .announce(|step| println!("{step}"))
        .start()
        .await
}

async fn serve(
    home: &Path,
    supervisor: record::Entry,
    stack: Result<Stack>,
    end: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) -> Result<()> {
    let stack = stack?;
    let addresses = *stack.addresses();
    let mut entries = vec![supervisor];
    for part in Part::ALL.into_iter().filter(|part| stack.has(*part)) {
        let address = match part {
            Part::Postgres => addresses.postgres,
            Part::Redis => addresses.redis,
            Part::ClickHouse => addresses.clickhouse,
            Part::Kafka => addresses.kafka,
            Part::ControlPlane => addresses.control_plane,
            Part::Limits => addresses.limits_http,
            Part::Envoy => addresses.gateway,
        };
        let pid = stack.pid(part).with_context(|| format!("{part} has ended"))?;
        entries.push(record::Entry::of(part.name(), pid, Some(address))?);
    }
    record::write(home, &entries)?;
    let announce = async {
        if let Err(error) = spend_is_known(&stack).await {
            println!("requests may be refused for a while: {error:#}");
        }
        report::write(home, &stack)?;
        std::future::pending().await
    };
    tokio::select! {
        outcome = announce => outcome,
        _ = end.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Waits until the limit service knows what hard budgets have spent: those of a Redis that was started anew are closed
/// until the ledger of events has told.
async fn spend_is_known(stack: &Stack) -> Result<()> {
    let url = format!("http://{}/ready", stack.addresses().limits_http);
    wait::until("what was spent to be known", SPEND_WITHIN, async || {
        let ready: serde_json::Value = stack.client().get(&url).send().await?.json().await?;
        let spend = &ready["services"]["spend"];
        ensure!(spend != "asked_for", "the ledger of events has not answered yet");
        Ok(())
    })
    .await
}
