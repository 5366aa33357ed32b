//! Bringing up the parts of a Stack, in order, each told where the others are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};

use super::builder::{Detour, Link, StackBuilder};
use super::folder::Folder;
use super::ports::loopback;
use super::process::Process;
use super::secrets::Secrets;
use super::{
    Addresses, Engines, Part, Seed, Stack, artifacts, background, clickhouse, envoy, kafka, ports, postgres,
    redis, services,
};
use crate::proxy::TcpProxy;
use crate::stub::Stub;

impl Stack {
    pub(super) async fn try_start(choices: &StackBuilder) -> Result<Self> {
        (choices.announce)("building what is out of date");
        let programs = artifacts::programs()?;
        let wasm = artifacts::filter_wasm(choices.filter)?;
        let folder = match &choices.home {
            Some(home) => Folder::kept(home)?,
            None => Folder::temporary()?,
        };
        let secrets = Secrets::of(folder.root())?;
        let stub = start_stub(choices).await?;
        let addresses = place(choices, stub.as_ref())?;
        let mut roads = Roads {
            detours: &choices.detours,
            proxies: BTreeMap::new(),
        };

        (choices.announce)("starting Postgres and Redis");
        let mut parts = Self::start_stores(choices, &folder, &addresses).await?;
        let engines = start_engines(choices, &folder, &addresses, &mut parts).await?;

        let mut control_plane = services::ControlPlane {
            database_url: postgres::url(addresses.postgres.port()),
            listen: addresses.control_plane,
            limits: addresses.limits,
            gateway_url: format!("http://{}", addresses.gateway),
            jwt_secret: secrets.jwt_secret,
            encryption_key: secrets.encryption_key,
            limits_token: None,
            extra: BTreeMap::new(),
        };
        let of_engines = engines_env(&engines, &mut roads, &addresses).await?;
        control_plane.extra.extend(of_engines.clone());
        if engines.clickhouse_url.is_some() && !choices.memory_store {
            let redis = format!("redis://{}/", addresses.redis);
            control_plane.extra.insert("REDIS_URL".to_owned(), redis);
        }
        control_plane.extra.extend(choices.control_plane_env.clone());
        (choices.announce)("migrating the database and seeding the demo");
        control_plane.migrate(&programs.control_plane)?;
        let upstream = roads.to(Link::EnvoyToUpstream, addresses.upstream).await?;
        let seed = control_plane.seed(
            &programs.control_plane,
            upstream,
            &folder.root().join("seed.json"),
        )?;
        control_plane.limits_token = Some(seed.data_plane_token.clone());

        (choices.announce)("starting the control plane, the limit service and Envoy");
        let log = folder.log(Part::ControlPlane.name());
        parts.insert(
            Part::ControlPlane,
            control_plane.serve(&programs.control_plane, &log)?,
        );
        let limits = services::Limits {
            grpc: addresses.limits,
            http: addresses.limits_http,
            redis: if choices.memory_store {
                None
            } else {
                Some(roads.to(Link::LimitsToRedis, addresses.redis).await?)
            },
            control_plane: roads
                .to(Link::LimitsToControlPlane, addresses.control_plane)
                .await?,
            token: seed.data_plane_token.clone(),
            extra: of_engines
                .into_iter()
                .filter(|(name, _)| name.starts_with("KAFKA_"))
                .chain(choices.limits_env.clone())
                .collect(),
        };
        let log = folder.log(Part::Limits.name());
        parts.insert(
            Part::Limits,
            limits.serve(Part::Limits.name(), &programs.limits, &log)?,
        );
        let config = folder.root().join("envoy.yaml");
        let values = placeholders(choices, &mut roads, &addresses, &seed, &wasm).await?;
        envoy::render_file(&choices.envoy_config, &config, &values)?;
        parts.insert(
            Part::Envoy,
            envoy::start(&config, &folder.log(Part::Envoy.name()), choices.workers)?,
        );

        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            // A test that hangs fails, and says where.
            .timeout(std::time::Duration::from_secs(90))
            .no_proxy()
            .build()?;
        let proxies = roads.proxies;
        let stack = Self {
            addresses,
            engines,
            seed,
            parts: Mutex::new(parts),
            client,
            stub,
            proxies,
            folder,
            control_plane,
            program: programs.control_plane,
        };
        (choices.announce)("waiting until every part is ready");
        for part in Part::ALL {
            if stack.lock().contains_key(&part) {
                stack.ready(part).await?;
            }
        }
        Ok(stack)
    }

    async fn start_stores(
        choices: &StackBuilder,
        folder: &Folder,
        addresses: &Addresses,
    ) -> Result<BTreeMap<Part, Process>> {
        let mut parts = BTreeMap::new();
        let (data, log) = (folder.data("postgres"), folder.log("postgres"));
        parts.insert(
            Part::Postgres,
            postgres::start(&data, &log, addresses.postgres.port(), choices.durable).await?,
        );
        if !choices.memory_store {
            let (data, log) = (folder.data("redis"), folder.log("redis"));
            parts.insert(
                Part::Redis,
                redis::start(&data, &log, addresses.redis.port(), choices.durable).await?,
            );
        }
        Ok(parts)
    }
}

