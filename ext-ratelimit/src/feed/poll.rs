//! Polls the configuration feed: hanging requests, deltas, ACK by asking on, NACK with a reason, back-off with jitter.

use super::{Feed, View};
use crate::clock;
use crate::config::{Config, Secret};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use prost::Message;
use rand::Rng;
use rateguard_wire::v1;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONTENT_TYPE: &str = "application/x-protobuf";

/// The poll's own time-out is this much longer than it may hang.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// An answer without news that comes sooner was not held back.
const HELD_MIN: Duration = Duration::from_millis(100);

/// Largest answer that is read. 100 000 budgets are about 20 MB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("the control plane cannot be reached")]
    Transport(#[source] reqwest::Error),
    #[error("the control plane answered {0}")]
    Status(u16),
    #[error("the answer is not protobuf")]
    ContentType,
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer cannot be decoded")]
    Decode(#[source] prost::DecodeError),
    #[error("the answer was refused: {0}")]
    Refused(super::FeedError),
}

pub struct Poller {
    client: reqwest::Client,
    url: String,
    token: Secret,
    node_id: String,
    wait: Duration,
    backoff: Duration,
    backoff_max: Duration,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    warning: Throttle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Applied,
}

/// What the next poll says.
#[derive(Default)]
struct Position {
    version: String,
    nonce: String,
    nack_reason: String,
}

impl Poller {
    /// `None` when no control plane is configured. `node_id` names this process in the control plane's list.
    pub fn new(
        config: &Config,
        node_id: String,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, reqwest::Error> {
        let Some(origin) = &config.control_plane_url else {
            return Ok(None);
        };
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(config.tuning.poll_wait + ANSWER_SLACK)
            .tcp_keepalive(Duration::from_secs(15))
            // The token goes to the configured origin and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Some(Self {
            client,
            url: format!("{origin}/v1/config:poll"),
            token: config.data_plane_token.clone(),
            node_id,
            wait: config.tuning.poll_wait,
            backoff: config.tuning.poll_backoff,
            backoff_max: config.tuning.poll_backoff_max,
            feed,
            metrics,
            warning: Throttle::new(10_000),
        }))
    }

    /// Polls until cancelled.
    pub async fn run(self) {
        let mut position = Position::default();
        let mut view = View::default();
        let mut failures = 0_u32;
        loop {
            let asked = Instant::now();
            match self.poll(&mut position, &mut view).await {
                Ok(change) => {
                    if !self.feed.is_reachable() {
                        tracing::info!(version = %position.version, "configuration feed is up");
                    }
                    failures = 0;
                    self.feed.set_reachable(true);
                    // Nothing new and not held back either: whoever answers so must not be asked in a loop.
                    if change == Change::None && asked.elapsed() < HELD_MIN {
                        tokio::time::sleep(self.pause(1)).await;
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.failed(&error);
                    tokio::time::sleep(self.pause(failures)).await;
                }
            }
        }
    }

    async fn poll(&self, position: &mut Position, view: &mut View) -> Result<Change, PollError> {
        let request = v1::PollRequest {
            node_id: self.node_id.clone(),
            role: v1::PollRole::Limits.into(),
            version: position.version.clone(),
            nonce: position.nonce.clone(),
            nack_reason: std::mem::take(&mut position.nack_reason),
            wait_ms: u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX),
            key_uses: Vec::new(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..v1::PollRequest::default()
        };
        let Some(answer) = self.ask(&request).await? else {
            self.contact(&self.metrics.polls.unchanged);
            return Ok(Change::None);
        };
        self.feed.set_has_ledger(answer.has_ledger);
        let (version, nonce) = (answer.version.clone(), answer.nonce.clone());
        if !answer.full && version == position.version {
            position.nonce = nonce;
            self.contact(&self.metrics.polls.unchanged);
            return Ok(Change::None);
        }
        position.nonce = nonce;
        match view.apply(answer) {
            Ok(next) => {
                *view = next.clone();
                self.feed.publish(next);
                self.contact(&self.metrics.polls.changed);
                // Everything once more, as it was already: no news.
                let change = if position.version == version {
                    Change::None
                } else {
                    Change::Applied
                };
                position.version = version;
                Ok(change)
            }
            Err(refused) => {
                position.nack_reason = refused.to_string();
                Err(PollError::Refused(refused))
            }
        }
    }

    async fn ask(&self, request: &v1::PollRequest) -> Result<Option<v1::PollResponse>, PollError> {
        let mut response = self
            .client
            .post(&self.url)
            .bearer_auth(self.token.expose())
            .header("content-type", CONTENT_TYPE)
            .header("accept", CONTENT_TYPE)
            .body(request.encode_to_vec())
            .send()
            .await
            .map_err(PollError::Transport)?;
        match response.status().as_u16() {
            200 => {}
            204 | 304 => return Ok(None),
            status => return Err(PollError::Status(status)),
        }
        let content_type = response.headers().get("content-type");
        if !content_type.is_some_and(|v| v.as_bytes().starts_with(CONTENT_TYPE.as_bytes())) {
            return Err(PollError::ContentType);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(PollError::Transport)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(PollError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        v1::PollResponse::decode(body.as_slice())
            .map(Some)
            .map_err(PollError::Decode)
    }

    fn contact(&self, outcome: &prometheus_client::metrics::counter::Counter) {
        outcome.inc();
        self.metrics.feed_contact.set(clock::now_ms() / 1_000);
    }

    fn failed(&self, error: &PollError) {
        let refused = matches!(error, PollError::Refused(_));
        // A refused answer is still an answer: the control plane is there.
        self.feed.set_reachable(refused);
        if refused {
            &self.metrics.polls.refused
        } else {
            &self.metrics.polls.failed
        }
        .inc();
        if self.warning.pass(clock::now_ms()) {
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::warn!(%error, cause, "configuration poll failed; the last good one stays in force");
        }
    }

    /// Full jitter: anything between nothing and the doubled back-off, so that restarted pollers spread out.
    fn pause(&self, failures: u32) -> Duration {
        let ceiling = self
            .backoff
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.backoff_max);
        ceiling
            .mul_f64(rand::rng().random::<f64>())
            .max(Duration::from_millis(10))
    }
}
