//! Puts the parts together, starts them, and stops them in order.

use crate::clock;
use crate::config::Config;
use crate::degraded::Failover;
use crate::events::{Discard, EventBus, Kafka, RedisStreams};
use crate::feed::{Feed, Poller};
use crate::grpc::auth::Authenticator;
use crate::grpc::server::{self, Dispatch};
use crate::grpc::{LastStates, Limits, Resolver, Usage};
use crate::http::{self, Probes};
use crate::ledger::Ledger;
use crate::ledger::memory::MemoryLedger;
use crate::ledger::redis::RedisLedger;
use crate::metrics::Metrics;
use crate::restore::{Restorer, SpendSource};
use crate::store::{self, StoreError};
use crate::sweeper::Sweeper;
use crate::telemetry::Throttle;
use crate::workers::{Registry, Workers};
use rateguard_model::id::RequestId;
use rateguard_wire::v1::limit_service_server::LimitServiceServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Warnings of one kind are logged this often at most.
const WARNING_INTERVAL_MS: i64 = 10_000;

/// How long the bus may take for a batch; the caller's own deadline is usually shorter.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {addr}")]
    Listen {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("KAFKA_BROKERS or KAFKA_TOPIC cannot be used")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    #[error("the descriptors for reflection cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running service.
pub struct Server {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<bool>,
    health: HealthReporter,
    grpc: JoinHandle<()>,
    /// Ends with the server.
    background: JoinSet<()>,
}

impl Server {
    /// Connects, listens and serves. Redis away is no reason not to start; a Redis that evicts is.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new());
        let workers = Arc::new(Workers::default());
        let mut background = JoinSet::new();
        let primary = match &config.redis_url {
            None => {
                tracing::warn!(
                    "no REDIS_URL: counters live in this process, which must be the only instance"
                );
                None
            }
            Some(url) => {
                let connection = store::connect("REDIS_URL", url.expose(), ledger_timeout(&config))?;
                store::refuse_eviction("REDIS_URL", connection.clone()).await?;
                background.spawn(Registry::new(connection.clone()).run(workers.clone()));
                Some(RedisLedger::new(connection).with_timeout(ledger_timeout(&config)))
            }
        };
        let bus = event_bus(&config, &metrics, &mut background).await?;
        let ledger = Arc::new(Failover::new(
            primary,
            MemoryLedger::new(),
            workers.clone(),
            metrics.clone(),
            config.redis_timeout,
            config.tuning,
        ));
        Self::start_with(config, ledger, bus, workers, metrics, background).await
    }

    async fn start_with<P: Ledger, F: Ledger>(
        config: Config,
        ledger: Arc<Failover<P, F>>,
        bus: Arc<dyn EventBus>,
        workers: Arc<Workers>,
        metrics: Arc<Metrics>,
        mut background: JoinSet<()>,
    ) -> Result<Self, StartError> {
        let feed = Arc::new(Feed::default());
        let restorer = Arc::new(Restorer::new(
            ledger.clone(),
            bus.clone(),
            feed.clone(),
            SpendSource::new(&config)?,
            config.tuning.restore_grace,
            metrics.clone(),
        ));
        background.spawn(restorer.clone().watch());
        let warning = Throttle::new(WARNING_INTERVAL_MS);
        let resolver = Arc::new(Resolver::new(ledger.clone(), metrics.clone(), warning));
        let limits = Limits {
            ledger: ledger.clone(),
            restorer: restorer.clone(),
            auth: Authenticator::new(feed.clone(), config.token_digest()),
            feed: feed.clone(),
            usage: Arc::new(Usage::new(resolver.clone(), bus.clone(), metrics.clone())),
            resolver,
            workers: workers.clone(),
            metrics: metrics.clone(),
            last_states: LastStates::default(),
        };
        let (health, health_service) = tonic_health::server::health_reporter();
        let dispatch = Dispatch {
            limits: LimitServiceServer::new(limits),
            health: health_service,
            reflection: tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(rateguard_wire::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .build_v1()?,
        };
        let (grpc_listener, grpc_addr) = listen(config.grpc_listen_addr).await?;
        let (http_listener, http_addr) = listen(config.http_listen_addr).await?;

        let poller = Poller::new(&config, node_id(), feed.clone(), metrics.clone())?;
        let probes = Probes {
            ledger: ledger.clone(),
            feed: feed.clone(),
            restorer: restorer.clone(),
            has_control_plane: poller.is_some(),
            workers: workers.clone(),
            metrics: metrics.clone(),
        };
        if let Some(poller) = poller {
            background.spawn(poller.run());
        }
        let sweeper = Sweeper::new(
            ledger.clone(),
            bus,
            feed,
            metrics.clone(),
            Throttle::new(WARNING_INTERVAL_MS),
        );
        background.spawn(sweeper.run(config.tuning.sweep_interval));
        background.spawn(watch_redis(
            ledger,
            workers,
            metrics,
            config.tuning.probe_interval,
        ));
        let router = http::router(Arc::new(probes));
        background.spawn(async move {
            if let Err(error) = axum::serve(http_listener, router).await {
                tracing::error!(%error, "the HTTP port failed");
            }
        });

        let (stop, stopped) = watch::channel(false);
        let grpc = tokio::spawn(server::serve(
            grpc_listener,
            dispatch,
            stopped,
            config.tuning.drain,
        ));
        let name = <LimitServiceServer<Limits<P, F>> as tonic::server::NamedService>::NAME;
        health.set_service_status(name, ServingStatus::Serving).await;
        tracing::info!("listening grpc={grpc_addr} http={http_addr}");
        Ok(Self {
            grpc_addr,
            http_addr,
            stop,
            health,
            grpc,
            background,
        })
    }

    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Says NOT_SERVING, sends GOAWAY, lets calls in flight finish for a bounded time, ends the rest.
    pub async fn shutdown(mut self) {
        for service in ["", rateguard_wire::v1::limit_service_server::SERVICE_NAME] {
            self.health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
        // An error means that nobody listens any more.
        let _ = self.stop.send(true);
        if let Err(error) = (&mut self.grpc).await {
            tracing::error!(%error, "the gRPC port failed");
        }
        self.background.shutdown().await;
        tracing::info!("stopped");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.grpc.abort();
    }
}

/// The bus that the configuration asks for, and what has to run beside it.
async fn event_bus(
    config: &Config,
    metrics: &Arc<Metrics>,
    background: &mut JoinSet<()>,
) -> Result<Arc<dyn EventBus>, StartError> {
    if let Some(kafka) = &config.kafka {
        background.spawn(Kafka::ensure_topic(kafka.clone()));
        return Ok(Arc::new(Kafka::new(kafka.clone(), metrics.clone())?));
    }
    let Some(url) = &config.events_redis_url else {
        return Ok(Arc::new(Discard::new(metrics.clone())));
    };
    let connection = store::connect("EVENTS_REDIS_URL", url.expose(), EVENTS_TIMEOUT)?;
    store::refuse_eviction("EVENTS_REDIS_URL", connection.clone()).await?;
    store::warn_of_forgetting("EVENTS_REDIS_URL", connection.clone()).await;
    let streams = Arc::new(RedisStreams::new(
        connection,
        config.events_bytes_max,
        metrics.clone(),
    ));
    let measured = streams.clone();
    background.spawn(async move { measured.measure_forever().await });
    Ok(streams)
}

/// The connection's own patience is above every call's: deadlines are decided per call, and a command that was sent
/// must not be counted as failed while its caller still waits.
fn ledger_timeout(config: &Config) -> Duration {
    config
        .redis_timeout
        .saturating_mul(10)
        .max(Duration::from_secs(10))
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A name that tells this process from its siblings and from its predecessor.
fn node_id() -> String {
    let now_ms = u64::try_from(clock::now_ms()).unwrap_or(0);
    format!("ext-ratelimit/{}", RequestId::v7(now_ms, rand::random()))
}

/// Probes a Redis that is away, forgets workers that are, and counts the seconds without Redis.
async fn watch_redis<P: Ledger, F: Ledger>(
    ledger: Arc<Failover<P, F>>,
    workers: Arc<Workers>,
    metrics: Arc<Metrics>,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_ms = clock::now_ms();
    loop {
        ticks.tick().await;
        let now_ms = clock::now_ms();
        if ledger.is_degraded() {
            metrics
                .degraded_seconds
                .inc_by(now_ms.saturating_sub(last_ms).max(0) as f64 / 1_000.0);
            ledger.probe(now_ms).await;
        }
        last_ms = now_ms;
        workers.sweep(now_ms);
    }
}
