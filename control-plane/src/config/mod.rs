//! Configuration, from the environment or a file: parsed into types and checked as a whole before a port is bound.
//!
//! Every error names the variable, what is wrong with it, and the fix. All that is wrong is reported at once.

mod analytics;
mod caps;
mod doctor;
mod encryption;
mod people;
mod reader;
mod secret;
mod settings;

use crate::analytics::Endpoint;
use crate::auth::password;
use crate::auth::signing_key::SigningKey;
use crate::ssrf;
use crate::xds::cluster::Settings as Upstream;
use reader::Reader;
use std::net::SocketAddr;

pub use analytics::{AnalyticsConfig, EventBus, KafkaTopic};
pub use caps::Caps;
pub use doctor::DoctorConfig;
pub use encryption::EncryptionKeys;
pub use people::Smtp;
pub use secret::{EXAMPLE_ENCRYPTION_KEY, EXAMPLE_JWT_SECRET, Secret};
pub use settings::{FILE_VARIABLE, Settings};

/// Reads a variable; the program's own environment, or a table in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `RATEGUARD_ENV`: how strict the program is. Default `production`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Example secrets are accepted, cookies go without `Secure`.
    Development,
    Production,
}

/// `REGISTRATION`: who may make an account. Default `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    Open,
    /// Whoever was invited, with the invited address.
    Invite,
    /// Nobody; invited people who have an account still join.
    Closed,
}

/// `LOG_FORMAT`. Default `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How to reach the limit service. Without it, costs and rule resets answer 503.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `LIMITS_URL`: `http://host:port` of its gRPC listener.
    pub url: Option<String>,
    /// `LIMITS_TOKEN`: a data-plane token for all workspaces.
    pub token: Option<Secret>,
}

/// What `serve` and `seed` need.
#[derive(Debug, Clone)]
pub struct Config {
    pub environment: Environment,
    /// `DATABASE_URL`: postgres://…
    pub database_url: Secret,
    /// `LISTEN_ADDR`. Default 127.0.0.1:3000; port 0 takes a free one.
    pub listen_addr: SocketAddr,
    /// `JWT_SECRET`: signs access tokens. At least 32 bytes, or an RSA private key in PEM.
    pub jwt_secret: SigningKey,
    /// `JWT_SECRET_PREVIOUS`: what it was before. Tokens of it still count, so that changing it ends none. Default: none.
    pub jwt_secret_previous: Option<SigningKey>,
    /// `ENCRYPTION_KEY`, `ENCRYPTION_KEY_PREVIOUS`: losing them loses every stored credential.
    pub encryption_keys: EncryptionKeys,
    pub limits: Limits,
    /// `CLICKHOUSE_URL`, `CLICKHOUSE_CLUSTER`: where events are kept. Without it there are no analytics.
    pub clickhouse: Option<Endpoint>,
    /// `KAFKA_BROKERS`, `EVENTS_REDIS_URL` or `REDIS_URL`: where `serve --all` finds events.
    pub events: Option<EventBus>,
    /// `GATEWAY_PUBLIC_URL`: what applications put in front of `/proxy/…`. Default http://127.0.0.1:3001.
    pub gateway_public_url: String,
    /// `UPSTREAM_CONNECT_TIMEOUT_MS`, `UPSTREAM_CONNECTIONS_MAX`, `UPSTREAM_PENDING_MAX`, `UPSTREAM_REQUESTS_MAX`.
    pub upstream: Upstream,
    /// `UPSTREAM_ALLOW`: private addresses that APIs may point at. Default: none.
    pub upstream_allow: ssrf::Policy,
    pub registration: Registration,
    /// bcrypt's cost for new passwords: [`password::COST`] wherever settings are read.
    pub password_cost: u32,
    /// `CONSOLE_PUBLIC_URL`: what links to the console begin with. Default http://127.0.0.1:3000.
    pub console_public_url: String,
    /// `TRUSTED_PROXY_HOPS`: how many proxies of ours append to `x-forwarded-for`. Default 0: the peer is the client.
    pub trusted_proxy_hops: usize,
    pub smtp: Option<Smtp>,
    /// `WORKSPACE_APIS_MAX`, `WORKSPACE_KEYS_MAX`, `WORKSPACE_RULES_MAX`, `WORKSPACE_BUDGETS_MAX`,
    /// `WORKSPACE_CREATIONS_PER_MINUTE`.
    pub caps: Caps,
    pub log_format: LogFormat,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub message: String,
}

/// All that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not usable:{}", list(.0))]
pub struct ConfigError(pub Vec<Problem>);

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|p| format!("\n  {}: {}", p.variable, p.message))
        .collect();
    lines.concat()
}

impl Config {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let environment = reader.environment();
        let config = Self {
            environment,
            database_url: reader.database_url(),
            listen_addr: reader.listen_addr(environment),
            jwt_secret: reader.jwt_secret(environment),
            jwt_secret_previous: reader.jwt_secret_previous(environment),
            encryption_keys: reader.encryption_keys(environment),
            limits: reader.limits(environment),
            clickhouse: reader.clickhouse(),
            events: reader.events(),
            gateway_public_url: reader.http_url("GATEWAY_PUBLIC_URL", "http://127.0.0.1:3001"),
            upstream: reader.upstream(),
            upstream_allow: reader.upstream_allow(),
            password_cost: password::COST,
            registration: reader.choice(
                "REGISTRATION",
                &[
                    ("open", Registration::Open),
                    ("invite", Registration::Invite),
                    ("closed", Registration::Closed),
                ],
                Registration::Open,
            ),
            console_public_url: reader.http_url("CONSOLE_PUBLIC_URL", "http://127.0.0.1:3000"),
            trusted_proxy_hops: reader.trusted_proxy_hops(),
            smtp: reader.smtp(environment),
            caps: reader.caps(),
            log_format: reader.log_format(),
        };
        reader.finish(config)
    }

    /// Values that suit a test: development, loopback, a free port.
    pub fn for_testing(database_url: &str) -> Self {
        Self {
            environment: Environment::Development,
            database_url: Secret::new(database_url),
            listen_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            jwt_secret: SigningKey::secret(&Secret::new(EXAMPLE_JWT_SECRET)),
            jwt_secret_previous: None,
            encryption_keys: EncryptionKeys {
                current: [7; 32],
                previous: Vec::new(),
            },
            limits: Limits {
                url: None,
                token: None,
            },
            clickhouse: None,
            events: None,
            gateway_public_url: "http://127.0.0.1:3001".to_owned(),
            upstream: Upstream::default(),
            upstream_allow: ssrf::Policy::default(),
            registration: Registration::Open,
            // bcrypt's least: every test registers somebody.
            password_cost: 4,
            console_public_url: "http://127.0.0.1:3000".to_owned(),
            trusted_proxy_hops: 0,
            smtp: None,
            caps: Caps::default(),
            log_format: LogFormat::Text,
        }
    }
}

/// What `migrate`, `data-plane-token` and `reset-password` need.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    pub database_url: Secret,
    /// As in [`Config`].
    pub clickhouse: Option<Endpoint>,
    /// `CONSOLE_PUBLIC_URL`.
    pub console_public_url: String,
    pub log_format: LogFormat,
}

impl DatabaseConfig {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self {
            database_url: reader.database_url(),
            clickhouse: reader.clickhouse(),
            console_public_url: reader.http_url("CONSOLE_PUBLIC_URL", "http://127.0.0.1:3000"),
            log_format: reader.log_format(),
        };
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests;
