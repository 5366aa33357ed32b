//! What every handler and background task is given.

use crate::analytics;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::config::Config;
use crate::entropy::{self, Entropy};
use crate::feed;
use crate::http::analytics::tail::Tails;
use crate::limits::LimitsClient;
use crate::mail::Mailer;
use crate::pace::Pace;
use crate::readiness::Probes;
use crate::secrets::Keyring;
use crate::ssrf;
use crate::telemetry::Metrics;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// Cheap to clone: handles only.
#[derive(Clone)]
pub struct AppState {
    pub db: sqlx::PgPool,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Arc<Config>,
    pub keyring: Arc<Keyring>,
    pub ssrf: Arc<ssrf::Policy>,
    pub feed: feed::Hub,
    pub limits: LimitsClient,
    pub auth: Arc<Auth>,
    /// What each workspace, and each user outside of one, makes.
    pub creations: Arc<Pace<Uuid>>,
    pub mail: Mailer,
    /// Without `CLICKHOUSE_URL` there is none.
    pub analytics: Option<analytics::Reader>,
    pub tails: Tails,
    pub metrics: Arc<Metrics>,
    pub probes: Arc<Probes>,
    /// Turns true when the program is told to stop: hanging polls answer at once.
    pub shutdown: watch::Receiver<bool>,
}

/// Where an [`AppState`] gets time, randomness and its end from.
pub struct Sources {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub shutdown: watch::Receiver<bool>,
}

impl AppState {
    pub fn new(config: Config, db: sqlx::PgPool, sources: Sources) -> Self {
        let Sources {
            clock,
            entropy,
            shutdown,
        } = sources;
        Self {
            db,
            keyring: Arc::new(Keyring::of(&config.encryption_keys)),
            ssrf: Arc::new(config.upstream_allow.clone()),
            feed: feed::Hub::default(),
            limits: LimitsClient::new(&config.limits),
            auth: Arc::new(Auth::new(&config)),
            creations: Arc::new(config.caps.creations()),
            analytics: config.clickhouse.as_ref().map(analytics::Reader::new),
            tails: Tails::default(),
            mail: Mailer::new(config.smtp.as_ref()),
            metrics: Arc::new(Metrics::default()),
            probes: Arc::default(),
            config: Arc::new(config),
            clock,
            entropy,
            shutdown,
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A fresh UUIDv7.
    pub fn new_id(&self) -> Uuid {
        entropy::uuid_v7(self.clock.now_ms(), self.entropy.as_ref())
    }
}
