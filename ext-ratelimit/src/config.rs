//! The program's configuration: flags and environment, parsed and checked before a port is bound.

use crate::events::KafkaSettings;
use clap::Parser;
use rateguard_model::digest::Digest;
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// What the process was started with. `Config::try_from` turns it into something that can be relied on.
#[derive(Parser)]
#[command(
    name = "rateguard-ext-ratelimit",
    version,
    about = "RateGuard's limit service"
)]
pub struct Args {
    /// `development` allows plain text beyond loopback and a missing control plane. Wrong: production refuses to
    /// start where development would, never the other way round.
    #[arg(long, env = "RATEGUARD_ENV", default_value = "production")]
    pub rateguard_env: Environment,

    /// Where gRPC listens, `address:port`; port 0 takes a free one, which the log names. Wrong: the data plane
    /// cannot reach the service and applies each quota's failure mode.
    #[arg(long, env = "GRPC_LISTEN_ADDR", default_value = "127.0.0.1:50051")]
    pub grpc_listen_addr: SocketAddr,

    /// Where /health, /ready and /metrics listen, `address:port`. It shows no workspace's data and asks for no
    /// token. Wrong: probes and scrapes fail.
    #[arg(long, env = "HTTP_LISTEN_ADDR", default_value = "127.0.0.1:50052")]
    pub http_listen_addr: SocketAddr,

    /// The ledger's Redis, `redis://[user:password@]host:port/db` or `redis+unix:///path`. Unset: counters live in
    /// this process, which must then be the only instance. Wrong: degraded from the start.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,

    /// The Redis that holds the event streams; needs `appendonly yes` to keep what it acknowledged. Default:
    /// `REDIS_URL`. Wrong: no usage report is acknowledged and the data plane's outbox fills.
    #[arg(long, env = "EVENTS_REDIS_URL", hide_env_values = true)]
    pub events_redis_url: Option<String>,

    /// Kafka's brokers, `host:port,…`: the bus of the events, in place of Redis Streams. This build has no TLS to them.
    /// Wrong: no usage report is acknowledged and the data plane's outbox fills.
    #[arg(long, env = "KAFKA_BROKERS")]
    pub kafka_brokers: Option<String>,

    /// The topic of the events; made when it is missing. Wrong: the consumer sees nothing.
    #[arg(long, env = "KAFKA_TOPIC", default_value = "api-events")]
    pub kafka_topic: String,

    /// Partitions of that topic when it has to be made. A workspace is always in the same one: too few bound how many
    /// consumers can share the work, and more later move workspaces.
    #[arg(long, env = "KAFKA_TOPIC_PARTITIONS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub kafka_topic_partitions: u16,

    /// The control plane's origin, `http://host:port`. Wrong: no token but this service's own is ever accepted.
    #[arg(long, env = "CONTROL_PLANE_URL")]
    pub control_plane_url: Option<String>,

    /// This service's own data-plane token, `rgdp_` and 43 base64url characters. Wrong: the control plane answers
    /// its polls with 401.
    #[arg(long, env = "DATA_PLANE_TOKEN", hide_env_values = true)]
    pub data_plane_token: String,

    /// Milliseconds that a Reserve waits for Redis when the caller named no deadline (otherwise two thirds of the
    /// deadline). Too small: needlessly degraded. Too large: callers give up first and apply the failure mode.
    #[arg(long, env = "REDIS_TIMEOUT_MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub redis_timeout_ms: u64,

    /// Bytes that all event streams together may take in Redis; beyond, reports are refused and nothing is trimmed.
    /// Too small: the data plane's outbox fills. Too large: Redis runs out of memory and the ledger with it.
    #[arg(long, env = "EVENTS_BYTES_MAX", default_value_t = 256 * 1024 * 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub events_bytes_max: u64,

    /// Threads that serve. 1 is the cheapest per call and enough for what one Redis can answer; more only help
    /// where a single core is not.
    #[arg(long, env = "WORKER_THREADS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub worker_threads: u16,

