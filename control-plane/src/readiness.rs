//! Whether the program can do its work: what `/ready` says.

use crate::db;
use crate::limits::LimitsClient;
use sqlx::PgPool;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A dependency that takes longer counts as away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// However often probes ask, the dependencies are asked once in this time.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// How one dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Ok,
    Unavailable,
    NotConfigured,
}

impl Service {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unavailable => "unavailable",
            Self::NotConfigured => "not configured",
        }
    }
}

/// What the last probes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    pub database: Service,
    pub limits: Service,
}

impl Readiness {
    /// Without the database nothing works; without the limit service everything but costs and resets does.
    pub const fn status(self) -> &'static str {
        match (self.database, self.limits) {
            (Service::Ok, Service::Ok | Service::NotConfigured) => "ok",
            (Service::Ok, Service::Unavailable) => "degraded",
            (Service::Unavailable | Service::NotConfigured, _) => "unavailable",
        }
    }

    pub const fn is_ready(self) -> bool {
        matches!(self.database, Service::Ok)
    }
}

/// Probes at most once a second; callers of the meantime share the answer.
#[derive(Debug, Default)]
pub struct Probes(Mutex<Option<(Instant, Readiness)>>);

impl Probes {
    pub async fn readiness(&self, db: &PgPool, limits: &LimitsClient) -> Readiness {
        let mut last = self.0.lock().await;
        if let Some((at, readiness)) = *last
            && at.elapsed() < KEPT_FOR
        {
            return readiness;
        }
        let (database, limits) = tokio::join!(database(db), limit_service(limits));
        let readiness = Readiness { database, limits };
        *last = Some((Instant::now(), readiness));
        readiness
    }
}

async fn database(db: &PgPool) -> Service {
    match tokio::time::timeout(PROBE_TIMEOUT, db::feed::current_version(db)).await {
        Ok(Ok(_)) => Service::Ok,
        Ok(Err(_)) | Err(_) => Service::Unavailable,
    }
}

async fn limit_service(limits: &LimitsClient) -> Service {
    if !limits.is_configured() {
        return Service::NotConfigured;
    }
    match tokio::time::timeout(PROBE_TIMEOUT, limits.is_serving()).await {
        Ok(Ok(true)) => Service::Ok,
        Ok(Ok(false) | Err(_)) | Err(_) => Service::Unavailable,
    }
}
