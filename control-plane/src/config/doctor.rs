//! What `doctor` looks at: everything is optional but the database.

use super::reader::Reader;
use super::{ConfigError, Environment, Limits, Lookup, Secret};

/// Addresses of what the program depends on, as this installation has them. What is unset is not checked.
#[derive(Debug, Clone)]
pub struct DoctorConfig {
    pub database_url: Secret,
    /// `REDIS_URL`: the limit service's store.
    pub redis_url: Option<Secret>,
    pub limits: Limits,
    /// `ENVOY_ADMIN_URL`: http://127.0.0.1:9901.
    pub envoy_admin_url: Option<String>,
    /// `GATEWAY_PUBLIC_URL`.
    pub gateway_public_url: Option<String>,
    /// `DOCTOR_API_KEY`: a key that must be let in.
    pub api_key: Option<Secret>,
    /// `KAFKA_BROKERS`: host:port, comma-separated.
    pub kafka_brokers: Vec<String>,
    /// `KAFKA_TOPIC`.
    pub kafka_topic: String,
    /// `CLICKHOUSE_URL`.
    pub clickhouse_url: Option<String>,
}

impl DoctorConfig {
    pub fn from_env(env: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let redis_url = reader.secret_text("REDIS_URL", "REDIS_URL_FILE");
        if redis_url
            .as_ref()
            .is_some_and(|url| !url.starts_with("redis://") && !url.starts_with("rediss://"))
        {
            reader.problem("REDIS_URL", "is not of the form redis://host:6379/0");
        }
        let config = Self {
            database_url: reader.database_url(),
            redis_url: redis_url.as_deref().map(Secret::new),
            // A missing token is a line of the report, not a reason to check nothing.
            limits: reader.limits(Environment::Development),
            envoy_admin_url: reader.optional_http_url("ENVOY_ADMIN_URL"),
            gateway_public_url: reader.optional_http_url("GATEWAY_PUBLIC_URL"),
            api_key: reader
                .secret_text("DOCTOR_API_KEY", "DOCTOR_API_KEY_FILE")
                .as_deref()
                .map(Secret::new),
            kafka_brokers: reader.brokers().unwrap_or_default(),
            kafka_topic: reader.topic(),
            clickhouse_url: reader.optional_http_url("CLICKHOUSE_URL"),
        };
        reader.finish(config)
    }
}
