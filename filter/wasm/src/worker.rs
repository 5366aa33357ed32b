//! What one worker's VM keeps between requests. Streams share it with the root context that made them.

use crate::desk::Desk;
use crate::encode;
use crate::held::Held;
use crate::host;
use crate::metrics::Metrics;
use crate::outbox::Outboxes;
use crate::random::Random;
use rateguard_filter::averages::Averages;
use rateguard_filter::config::{Config, Mode};
use rateguard_filter::effect::{Effect, ReserveCall, Settlement, Warning};
use rateguard_filter::event::Now;
use rateguard_filter::fallback::Shares;
use rateguard_filter::lease::LeaseBook;
use rateguard_filter::snapshot::Snapshot;
use rateguard_model::id::KeyId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// Key uses remembered at most between two polls: what one poll carries.
const KEY_USES_MAX: usize = 1_000;
const WARNING_INTERVAL_NS: u64 = 1_000_000_000;

pub(crate) struct Worker {
    pub(crate) config: Config,
    /// `Bearer <token>`.
    pub(crate) authorization: String,
    pub(crate) node_id: String,
    /// Random: the limit service counts live workers by it.
    pub(crate) id: u64,
    pub(crate) snapshot: RefCell<Snapshot>,
    pub(crate) shares: RefCell<Shares>,
    pub(crate) averages: RefCell<Averages>,
    pub(crate) leases: RefCell<LeaseBook>,
    pub(crate) desk: Desk,
    pub(crate) outboxes: RefCell<Outboxes>,
    pub(crate) held: RefCell<Held>,
    pub(crate) random: RefCell<Random>,
    pub(crate) metrics: Metrics,
    /// Last minute in which a key was used, until a poll reports it.
    key_uses: RefCell<BTreeMap<KeyId, i64>>,
    warned: [Cell<u64>; 3],
}

impl Worker {
    pub(crate) fn new(config: Config, node_id: String) -> Self {
        let mut random = Random::default();
        let id = random.take().map_or(0, u64::from_le_bytes);
        Self {
            authorization: format!("Bearer {}", config.token),
            outboxes: RefCell::new(Outboxes::new(&config, &node_id)),
            leases: RefCell::new(LeaseBook::new(config.leases)),
            desk: Desk::open(&config, id),
            config,
            node_id,
            id,
            snapshot: RefCell::default(),
            shares: RefCell::default(),
            held: RefCell::default(),
            averages: RefCell::default(),
            random: RefCell::new(random),
            metrics: Metrics::define(),
            key_uses: RefCell::default(),
            warned: [const { Cell::new(0) }; 3],
        }
    }

    /// In our gateway `x-forwarded-for` tells the peer; a mesh may be configured otherwise.
    pub(crate) fn needs_peer(&self) -> bool {
        self.config.mode == Mode::DropIn && self.snapshot.borrow().needs_peer()
    }

    /// Asks for a reservation; answers the call's token. It is a unary gRPC call that goes as a plain HTTP/2 request:
    /// Envoy's gRPC client costs 15 µs more.
    pub(crate) fn call_reserve(&self, call: &ReserveCall, timeout_ms: u32) -> Option<u32> {
        let config = &self.config;
        let message = encode::reserve(call, self.id, config.reservation_ttl_ms);
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        let mut headers = vec![
            (":method", "POST"),
            (":path", "/rateguard.v1.LimitService/Reserve"),
            (":authority", config.limits_cluster.as_str()),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", self.authorization.as_str()),
        ];
        if let Some(trace) = &call.trace {
            headers.push(("traceparent", trace.parent()));
            headers.extend(trace.state().map(|state| ("tracestate", state)));
        }
        host::call_http(&config.limits_cluster, headers, &message, timeout)
    }

    /// Effects that concern the worker, not the stream.
    pub(crate) fn apply(&self, effect: Effect, now: Now) {
        match effect {
            Effect::Opened { id, workspace_id } => self.outboxes.borrow_mut().opened(id, workspace_id, now),
            Effect::Closed { id } => self.outboxes.borrow_mut().closed(&id),
            Effect::Settle(settlement) => self.resolve(&settlement, false, now),
            Effect::Release(settlement) => self.resolve(&settlement, true, now),
            Effect::Record(event) => {
                self.outboxes.borrow_mut().record(event, now, &self.metrics);
                if self.outboxes.borrow().is_full() {
                    self.close_batch(now);
                }
            }
            Effect::KeyUsed(id) => self.key_used(id, now),
            Effect::Learned {
                key_id,
                model,
                output_tokens,
            } => {
                self.averages.borrow_mut().learn(key_id, &model, output_tokens);
            }
            Effect::Seen {
                quota,
                remaining,
                live_workers,
            } => {
                self.shares.borrow_mut().saw(&quota, remaining, live_workers);
            }
            Effect::DrewShare { quota } => self.shares.borrow_mut().drew(&quota),
            Effect::Count(metric) => self.metrics.count(metric),
            Effect::Warn(warning) => self.warn(warning, now),
            // The stream's own.
            Effect::Reserve(_)
            | Effect::CancelReserve
            | Effect::EditRequestHeaders(_)
            | Effect::ChooseRoute
            | Effect::SetRequestBody(_)
            | Effect::ResumeRequest
            | Effect::EditResponseHeaders(_)
            | Effect::SetResponseBody(_)
            | Effect::AppendResponseBody(_)
            | Effect::Hold { .. }
            | Effect::AddResponseTrailer(..)
            | Effect::Reply(_) => {}
        }
    }

    /// What a lease admitted is settled with the lease.
    fn resolve(&self, settlement: &Settlement, is_release: bool, now: Now) {
        if !self.leases.borrow_mut().settled(settlement, is_release) {
            self.outboxes.borrow_mut().resolve(settlement, is_release, now);
        }
    }

    /// Closes the batch of events that is filling, with all that leases have to say of the same requests: if this worker
    /// dies, the ledger and the events know of exactly the same draws.
    pub(crate) fn close_batch(&self, now: Now) {
        let reports = self.leases.borrow_mut().reports(now);
        for effect in reports {
            self.apply(effect, now);
        }
        self.outboxes.borrow_mut().close();
    }

    fn key_used(&self, id: KeyId, now: Now) {
        let mut uses = self.key_uses.borrow_mut();
        if uses.len() < KEY_USES_MAX || uses.contains_key(&id) {
            uses.insert(id, now.unix_ms() / 60_000);
        }
    }

    pub(crate) fn take_key_uses(&self) -> BTreeMap<KeyId, i64> {
        std::mem::take(&mut self.key_uses.borrow_mut())
    }

    /// Each kind at most once a second.
    fn warn(&self, warning: Warning, now: Now) {
        let Some(last) = self.warned.get(warning as usize) else {
            return;
        };
        if now.0.saturating_sub(last.get()) < WARNING_INTERVAL_NS {
            return;
        }
        last.set(now.0);
        log::warn!(
            "{}",
            match warning {
                Warning::LimitServiceAway => "the limit service does not answer: failure modes decide",
                Warning::LedgerDegraded => "the limit service answers from memory: its Redis is away",
                Warning::OutOfOrder => "an event came that the exchange did not expect",
            }
        );
    }
}