    /// Shape of the log on standard error.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// OpenTelemetry collector (OTLP over gRPC) that gets traces, e.g. http://127.0.0.1:4317. Default: none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Environment {
    Development,
    Production,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Checked configuration. Fields as in [`Args`].
#[derive(Debug, Clone)]
pub struct Config {
    pub grpc_listen_addr: SocketAddr,
    pub http_listen_addr: SocketAddr,
    pub redis_url: Option<Secret>,
    pub events_redis_url: Option<Secret>,
    pub kafka: Option<KafkaSettings>,
    /// Without a trailing slash.
    pub control_plane_url: Option<String>,
    pub data_plane_token: Secret,
    pub redis_timeout: Duration,
    pub events_bytes_max: u64,
    pub worker_threads: u16,
    pub log_format: LogFormat,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
    pub tuning: Tuning,
}

/// Times and bounds that have no environment variable: there is one right value outside tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How often Redis is tried while it is away.
    pub probe_interval: Duration,
    /// How often expired reservations are looked for.
    pub sweep_interval: Duration,
    /// How long after Redis' return the data planes' outboxes may still settle what was admitted from memory,
    /// before it is charged as reserved.
    pub outbox_grace: Duration,
    /// How long after Redis' return what it lost is not asked of the ledger of events: the outboxes' settlements of the
    /// outage are in there already and would be counted twice.
    pub restore_grace: Duration,
    /// Reservations admitted from memory that are remembered until they are settled. About 300 bytes each.
    pub pending_max: usize,
    /// Buckets of BOUNDED_OPEN budgets whose last remaining amount is remembered. About 40 bytes each.
    pub seen_max: usize,
    /// How long the poll of the configuration feed may hang.
    pub poll_wait: Duration,
    /// First wait after a failed poll; doubles up to `poll_backoff_max`, with full jitter.
    pub poll_backoff: Duration,
    pub poll_backoff_max: Duration,
    /// How long calls in flight may take at shutdown.
    pub drain: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(250),
            sweep_interval: Duration::from_secs(1),
            outbox_grace: Duration::from_secs(60),
            restore_grace: Duration::from_secs(5),
            pending_max: 100_000,
            seen_max: 100_000,
            poll_wait: Duration::from_secs(25),
            poll_backoff: Duration::from_millis(250),
            poll_backoff_max: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// Why the configuration cannot be used. Each message names the variable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error(
        "GRPC_LISTEN_ADDR {0} is not a loopback address: this build has no TLS, and tokens would travel in plain text (RATEGUARD_ENV=development allows it)"
    )]
    PlainTextBeyondLoopback(SocketAddr),
    #[error("{0} is not a redis:// or redis+unix:// URL")]
    RedisUrl(&'static str),
    #[error("KAFKA_TOPIC is not 1 to 249 letters, digits, dots, underscores and hyphens")]
    KafkaTopic,
    #[error("CONTROL_PLANE_URL is not an http:// URL (this build has no TLS)")]
    ControlPlaneUrl,
    #[error(
        "CONTROL_PLANE_URL is plain http beyond loopback: the token would travel in plain text (RATEGUARD_ENV=development allows it)"
    )]
    ControlPlanePlainText,
    #[error("CONTROL_PLANE_URL is not set (only RATEGUARD_ENV=development may leave it out)")]
    ControlPlaneMissing,
    #[error("DATA_PLANE_TOKEN is not `rgdp_` and 43 base64url characters")]
    Token,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let Args {
            rateguard_env,
            grpc_listen_addr,
            http_listen_addr,
            redis_url,
            events_redis_url,
            kafka_brokers,
            kafka_topic,
            kafka_topic_partitions,
            control_plane_url,
            data_plane_token,
            redis_timeout_ms,
            events_bytes_max,
            worker_threads,
            log_format,
            otlp_endpoint,
        } = args;
        let development = rateguard_env == Environment::Development;
        if !development && !grpc_listen_addr.ip().is_loopback() {
            return Err(ConfigError::PlainTextBeyondLoopback(grpc_listen_addr));
        }
        if !is_token(&data_plane_token) {
            return Err(ConfigError::Token);
        }
        let redis_url = redis_url.map(|url| redis_secret("REDIS_URL", url)).transpose()?;
        let events_redis_url = events_redis_url
            .map(|url| redis_secret("EVENTS_REDIS_URL", url))
            .transpose()?
            .or_else(|| redis_url.clone());
        let kafka = match kafka_brokers.filter(|brokers| !brokers.trim().is_empty()) {
            Some(_) if !is_topic(&kafka_topic) => return Err(ConfigError::KafkaTopic),
            Some(brokers) => Some(KafkaSettings {
                brokers,
                topic: kafka_topic,
                partitions: kafka_topic_partitions,
            }),
            None => None,
        };
        let control_plane_url = match control_plane_url {
            Some(url) => Some(control_plane(&url, development)?),
            None if development => None,
            None => return Err(ConfigError::ControlPlaneMissing),
        };
        Ok(Self {
            grpc_listen_addr,
            http_listen_addr,
            redis_url,
            events_redis_url,
            kafka,
            control_plane_url,
            data_plane_token: Secret(data_plane_token),
            redis_timeout: Duration::from_millis(redis_timeout_ms),
            events_bytes_max,
            worker_threads,
            log_format,
            otlp_endpoint,
            tuning: Tuning::default(),
        })
    }
}

