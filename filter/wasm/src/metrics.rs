//! Envoy metrics. Requests count in memory; the tick hands the sums over, so that no request pays for a host call.

use crate::host;
use rateguard_filter::effect::Metric;
use rateguard_model::error_code::ErrorCode;
use std::cell::Cell;

/// Counters, in the order of [`NAMES`].
const COUNTER_COUNT: usize = 40;

const NAMES: [&str; COUNTER_COUNT] = [
    "rateguard_requests_admitted_total",
    "rateguard_requests_bypassed_total",
    "rateguard_requests_degraded_total",
    "rateguard_reserve_failures_total",
    "rateguard_local_replies_total",
    "rateguard_requests_client_closed_total",
    "rateguard_usages_estimated_total",
    "rateguard_events_out_of_order_total",
    "rateguard_usage_events_dropped_total",
    "rateguard_settlements_dropped_total",
    "rateguard_usage_events_sent_total",
    "rateguard_settlements_sent_total",
    "rateguard_usage_events_suppressed_total",
    "rateguard_outbox_failures_total",
    "rateguard_config_updates_total",
    "rateguard_config_updates_refused_total",
    "rateguard_config_poll_failures_total",
    "rateguard_lease_draws_total",
    "rateguard_leases_granted_total",
    "rateguard_leases_refused_total",
    "rateguard_lease_draws_given_back_total",
    "rateguard_joint_admissions_total",
    "rateguard_joint_reservations_granted_total",
    "rateguard_joint_reservations_refused_total",
    "rateguard_requests_refused_validation_error_total",
    "rateguard_requests_refused_invalid_api_key_total",
    "rateguard_requests_refused_budget_exceeded_total",
    "rateguard_requests_refused_expired_api_key_total",
    "rateguard_requests_refused_forbidden_total",
    "rateguard_requests_refused_api_inactive_total",
    "rateguard_requests_refused_model_not_allowed_total",
    "rateguard_requests_refused_model_not_priced_total",
    "rateguard_requests_refused_api_not_found_total",
    "rateguard_requests_refused_request_too_large_total",
    "rateguard_requests_refused_rate_limited_total",
    "rateguard_requests_refused_internal_error_total",
    "rateguard_requests_refused_upstream_error_total",
    "rateguard_requests_refused_circuit_open_total",
    "rateguard_requests_refused_not_ready_total",
    "rateguard_requests_refused_upstream_timeout_total",
];

/// 1 while this version of the filter runs.
const VERSION: &str = concat!(
    "rateguard_filter_version_",
    env!("CARGO_PKG_VERSION_MAJOR"),
    "_",
    env!("CARGO_PKG_VERSION_MINOR"),
    "_",
    env!("CARGO_PKG_VERSION_PATCH"),
);

/// What the adapter itself counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    EventsDropped,
    SettlementsDropped,
    EventsSent,
    SettlementsSent,
    EventsSuppressed,
    OutboxFailures,
    ConfigUpdates,
    ConfigUpdatesRefused,
    ConfigPollFailures,
    LeaseDraws,
    LeasesGranted,
    LeasesRefused,
    LeaseDrawsGivenBack,
    JointAdmissions,
    JointReservationsGranted,
    JointReservationsRefused,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    pending: [Cell<u64>; COUNTER_COUNT],
    ids: [Option<u32>; COUNTER_COUNT],
    snapshot_age: Option<u32>,
    snapshot_keys: Option<u32>,
    reservations_open: Option<u32>,
    memory_bytes: Option<u32>,
}

impl Metrics {
    pub(crate) fn define() -> Self {
        // Its name is what it says: `rateguard-control-plane doctor` reads it from Envoy's admin interface.
        if let Some(id) = host::define_gauge(VERSION) {
            host::set_metric(id, 1);
        }
        Self {
            pending: [const { Cell::new(0) }; COUNTER_COUNT],
            ids: NAMES.map(host::define_counter),
            snapshot_age: host::define_gauge("rateguard_snapshot_age_ms"),
            snapshot_keys: host::define_gauge("rateguard_snapshot_keys"),
            reservations_open: host::define_gauge("rateguard_reservations_open"),
            memory_bytes: host::define_gauge("rateguard_memory_bytes"),
        }
    }

    pub(crate) fn count(&self, metric: Metric) {
        self.add(index(metric), 1);
    }

    pub(crate) fn count_own(&self, own: Own, by: u64) {
        self.add(own as usize + index_of_first_own(), by);
    }

    fn add(&self, index: usize, by: u64) {
        if let Some(pending) = self.pending.get(index) {
            pending.set(pending.get().saturating_add(by));
        }
    }

    /// Hands the sums over.
    pub(crate) fn flush(&self) {
        for (pending, id) in self.pending.iter().zip(self.ids) {
            let by = pending.replace(0);
            if by > 0
                && let Some(id) = id
            {
                host::add_metric(id, by);
            }
        }
    }

    /// Gauges are one value for all workers: the last writer's.
    pub(crate) fn set_gauges(&self, snapshot_age_ms: u64, key_count: usize, open_count: usize) {
        for (id, value) in [
            (self.snapshot_age, snapshot_age_ms),
            (self.snapshot_keys, key_count as u64),
            (self.reservations_open, open_count as u64),
            (self.memory_bytes, host::memory_bytes()),
        ] {
            if let Some(id) = id {
                host::set_metric(id, value);
            }
        }
    }
}

const fn index_of_first_own() -> usize {
    8
}

fn index(metric: Metric) -> usize {
    match metric {
        Metric::Admitted => 0,
        Metric::Bypassed => 1,
        Metric::Degraded => 2,
        Metric::ReserveFailed => 3,
        Metric::LocalReply => 4,
        Metric::ClientClosed => 5,
        Metric::Estimated => 6,
        Metric::OutOfOrder => 7,
        Metric::Refused(code) => {
            24 + match code {
                ErrorCode::ValidationError => 0,
                ErrorCode::InvalidApiKey => 1,
                ErrorCode::BudgetExceeded => 2,
                ErrorCode::ExpiredApiKey => 3,
                ErrorCode::Forbidden => 4,
                ErrorCode::ApiInactive => 5,
                ErrorCode::ModelNotAllowed => 6,
                ErrorCode::ModelNotPriced => 7,
                ErrorCode::ApiNotFound => 8,
                ErrorCode::RequestTooLarge => 9,
                ErrorCode::RateLimited => 10,
                ErrorCode::InternalError => 11,
                ErrorCode::UpstreamError => 12,
                ErrorCode::CircuitOpen => 13,
                ErrorCode::NotReady => 14,
                ErrorCode::UpstreamTimeout => 15,
            }
        }
    }
}
