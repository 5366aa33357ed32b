//! Settlements, releases, renewals and usage events: sent from the root context, for a call dispatched from a stream
//! that ends is lost. Each queue resends until it is acknowledged; ids make that harmless.

use crate::encode;
use crate::host;
use crate::metrics::{Metrics, Own};
use rateguard_filter::config::Config;
use rateguard_filter::effect::Settlement;
use rateguard_filter::endpoints::{Endpoints, OTHER};
use rateguard_filter::event::Now;
use rateguard_filter::outbox::{Limits, Outbox};
use rateguard_filter::renewal::Renewals;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{RequestId, WorkspaceId};
use std::time::Duration;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const RENEWALS_PER_CALL_MAX: usize = 500;
/// Of a VM's 1 GiB.
const EVENT_BYTES_MAX: usize = 32 * 1024 * 1024;
const SETTLEMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events of requests without a valid key that one worker sends per second: whoever knocks with random keys does not
/// write into the bus as fast as they knock.
const ANONYMOUS_PER_S_MAX: u32 = 20;

const INVALID_ARGUMENT: u32 = 3;

/// What a call under way carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Settle,
    Release,
    Report,
    Renew,
}

pub(crate) struct Outboxes {
    settlements: Outbox,
    releases: Outbox,
    events: Outbox,
    renewals: Renewals,
    ttl_ms: u32,
    endpoints: Endpoints,
    report_prefix: Vec<u8>,
    in_flight: Vec<(u32, Kind)>,
    /// Second, and anonymous events sent in it.
    anonymous: (i64, u32),
}

impl Outboxes {
    pub(crate) fn new(config: &Config, node_id: &str) -> Self {
        let queue = |bytes_max| {
            Outbox::new(Limits {
                items_per_batch_max: 100,
                wait_ms: 100,
                bytes_max,
            })
        };
        Self {
            settlements: queue(SETTLEMENT_BYTES_MAX),
            releases: queue(SETTLEMENT_BYTES_MAX),
            events: queue(EVENT_BYTES_MAX),
            renewals: Renewals::every(config.renew_interval_ms),
            ttl_ms: config.reservation_ttl_ms,
            endpoints: Endpoints::default(),
            report_prefix: encode::report_prefix(node_id),
            in_flight: Vec::new(),
            anonymous: (0, 0),
        }
    }

    pub(crate) fn opened(&mut self, id: RequestId, workspace_id: WorkspaceId, now: Now) {
        self.renewals.opened(id, workspace_id, now.unix_ms());
    }

    pub(crate) fn closed(&mut self, id: &RequestId) {
        self.renewals.closed(id);
    }

    pub(crate) fn open_count(&self) -> usize {
        self.renewals.open_count()
    }

    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Now) {
        self.settlements
            .push(now.unix_ms(), |bytes| encode::settlement(bytes, settlement));
    }

    pub(crate) fn release(&mut self, settlement: &Settlement, now: Now) {
        self.releases
            .push(now.unix_ms(), |bytes| encode::settlement(bytes, settlement));
    }

    pub(crate) fn record(&mut self, mut event: Box<RequestEvent>, now: Now, metrics: &Metrics) {
        if event.workspace_id.is_none() && !self.may_send_anonymous(now) {
            metrics.count_own(Own::EventsSuppressed, 1);
            return;
        }
        if event
            .api_id
            .is_some_and(|id| !self.endpoints.admits(id, &event.endpoint))
        {
            OTHER.clone_into(&mut event.endpoint);
        }
        self.events
            .push(now.unix_ms(), |bytes| encode::event(bytes, &event));
    }

    fn may_send_anonymous(&mut self, now: Now) -> bool {
        let second = now.unix_ms() / 1_000;
        if self.anonymous.0 != second {
            self.anonymous = (second, 0);
        }
        self.anonymous.1 += 1;
        self.anonymous.1 <= ANONYMOUS_PER_S_MAX
    }

    /// Sends what is due. `flush`: also what has not waited long enough.
    pub(crate) fn send(&mut self, cluster: &str, authorization: &str, now: Now, flush: bool) {
        let now_ms = now.unix_ms();
        let call =
            |method, message: &[u8]| host::call_grpc(cluster, method, authorization, message, CALL_TIMEOUT);
        let mut failed = Vec::new();
        for (kind, queue, method) in [
            (Kind::Settle, &mut self.settlements, "Settle"),
            (Kind::Release, &mut self.releases, "Release"),
        ] {
            if let Some(batch) = queue.start(now_ms, flush) {
                match call(method, batch) {
                    Some(token) => self.in_flight.push((token, kind)),
                    None => failed.push(kind),
                }
            }
        }
        if let Some(batch) = self.events.start(now_ms, flush) {
            let message = [self.report_prefix.as_slice(), batch].concat();
            match call("ReportUsage", &message) {
                Some(token) => self.in_flight.push((token, Kind::Report)),
                None => failed.push(Kind::Report),
            }
        }
        let due = self.renewals.take_due(now_ms, RENEWALS_PER_CALL_MAX);
        if !due.is_empty()
            && let Some(token) = call("Renew", &encode::renew(&due, self.ttl_ms))
        {
            self.in_flight.push((token, Kind::Renew));
        }
        for kind in failed {
            self.failed(kind, now, 0);
        }
    }

    /// A call came back; `false`: not one of these.
    pub(crate) fn answered(
        &mut self,
        token: u32,
        status: u32,
        message: &[u8],
        jitter: u32,
        now: Now,
        metrics: &Metrics,
    ) -> bool {
        let Some(index) = self.in_flight.iter().position(|(known, _)| *known == token) else {
            return false;
        };
        let (_, kind) = self.in_flight.swap_remove(index);
        match (status, kind) {
            (_, Kind::Renew) => {}
            (0, Kind::Settle) => {
                metrics.count_own(Own::SettlementsDropped, encode::invalid_count(message));
                metrics.count_own(Own::SettlementsSent, self.settlements.acknowledge() as u64);
            }
            (0, Kind::Release) => metrics.count_own(Own::SettlementsSent, self.releases.acknowledge() as u64),
            (0, Kind::Report) => metrics.count_own(Own::EventsSent, self.events.acknowledge() as u64),
            (INVALID_ARGUMENT, kind) => {
                log::error!("the limit service calls a batch malformed ({kind:?}): dropped");
                self.queue(kind).discard();
            }
            (status, kind) => {
                metrics.count_own(Own::OutboxFailures, 1);
                log::warn!("a batch did not arrive ({kind:?}, gRPC status {status}): it will be sent again");
                self.failed(kind, now, jitter);
            }
        }
        true
    }

    fn queue(&mut self, kind: Kind) -> &mut Outbox {
        match kind {
            Kind::Settle => &mut self.settlements,
            Kind::Release => &mut self.releases,
            Kind::Report | Kind::Renew => &mut self.events,
        }
    }

    fn failed(&mut self, kind: Kind, now: Now, jitter: u32) {
        self.queue(kind).fail(now.unix_ms(), jitter);
    }

    pub(crate) fn count_dropped(&mut self, metrics: &Metrics) {
        metrics.count_own(Own::EventsDropped, self.events.take_dropped());
        let settlements = self
            .settlements
            .take_dropped()
            .saturating_add(self.releases.take_dropped());
        metrics.count_own(Own::SettlementsDropped, settlements);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.settlements.is_empty() && self.releases.is_empty() && self.events.is_empty()
    }
}
