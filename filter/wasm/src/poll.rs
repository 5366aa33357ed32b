//! The configuration feed: one hanging poll at a time, with version and nonce (SPEC 3.3).

use crate::encode;
use crate::host::{self, Buffer, Headers};
use crate::metrics::Own;
use crate::stored;
use crate::worker::Worker;
use prost::Message as _;
use rateguard_filter::event::Now;
use rateguard_filter::snapshot::Received;
use rateguard_wire::v1;
use std::time::Duration;

/// Beyond the wait that was asked for: the answer itself may be long in coming.
const POLL_MARGIN: Duration = Duration::from_secs(5);
const BACK_OFF_MIN_MS: u64 = 100;
const BACK_OFF_MAX_MS: u64 = 5_000;
const NACK_REASON_BYTES_MAX: usize = 500;
/// About what a full update's pages are long: 700 keys, decoded in two milliseconds, so that no request waits longer.
const PAGE_BYTES: u32 = 64 * 1024;
const CONTENT_TYPE: &str = "application/x-protobuf";

#[derive(Default)]
pub(crate) struct Poll {
    /// The poll under way.
    token: Option<u32>,
    nonce: String,
    nack_reason: String,
    failure_count: u32,
    not_before_ms: i64,
    /// Asks for the rest of a full update that comes in pages.
    page: String,
    store: stored::Pages,
    /// What is stored for a reload has grown: the next answer should be a full one, to start it anew.
    wants_full: bool,
}

impl Poll {
    /// Begins with what an earlier VM left, if anything: the feed then only has to say what changed since.
    pub(crate) fn start(worker: &Worker, now: Now) -> Self {
        let mut snapshot = worker.snapshot.borrow_mut();
        for message in stored::restore() {
            match encode::update(&message) {
                Ok(feed) => {
                    // Nothing is held yet, so nothing can be lost.
                    let _ = snapshot.receive(feed.update, now.unix_ms());
                }
                Err(error) => {
                    log::warn!("the stored snapshot ends early: {error}");
                    break;
                }
            }
        }
        if snapshot.is_held() {
            log::info!(
                "restored snapshot {} with {} keys",
                snapshot.version(),
                snapshot.key_count()
            );
        }
        Self::default()
    }

    pub(crate) fn tick(&mut self, worker: &Worker, now: Now) {
        if self.token.is_none() && now.unix_ms() >= self.not_before_ms {
            self.send(worker, now);
        }
    }

    fn send(&mut self, worker: &Worker, now: Now) {
        let config = &worker.config;
        let snapshot = worker.snapshot.borrow();
        let version = if self.wants_full {
            String::new()
        } else {
            snapshot.version().to_owned()
        };
        let key_uses = worker
            .take_key_uses()
            .into_iter()
            .map(|(id, minute)| v1::KeyUse {
                key_id: id.as_bytes().to_vec(),
                minute,
            })
            .collect();
        let message = v1::PollRequest {
            node_id: worker.node_id.clone(),
            role: v1::PollRole::Filter.into(),
            version,
            nonce: self.nonce.clone(),
            nack_reason: std::mem::take(&mut self.nack_reason),
            wait_ms: config.poll_wait_ms,
            key_uses,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            page_bytes: PAGE_BYTES,
            page: self.page.clone(),
        }
        .encode_to_vec();
        let headers = vec![
            (":method", "POST"),
            (":path", "/v1/config:poll"),
            (":authority", config.control_plane_cluster.as_str()),
            ("content-type", CONTENT_TYPE),
            ("authorization", worker.authorization.as_str()),
        ];
        let timeout = Duration::from_millis(u64::from(config.poll_wait_ms)) + POLL_MARGIN;
        self.token = host::call_http(&config.control_plane_cluster, headers, &message, timeout);
        if self.token.is_none() {
            self.failed(worker, now, "the cluster of the control plane is not there");
        }
    }

