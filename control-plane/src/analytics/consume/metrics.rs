//! What `/metrics` shows of the consumer, names beginning with `rateguard_control_plane_analytics_`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    pub partition: String,
}

/// Counters and gauges; clones share them.
#[derive(Debug, Default)]
pub struct Metrics {
    pub rows: Counter,
    pub inserts: Counter,
    pub insert_failures: Counter,
    pub duplicates: Counter,
    pub dead_letters: Counter,
    pub lag: Family<LaneLabels, Gauge>,
    pub lag_seconds: Family<LaneLabels, Gauge>,
    pub last_insert_age: Gauge,
    pub reconciled: Counter,
    pub drift_nanos: Gauge,
    last_insert_ms: AtomicI64,
    is_failing: AtomicBool,
}

impl Metrics {
    /// Registers everything under `analytics`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("analytics");
        let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("rows", "Rows inserted", &self.rows);
        counter("inserts", "Inserts that succeeded", &self.inserts);
        counter(
            "insert_failures",
            "Inserts that failed and are tried again",
            &self.insert_failures,
        );
        counter(
            "duplicates",
            "Events that had been stored before",
            &self.duplicates,
        );
        counter(
            "dead_letters",
            "Messages and events that can never be stored",
            &self.dead_letters,
        );
        counter(
            "budgets_raised",
            "Budgets whose spend in Redis was behind the ledger and was raised",
            &self.reconciled,
        );
        let mut family = |name, help, family: &Family<LaneLabels, Gauge>| {
            registry.register(name, help, family.clone());
        };
        family("lag", "Messages that wait, by partition", &self.lag);
        family(
            "lag_seconds",
            "Age of the oldest message that waits, by partition",
            &self.lag_seconds,
        );
        let mut gauge = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge(
            "last_insert_age_seconds",
            "Time since the last insert; 0 before the first",
            &self.last_insert_age,
        );
        gauge(
            "drift_nanos",
            "Sum of the absolute differences between Redis and the ledger at the last comparison",
            &self.drift_nanos,
        );
    }

    pub(super) fn inserted(&self, rows: usize, now_ms: i64) {
        self.rows.inc_by(rows as u64);
        self.inserts.inc();
        self.last_insert_ms.store(now_ms, Ordering::Relaxed);
        self.is_failing.store(false, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.insert_failures.inc();
        self.is_failing.store(true, Ordering::Relaxed);
    }

    /// Whether the last insert failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Brings up to date what changes by itself; before the text is made.
    pub fn refresh(&self, now_ms: i64) {
        let last = self.last_insert_ms.load(Ordering::Relaxed);
        let age_ms = if last == 0 { 0 } else { now_ms.saturating_sub(last) };
        self.last_insert_age.set(age_ms.max(0) / 1_000);
    }
}