impl Config {
    /// What the control plane and the feed know this service's token by.
    pub fn token_digest(&self) -> Digest {
        Digest::of(self.data_plane_token.expose().as_bytes())
    }

    /// Memory store, free ports, no control plane, short times. Tests change what they need.
    pub fn for_testing(token: &str) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            grpc_listen_addr: any,
            http_listen_addr: any,
            redis_url: None,
            events_redis_url: None,
            kafka: None,
            control_plane_url: None,
            data_plane_token: Secret(token.to_owned()),
            // Ten times the default: on a busy machine a Redis that is there must not be taken for away.
            redis_timeout: Duration::from_secs(1),
            events_bytes_max: 64 * 1024 * 1024,
            worker_threads: 1,
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            tuning: Tuning {
                sweep_interval: Duration::from_millis(50),
                probe_interval: Duration::from_millis(50),
                poll_backoff_max: Duration::from_millis(500),
                drain: Duration::from_secs(2),
                ..Tuning::default()
            },
        }
    }

    /// For tests: the ledger and the events in one Redis.
    #[must_use]
    pub fn with_redis(mut self, url: &str) -> Self {
        self.redis_url = Some(Secret(url.to_owned()));
        self.events_redis_url = self.redis_url.clone();
        self
    }
}

fn is_token(text: &str) -> bool {
    text.strip_prefix("rgdp_").is_some_and(|rest| {
        rest.len() == 43
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

/// As Kafka itself allows.
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn redis_secret(name: &'static str, url: String) -> Result<Secret, ConfigError> {
    // The client's own parser decides, so that what passes here can be connected to.
    redis::Client::open(url.as_str()).map_err(|_| ConfigError::RedisUrl(name))?;
    Ok(Secret(url))
}

fn control_plane(url: &str, development: bool) -> Result<String, ConfigError> {
    let parsed = Url::parse(url).map_err(|_| ConfigError::ControlPlaneUrl)?;
    let loopback = match parsed.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err(ConfigError::ControlPlaneUrl),
    };
    match parsed.scheme() {
        "http" if loopback || development => {}
        "http" => return Err(ConfigError::ControlPlanePlainText),
        _ => return Err(ConfigError::ControlPlaneUrl),
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "rgdp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn args() -> Args {
        Args {
            rateguard_env: Environment::Production,
            grpc_listen_addr: "127.0.0.1:50051".parse().unwrap(),
            http_listen_addr: "127.0.0.1:50052".parse().unwrap(),
            redis_url: Some("redis://127.0.0.1:6379/0".into()),
            events_redis_url: None,
            kafka_brokers: None,
            kafka_topic: "api-events".into(),
            kafka_topic_partitions: 16,
            control_plane_url: Some("http://127.0.0.1:3000/".into()),
            data_plane_token: TOKEN.into(),
            redis_timeout_ms: 100,
            events_bytes_max: 1,
            worker_threads: 1,
            log_format: LogFormat::Json,
            otlp_endpoint: None,
        }
    }

    fn refusal(change: impl FnOnce(&mut Args)) -> ConfigError {
        let mut args = args();
        change(&mut args);
        Config::try_from(args).expect_err("must be refused")
    }

    #[test]
    fn kafka_is_the_bus_where_brokers_are_named() {
        let mut args = args();
        args.kafka_brokers = Some("k1:9092,k2:9092".into());
        let kafka = Config::try_from(args)
            .expect("sound")
            .kafka
            .expect("brokers are named");
        assert_eq!((kafka.topic.as_str(), kafka.partitions), ("api-events", 16));
        let refused = refusal(|a| {
            a.kafka_brokers = Some("k1:9092".into());
            a.kafka_topic = "api events".into();
        });
        assert_eq!(refused, ConfigError::KafkaTopic);
    }

    #[test]
    fn a_sound_configuration_is_accepted() {
        let config = Config::try_from(args()).expect("sound");
        assert_eq!(config.control_plane_url.as_deref(), Some("http://127.0.0.1:3000"));
        assert_eq!(config.events_redis_url, config.redis_url);
        assert!(!format!("{config:?}").contains(TOKEN));
    }

    #[test]
    fn cp_13_plain_text_beyond_loopback_is_refused_outside_development() {
        let open: SocketAddr = "0.0.0.0:50051".parse().unwrap();
        assert_eq!(
            refusal(|a| a.grpc_listen_addr = open),
            ConfigError::PlainTextBeyondLoopback(open)
        );
        assert_eq!(
            refusal(|a| a.control_plane_url = Some("http://10.0.0.1:3000".into())),
            ConfigError::ControlPlanePlainText
        );
        let mut development = args();
        development.rateguard_env = Environment::Development;
        development.grpc_listen_addr = open;
        development.control_plane_url = Some("http://10.0.0.1:3000".into());
        assert!(Config::try_from(development).is_ok());
    }

    #[test]
    fn each_wrong_value_is_refused_by_name() {
        assert_eq!(
            refusal(|a| a.redis_url = Some("http://x".into())),
            ConfigError::RedisUrl("REDIS_URL")
        );
        assert_eq!(
            refusal(|a| a.events_redis_url = Some("nonsense".into())),
            ConfigError::RedisUrl("EVENTS_REDIS_URL")
        );
        assert_eq!(
            refusal(|a| a.control_plane_url = None),
            ConfigError::ControlPlaneMissing
        );
        assert_eq!(
            refusal(|a| a.control_plane_url = Some("https://127.0.0.1".into())),
            ConfigError::ControlPlaneUrl
        );
        for token in ["", "rgdp_short", &TOKEN[1..], &format!("{TOKEN}A")] {
            assert_eq!(refusal(|a| a.data_plane_token = token.into()), ConfigError::Token);
        }
    }

    #[test]
    fn the_command_line_parses_and_bounds_numbers() {
        let parse = |more: &[&str]| {
            let mut line = vec!["rateguard-ext-ratelimit", "--data-plane-token", TOKEN];
            line.extend(more);
            Args::try_parse_from(line)
        };
        assert!(parse(&["--redis-timeout-ms", "250"]).is_ok_and(|a| a.redis_timeout_ms == 250));
        assert!(parse(&["--redis-timeout-ms", "0"]).is_err());
        assert!(parse(&["--grpc-listen-addr", "localhost"]).is_err());
        assert!(parse(&["--rateguard-env", "staging"]).is_err());
    }
}