    pub(crate) fn answered(
        &mut self,
        worker: &Worker,
        token: u32,
        header_count: usize,
        body_size: usize,
        now: Now,
    ) {
        if self.token != Some(token) {
            return;
        }
        self.token = None;
        if header_count == 0 {
            return self.failed(worker, now, "the connection broke");
        }
        // Our own Envoy answers 503 and 504 when the control plane does not: neither is a snapshot.
        let headers = host::headers(Headers::HttpCallResponse).unwrap_or_default();
        let is_feed = headers
            .get(b"content-type")
            .is_some_and(|kind| kind.starts_with(CONTENT_TYPE.as_bytes()));
        match headers.get(b":status") {
            Some(b"200") if is_feed => {}
            status => {
                let status = String::from_utf8_lossy(status.unwrap_or_default()).into_owned();
                return self.failed(worker, now, &format!("the control plane answered {status}"));
            }
        }
        let message = host::buffer(Buffer::HttpCallResponseBody, body_size).unwrap_or_default();
        match encode::update(&message) {
            Ok(feed) => self.accept(worker, feed, &message, now),
            Err(error) => self.refuse(worker, &message, &error.to_string(), now),
        }
    }

    fn accept(&mut self, worker: &Worker, feed: encode::Feed, message: &[u8], now: Now) {
        self.failure_count = 0;
        self.not_before_ms = 0;
        self.nonce = feed.nonce;
        let mut snapshot = worker.snapshot.borrow_mut();
        let update = feed.update;
        if update.version == snapshot.version() && !self.wants_full && !update.continues {
            self.page.clear();
            snapshot.confirm(now.unix_ms());
        } else {
            let from = snapshot.version().to_owned();
            let (version, full, continues) = (update.version.clone(), update.full, update.continues);
            match snapshot.receive(update, now.unix_ms()) {
                Ok(Received::Incomplete) => {
                    self.page = feed.next_page;
                    self.store.add(worker.id, &version, continues, message, now);
                }
                Ok(Received::InForce) => {
                    self.page.clear();
                    self.wants_full = false;
                    worker.metrics.count_own(Own::ConfigUpdates, 1);
                    if full {
                        self.store.add(worker.id, &version, continues, message, now);
                        self.store.finish(worker.id, &version);
                    } else {
                        self.wants_full = stored::append(&from, &version, message) == stored::Stored::Grown;
                    }
                }
                Err(shrinks) => {
                    drop(snapshot);
                    return self.refuse(worker, message, &shrinks.to_string(), now);
                }
            }
        }
        drop(snapshot);
        self.send(worker, now);
    }

    /// The last good one stays in force; the control plane hears why.
    fn refuse(&mut self, worker: &Worker, message: &[u8], reason: &str, now: Now) {
        log::error!("an update of the configuration is refused: {reason}");
        worker.metrics.count_own(Own::ConfigUpdatesRefused, 1);
        self.page.clear();
        worker.snapshot.borrow_mut().forget_pages();
        self.nonce = encode::nonce(message);
        self.nack_reason = reason.chars().take(NACK_REASON_BYTES_MAX).collect();
        self.back_off(worker, now);
    }

    fn failed(&mut self, worker: &Worker, now: Now, reason: &str) {
        worker.metrics.count_own(Own::ConfigPollFailures, 1);
        if self.failure_count == 0 {
            log::warn!("polling the configuration failed: {reason}");
        }
        self.back_off(worker, now);
    }

    /// Doubled with each failure and jittered, so that a control plane that returns is not met by all at once.
    fn back_off(&mut self, worker: &Worker, now: Now) {
        let pause = (BACK_OFF_MIN_MS << self.failure_count.min(10)).min(BACK_OFF_MAX_MS);
        self.failure_count = self.failure_count.saturating_add(1);
        let jitter = u64::from(worker.random.borrow_mut().number()) % (pause / 2 + 1);
        let wait = i64::try_from(pause / 2 + jitter).unwrap_or(i64::MAX);
        self.not_before_ms = now.unix_ms().saturating_add(wait);
    }
}
