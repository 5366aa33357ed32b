//! The log: text or JSON on standard error, level by `RUST_LOG` (default `info`). No token, key or body is logged.

use crate::config::LogFormat;
use rateguard_telemetry::{Options, Output, StartError, Telemetry};
use std::sync::atomic::{AtomicI64, Ordering};

/// Installs the process-wide subscriber. A second call has no effect. Traces are exported where an endpoint is given.
pub fn start(format: LogFormat, otlp_endpoint: Option<&str>) -> Result<Telemetry, StartError> {
    let filter = std::env::var_os("RUST_LOG").and_then(|filter| filter.into_string().ok());
    rateguard_telemetry::start(Options {
        service: "rateguard-ext-ratelimit",
        version: env!("CARGO_PKG_VERSION"),
        json: format == LogFormat::Json,
        output: Output::Stderr,
        filter: filter.as_deref(),
        default_filter: "info",
        otlp_endpoint,
    })
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
