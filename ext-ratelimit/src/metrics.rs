//! Prometheus metrics. Labels come from closed enums only, never from a workspace, key or id. Handles are resolved
//! once: on the request path a metric is one atomic addition.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

type Label = [(&'static str, &'static str); 1];
type Counters = Family<Label, Counter>;

/// Seconds; a Reserve is expected below a millisecond and must end by its caller's deadline.
const DURATION_BUCKETS: [f64; 11] = [
    0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

/// Ends of a Reserve call.
#[derive(Debug)]
pub struct ReserveCounters {
    pub admitted: Counter,
    pub rejected: Counter,
    pub degraded_admitted: Counter,
    pub degraded_rejected: Counter,
    /// Malformed, or not allowed to the token.
    pub refused: Counter,
    /// The store could not answer and memory could not either.
    pub failed: Counter,
}

/// What became of usage events.
#[derive(Debug)]
pub struct EventCounters {
    /// The bus has them.
    pub published: Counter,
    /// No bus is configured.
    pub dropped: Counter,
    /// The bus is full: the caller keeps them.
    pub full: Counter,
    /// The bus is away: the caller keeps them.
    pub unavailable: Counter,
    /// Malformed; no retry could help.
    pub invalid: Counter,
}

#[derive(Debug)]
pub struct RedisErrors {
    pub timeout: Counter,
    pub unavailable: Counter,
}

/// What became of settlements, releases and renewals.
#[derive(Debug)]
pub struct ResolutionCounters {
    pub applied: Counter,
    pub duplicate: Counter,
    pub replaced: Counter,
    pub invalid: Counter,
    pub unknown: Counter,
}

/// What became of polls of the configuration feed.
#[derive(Debug)]
pub struct PollCounters {
    pub changed: Counter,
    pub unchanged: Counter,
    /// The answer was refused and the last good one kept.
    pub refused: Counter,
    pub failed: Counter,
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub reserves: ReserveCounters,
    pub reserve_duration: Histogram,
    pub settle_duration: Histogram,
    pub report_duration: Histogram,
    pub resolutions: ResolutionCounters,
    pub events: EventCounters,
    pub redis_errors: RedisErrors,
    pub polls: PollCounters,
    pub auth_refusals: Counter,
    pub degraded: Gauge,
    pub degraded_seconds: Counter<f64, AtomicU64>,
    /// Reservations that nobody resolved.
    pub expired: Counter,
    /// Usage above 2^53 − 1, counted as that.
    pub saturated: Counter,
    /// Admitted from memory and not yet settled in Redis.
    pub pending: Gauge,
    /// Admitted from memory beyond what can be remembered: only a settlement bills them.
    pub untracked: Counter,
    pub events_stream_bytes: Gauge,
    /// Records that Kafka has not confirmed.
    pub events_in_flight: Gauge,
    /// Records that Kafka did not take in time; their batches are sent again.
    pub events_delivery_failures: Counter,
    pub events_delivery_duration: Histogram,
    pub live_workers: Gauge,
    /// Hard budgets closed because what they had spent was not known.
    pub spend_unknown: Counter,
    /// Workspaces whose spend was asked of the ledger of events.
    pub spend_restores: Counter,
    /// Unix seconds of the last answer of the configuration feed; 0 before the first.
    pub feed_contact: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("rateguard_limits");
        let reserves = counters(&mut registry, "reserves", "Reserve calls by outcome");
        let resolutions = counters(
            &mut registry,
            "resolutions",
            "Settlements, releases and renewals by outcome",
        );
        let events = counters(&mut registry, "events", "Usage events by outcome");
        let redis_errors = counters(&mut registry, "redis_errors", "Failed calls to Redis by kind");
        let polls = counters(
            &mut registry,
            "config_polls",
            "Polls of the configuration feed by outcome",
        );
        let outcome = |family: &Counters, name| family.get_or_create(&[("outcome", name)]).clone();
        Self {
            reserves: ReserveCounters {
                admitted: outcome(&reserves, "admitted"),
                rejected: outcome(&reserves, "rejected"),
                degraded_admitted: outcome(&reserves, "degraded_admitted"),
                degraded_rejected: outcome(&reserves, "degraded_rejected"),
                refused: outcome(&reserves, "refused"),
                failed: outcome(&reserves, "failed"),
            },
            resolutions: ResolutionCounters {
                applied: outcome(&resolutions, "applied"),
                duplicate: outcome(&resolutions, "duplicate"),
                replaced: outcome(&resolutions, "replaced"),
                invalid: outcome(&resolutions, "invalid"),
                unknown: outcome(&resolutions, "unknown"),
            },
            events: EventCounters {
                published: outcome(&events, "published"),
                dropped: outcome(&events, "dropped"),
                full: outcome(&events, "full"),
                unavailable: outcome(&events, "unavailable"),
                invalid: outcome(&events, "invalid"),
            },
            redis_errors: RedisErrors {
                timeout: outcome(&redis_errors, "timeout"),
                unavailable: outcome(&redis_errors, "unavailable"),
            },
            polls: PollCounters {
                changed: outcome(&polls, "changed"),
                unchanged: outcome(&polls, "unchanged"),
                refused: outcome(&polls, "refused"),
                failed: outcome(&polls, "failed"),
            },
            reserve_duration: duration(&mut registry, "reserve", "Reserve: seconds from decode to encode"),
            settle_duration: duration(&mut registry, "settle", "Settle and Release: seconds per batch"),
            report_duration: duration(&mut registry, "report", "ReportUsage: seconds per batch"),
            auth_refusals: counter(&mut registry, "auth_refusals", "Calls without a known token"),
            degraded: gauge(&mut registry, "degraded", "1 while Redis is away"),
            degraded_seconds: {
                let counter = Counter::default();
                registry.register("degraded_seconds", "Seconds without Redis", counter.clone());
                counter
            },
            expired: counter(
                &mut registry,
                "reservations_expired",
                "Reservations nobody resolved",
            ),
            saturated: counter(&mut registry, "amounts_saturated", "Usage counted as 2^53 - 1"),
            pending: gauge(
                &mut registry,
                "pending_reservations",
                "Admitted from memory, not yet settled in Redis",
            ),
            untracked: counter(
                &mut registry,
                "untracked_reservations",
                "Admitted from memory beyond what can be remembered",
            ),
            events_stream_bytes: gauge(&mut registry, "events_stream_bytes", "Bytes of all event streams"),
            events_in_flight: gauge(
                &mut registry,
                "events_in_flight",
                "Events that Kafka has not confirmed",
            ),
            events_delivery_failures: counter(
                &mut registry,
                "events_delivery_failures",
                "Events that Kafka did not take in time",
            ),
            events_delivery_duration: duration(
                &mut registry,
                "events_delivery",
                "Kafka: seconds until all events of a batch were confirmed",
            ),
            live_workers: gauge(
                &mut registry,
                "live_workers",
                "Workers that reserved in the last minute",
            ),
            spend_unknown: counter(
                &mut registry,
                "spend_unknown_reserves",
                "Reserve calls refused because what was spent was not known",
            ),
            spend_restores: counter(
                &mut registry,
                "spend_restores",
                "Workspaces whose spend was asked of the ledger of events",
            ),
            feed_contact: gauge(
                &mut registry,
                "config_last_contact_timestamp_seconds",
                "Unix time of the last answer of the configuration feed",
            ),
            registry,
        }
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counters(registry: &mut Registry, name: &str, help: &str) -> Counters {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn duration(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(DURATION_BUCKETS);
    registry.register(format!("{name}_duration_seconds"), help, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.reserves.admitted.inc();
        let text = metrics.render();
        assert!(
            text.contains("rateguard_limits_reserves_total{outcome=\"admitted\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("rateguard_limits_reserves_total{outcome=\"degraded_admitted\"} 0"),
            "{text}"
        );
        assert!(text.contains("rateguard_limits_degraded 0"), "{text}");
        assert!(
            text.contains("rateguard_limits_reserve_duration_seconds_bucket"),
            "{text}"
        );
    }
}
