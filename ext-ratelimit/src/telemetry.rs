//! The log: text or JSON on standard error, level by `RUST_LOG` (default `info`). No token, key or body is logged.

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicI64, Ordering};
use tracing_subscriber::EnvFilter;

/// Installs the process-wide subscriber. A second call has no effect.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // An error means that a test or an embedding program has installed one already.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Lets one of many equal warnings through per interval, so that an outage cannot flood the log.
#[derive(Debug)]
pub struct Throttle {
    interval_ms: i64,
    next_ms: AtomicI64,
}

impl Throttle {
    pub const fn new(interval_ms: i64) -> Self {
        Self {
            interval_ms,
            next_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether the caller may log now.
    pub fn pass(&self, now_ms: i64) -> bool {
        let next = self.next_ms.load(Ordering::Relaxed);
        now_ms >= next
            && self
                .next_ms
                .compare_exchange(
                    next,
                    now_ms.saturating_add(self.interval_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_interval_passes() {
        let throttle = Throttle::new(10_000);
        assert!(throttle.pass(5));
        assert!(!throttle.pass(10_004));
        assert!(throttle.pass(10_005));
    }
}
