//! Waiting for a condition, with a deadline.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::process::Process;

/// How soon a condition is looked at again; less often the longer it takes, since looking costs what others wait for.
const INTERVAL_MIN: Duration = Duration::from_millis(15);
const INTERVAL_MAX: Duration = Duration::from_millis(150);

/// The pause after having waited so long.
pub(super) fn interval(waited: Duration) -> Duration {
    (waited / 8).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// Waits until `probe` succeeds and returns its value.
///
/// # Errors
/// It does not within `limit`: its last refusal, with `what` was waited for.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        // A probe that hangs is a refusal too: the condition is looked at again.
        let refusal = match tokio::time::timeout(Duration::from_secs(5), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer within 5 s"),
        };
        let waited = started.elapsed();
        if waited >= limit {
            return Err(refusal).with_context(|| format!("waited {} s for {what}", limit.as_secs_f32()));
        }
        tokio::time::sleep(interval(waited)).await;
    }
}

/// Waits until `probe` succeeds, as long as `exited` says that the program runs.
///
/// # Errors
/// The program ends, or the deadline passes.
pub async fn while_running(
    name: &str,
    limit: Duration,
    mut exited: impl FnMut() -> Option<ExitStatus>,
    mut probe: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    until(&format!("{name} to be ready"), limit, async || match exited() {
        Some(status) => Ok(Err(anyhow!("{name} ended ({status}) before it was ready"))),
        None => probe().await.map(Ok),
    })
    .await?
}

/// Waits until `probe` succeeds, as long as `process` runs.
///
/// # Errors
/// The process ends, or the deadline passes: the end of its log is in the error.
pub async fn ready(
    process: &mut Process,
    limit: Duration,
    probe: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let name = process.name().to_owned();
    let outcome = while_running(&name, limit, || process.exited(), probe).await;
    outcome.with_context(|| format!("end of the log of {name}:\n{}", process.log_tail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_refusal_is_told() {
        let mut count = 0;
        let outcome: Result<()> = until("the end", Duration::from_millis(60), async || {
            count += 1;
            Err(anyhow!("refused {count}"))
        })
        .await;
        let text = format!("{:#}", outcome.unwrap_err());
        assert!(
            count > 1 && text.contains("the end") && text.contains(&format!("refused {count}")),
            "{text}"
        );
    }
}