/// Starts the engines that were asked for and that nobody else has.
async fn start_engines(
    choices: &StackBuilder,
    folder: &Folder,
    addresses: &Addresses,
    parts: &mut BTreeMap<Part, Process>,
) -> Result<Engines> {
    let mut engines = Engines::default();
    if choices.engines.contains(&Part::ClickHouse) {
        (choices.announce)("starting ClickHouse's engine");
        if clickhouse::given_url().is_none() {
            let (data, log) = (folder.data("clickhouse"), folder.log("clickhouse"));
            let process = clickhouse::start(&data, &log, addresses.clickhouse.port()).await?;
            parts.insert(Part::ClickHouse, process);
        }
        engines.clickhouse_url = Some(clickhouse::url(addresses.clickhouse, choices.home.is_some()));
    }
    if choices.engines.contains(&Part::Kafka) {
        (choices.announce)("starting Kafka");
        engines.kafka_brokers = kafka::given_brokers();
        if engines.kafka_brokers.is_none() {
            let (data, log) = (folder.data("kafka"), folder.log("kafka"));
            let (broker, controller) = (addresses.kafka.port(), addresses.kafka_controller.port());
            parts.insert(Part::Kafka, kafka::start(&data, &log, broker, controller).await?);
            engines.kafka_brokers = Some(addresses.kafka.to_string());
        } else if choices.home.is_none() {
            let topic = format!("api-events-{}-{}", std::process::id(), addresses.kafka.port());
            engines.kafka_topic = Some(topic);
        }
    }
    Ok(engines)
}

/// What the control plane and, as far as it is Kafka's, the limit service are told of the engines.
async fn engines_env(
    engines: &Engines,
    roads: &mut Roads<'_>,
    addresses: &Addresses,
) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    if let Some(url) = &engines.clickhouse_url {
        let target = addresses.clickhouse;
        let road = roads.to(Link::ControlPlaneToClickHouse, target).await?;
        let url = url.replace(&target.to_string(), &road.to_string());
        variables.insert("CLICKHOUSE_URL".to_owned(), url);
    }
    for (name, value) in [
        ("KAFKA_BROKERS", &engines.kafka_brokers),
        ("KAFKA_TOPIC", &engines.kafka_topic),
    ] {
        if let Some(value) = value {
            variables.insert(name.to_owned(), value.clone());
        }
    }
    Ok(variables)
}

/// Where connections go, and the proxies that stand in them.
struct Roads<'a> {
    detours: &'a BTreeMap<Link, Detour>,
    proxies: BTreeMap<Link, TcpProxy>,
}

impl Roads<'_> {
    /// The address that a connection uses to reach `target`.
    async fn to(&mut self, link: Link, target: SocketAddr) -> Result<SocketAddr> {
        match self.detours.get(&link) {
            None => Ok(target),
            Some(Detour::Instead(address)) => Ok(*address),
            Some(Detour::Proxy) => {
                let proxy = background().spawn(TcpProxy::start(target)).await??;
                let address = proxy.addr();
                self.proxies.insert(link, proxy);
                Ok(address)
            }
        }
    }
}

async fn start_stub(choices: &StackBuilder) -> Result<Option<Stub>> {
    if choices.upstream.is_some() {
        return Ok(None);
    }
    let started = match choices.lasting_stub_port {
        Some(port) => {
            background()
                .spawn(Stub::start_without_log(loopback(port)))
                .await?
        }
        None => background().spawn(Stub::start(loopback(ports::free()?))).await?,
    };
    Ok(Some(started.context("starting the stub upstream")?))
}

fn place(choices: &StackBuilder, stub: Option<&Stub>) -> Result<Addresses> {
    let port = |wanted: Option<u16>| wanted.map_or_else(ports::free, Ok).map(loopback);
    Ok(Addresses {
        gateway: port(choices.gateway_port)?,
        admin: port(None)?,
        control_plane: port(choices.console_port)?,
        limits: port(None)?,
        limits_http: port(None)?,
        redis: port(None)?,
        postgres: port(None)?,
        clickhouse: port(None)?,
        kafka: port(None)?,
        kafka_controller: port(None)?,
        upstream: choices.upstream.or(stub.map(Stub::addr)).context("no upstream")?,
    })
}

async fn placeholders(
    choices: &StackBuilder,
    roads: &mut Roads<'_>,
    addresses: &Addresses,
    seed: &Seed,
    wasm: &Path,
) -> Result<envoy::Placeholders> {
    let limits = roads.to(Link::EnvoyToLimits, addresses.limits).await?;
    let control_plane = roads
        .to(Link::EnvoyToControlPlane, addresses.control_plane)
        .await?;
    Ok(envoy::Placeholders::from([
        ("GATEWAY_ADDRESS", addresses.gateway.ip().to_string()),
        ("GATEWAY_PORT", addresses.gateway.port().to_string()),
        ("ADMIN_PORT", addresses.admin.port().to_string()),
        ("FILTER_WASM", wasm.display().to_string()),
        ("LIMITS_HOST", limits.ip().to_string()),
        ("LIMITS_PORT", limits.port().to_string()),
        ("CONTROL_PLANE_HOST", control_plane.ip().to_string()),
        ("CONTROL_PLANE_PORT", control_plane.port().to_string()),
        ("DATA_PLANE_TOKEN", seed.data_plane_token.clone()),
        ("RESERVE_TIMEOUT_MS", choices.reserve_timeout_ms.to_string()),
        ("NODE_ID", format!("stack-{}", addresses.gateway.port())),
        ("CORS_ORIGINS_REGEX", ".*".to_owned()),
        ("CA_FILE", envoy::authorities()?.display().to_string()),
    ]))
}
