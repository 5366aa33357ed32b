//! Usage events with what resolves their reservations, and renewals: sent from the root context, for a call dispatched
//! from a stream that ends is lost. Each queue resends until it is acknowledged; ids make that harmless.
//!
//! Events and settlements go in one message. Where the limit service could take only one half of it, because the bus or
//! the ledger was away, the other half is put aside, so that what comes after is not held up.

use crate::encode;
use crate::host;
use crate::metrics::{Metrics, Own};
use rateguard_filter::config::Config;
use rateguard_filter::effect::Settlement;
use rateguard_filter::endpoints::{Endpoints, OTHER};
use rateguard_filter::event::Now;
use rateguard_filter::outbox::{Batch, Half, Limits, Outbox};
use rateguard_filter::renewal::Renewals;
use rateguard_model::event::RequestEvent;
use rateguard_model::id::{RequestId, WorkspaceId};
use std::time::Duration;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const RENEWALS_PER_CALL_MAX: usize = 500;
/// Of a VM's 1 GiB, each queue.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events of requests without a valid key that one worker sends per second: whoever knocks with random keys does not
/// write into the bus as fast as they knock.
const ANONYMOUS_PER_S_MAX: u32 = 20;

const INVALID_ARGUMENT: u32 = 3;

/// What a call under way carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usage,
    /// What the bus did not take.
    Events,
    /// What the ledger did not take.
    Settlements,
    Renew,
}

pub(crate) struct Outboxes {
    usage: Outbox,
    events: Outbox,
    settlements: Outbox,
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
        let queue = || {
            Outbox::new(Limits {
                events_per_batch_max: 100,
                wait_ms: 100,
                bytes_max: BYTES_MAX,
            })
        };
        Self {
            usage: queue(),
            events: queue(),
            settlements: queue(),
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

    pub(crate) fn resolve(&mut self, settlement: &Settlement, is_release: bool, now: Now) {
        self.usage.push_settlement(now.unix_ms(), |bytes| {
            encode::settlement(bytes, settlement, is_release);
        });
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
        self.usage
            .push_event(now.unix_ms(), |bytes| encode::event(bytes, &event));
    }

    fn may_send_anonymous(&mut self, now: Now) -> bool {
        let second = now.unix_ms() / 1_000;
        if self.anonymous.0 != second {
            self.anonymous = (second, 0);
        }
        self.anonymous.1 += 1;
        self.anonymous.1 <= ANONYMOUS_PER_S_MAX
    }

    /// Whether the batch that is filling holds all it may.
    pub(crate) fn is_full(&self) -> bool {
        self.usage.is_full()
    }

    /// Whether the batch that is filling has waited long enough.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.usage.is_due(now.unix_ms())
    }

    pub(crate) fn close(&mut self) {
        self.usage.close();
    }

    /// Sends what is closed.
    pub(crate) fn send(&mut self, cluster: &str, authorization: &str, now: Now) {
        let now_ms = now.unix_ms();
        let call =
            |method, message: &[u8]| host::call_grpc(cluster, method, authorization, message, CALL_TIMEOUT);
        for kind in [Kind::Usage, Kind::Events, Kind::Settlements] {
            let Some(message) = self.message(kind, now_ms) else {
                continue;
            };
            match call("ReportUsage", &message) {
                Some(token) => self.in_flight.push((token, kind)),
                None => self.queue(kind).fail(now_ms, 0),
            }
        }
        let due = self.renewals.take_due(now_ms, RENEWALS_PER_CALL_MAX);
        if !due.is_empty()
            && let Some(token) = call("Renew", &encode::renew(&due, self.ttl_ms))
        {
            self.in_flight.push((token, Kind::Renew));
        }
    }

    fn message(&mut self, kind: Kind, now_ms: i64) -> Option<Vec<u8>> {
        let prefix = std::mem::take(&mut self.report_prefix);
        let batch = self.queue(kind).start(now_ms);
        let message = batch.map(|batch| {
            let parts = [&prefix, &batch.events.bytes, &batch.settlements.bytes];
            parts.map(Vec::as_slice).concat()
        });
        self.report_prefix = prefix;
        message
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
            (0, kind) => self.taken(kind, message, jitter, now, metrics),
            (INVALID_ARGUMENT, kind) => {
                log::error!("the limit service calls a batch malformed ({kind:?}): dropped");
                self.queue(kind).discard();
            }
            (status, kind) => self.failed(kind, &format!("gRPC status {status}"), jitter, now, metrics),
        }
        true
    }

    /// The limit service answered for a batch: at least one half of it is done.
    fn taken(&mut self, kind: Kind, message: &[u8], jitter: u32, now: Now, metrics: &Metrics) {
        let answer = encode::taken(message);
        if !answer.events_taken && !answer.settlements_taken {
            return self.failed(kind, "nothing was taken", jitter, now, metrics);
        }
        let Batch { events, settlements } = self.queue(kind).acknowledge();
        let now_ms = now.unix_ms();
        metrics.count_own(Own::SettlementsDropped, u64::from(answer.invalid_settlements));
        if answer.settlements_taken {
            metrics.count_own(Own::SettlementsSent, settlements.count as u64);
        } else {
            let half = Batch {
                events: Half::default(),
                settlements,
            };
            self.settlements.put(half, now_ms, jitter);
        }
        if answer.events_taken {
            metrics.count_own(Own::EventsSent, events.count as u64);
        } else {
            let half = Batch {
                events,
                settlements: Half::default(),
            };
            self.events.put(half, now_ms, jitter);
        }
    }

    fn failed(&mut self, kind: Kind, why: &str, jitter: u32, now: Now, metrics: &Metrics) {
        metrics.count_own(Own::OutboxFailures, 1);
        log::warn!("a batch did not arrive ({kind:?}, {why}): it will be sent again");
        self.queue(kind).fail(now.unix_ms(), jitter);
    }

    fn queue(&mut self, kind: Kind) -> &mut Outbox {
        match kind {
            Kind::Usage | Kind::Renew => &mut self.usage,
            Kind::Events => &mut self.events,
            Kind::Settlements => &mut self.settlements,
        }
    }

    fn queues(&mut self) -> [&mut Outbox; 3] {
        [&mut self.usage, &mut self.events, &mut self.settlements]
    }

    pub(crate) fn count_dropped(&mut self, metrics: &Metrics) {
        for queue in self.queues() {
            let dropped = queue.take_dropped();
            metrics.count_own(Own::EventsDropped, dropped.events);
            metrics.count_own(Own::SettlementsDropped, dropped.settlements);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.usage.is_empty() && self.events.is_empty() && self.settlements.is_empty()
    }
}
