//! What a test may choose about its Stack.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::artifacts::{FilterBuild, repository};
use super::{Part, Stack, is_port_conflict};

/// A connection between two parts that a proxy of the test can stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The filter's gRPC calls.
    EnvoyToLimits,
    /// The filter's configuration poll and Envoy's clusters.
    EnvoyToControlPlane,
    /// What Envoy forwards.
    EnvoyToUpstream,
    /// The limit service's store.
    LimitsToRedis,
    /// The limit service's own feed.
    LimitsToControlPlane,
    /// The control plane's inserts and queries.
    ControlPlaneToClickHouse,
}

/// What stands in a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Detour {
    /// A proxy that the Stack starts and [`Stack::proxy`] hands out.
    Proxy,
    /// A server of the test, in place of the part.
    Instead(SocketAddr),
}

/// How often a Stack is started anew when somebody else took one of its ports in the meantime.
const START_ATTEMPTS: u32 = 3;

/// Choices for a [`Stack`]; every one has a default that suits most tests.
pub struct StackBuilder {
    pub(super) workers: u32,
    pub(super) reserve_timeout_ms: u32,
    pub(super) filter: FilterBuild,
    pub(super) memory_store: bool,
    /// Which of [`Part::ClickHouse`] and [`Part::Kafka`] are wanted.
    pub(super) engines: BTreeSet<Part>,
    pub(super) durable: bool,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) home: Option<PathBuf>,
    pub(super) gateway_port: Option<u16>,
    pub(super) console_port: Option<u16>,
    pub(super) lasting_stub_port: Option<u16>,
    pub(super) announce: fn(&str),
    pub(super) envoy_config: PathBuf,
    pub(super) control_plane_env: BTreeMap<String, String>,
    pub(super) limits_env: BTreeMap<String, String>,
    pub(super) detours: BTreeMap<Link, Detour>,
}

impl Default for StackBuilder {
    fn default() -> Self {
        Self {
            workers: 2,
            // Generous: a loaded machine must not turn a test of limits into one of failing open.
            reserve_timeout_ms: 5_000,
            filter: FilterBuild::Plain,
            memory_store: false,
            engines: BTreeSet::new(),
            durable: false,
            upstream: None,
            home: None,
            gateway_port: None,
            console_port: None,
            lasting_stub_port: None,
            announce: |_| {},
            envoy_config: repository().join("envoy/gateway.yaml"),
            control_plane_env: BTreeMap::new(),
            limits_env: BTreeMap::new(),
            detours: BTreeMap::new(),
        }
    }
}

impl StackBuilder {
    /// Envoy's worker threads; default 2.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// How long the filter waits for a decision; default 5 000 ms here, 150 ms in the product.
    #[must_use]
    pub fn reserve_timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.reserve_timeout_ms = timeout_ms;
        self
    }

    /// Which build of the filter Envoy loads; default plain.
    #[must_use]
    pub fn filter(mut self, build: FilterBuild) -> Self {
        self.filter = build;
        self
    }

    /// Starts no Redis: the limit service keeps everything in its own memory.
    #[must_use]
    pub fn memory_store(mut self) -> Self {
        self.memory_store = true;
        self
    }

    /// Starts ClickHouse's engine, unless `CLICKHOUSE_URL` names a server, and tells the control plane of it.
    #[must_use]
    pub fn clickhouse(mut self) -> Self {
        self.engines.insert(Part::ClickHouse);
        self
    }

    /// Starts a Kafka broker, unless `KAFKA_BROKERS` names some, and makes it the bus of the events.
    #[must_use]
    pub fn kafka(mut self) -> Self {
        self.engines.insert(Part::Kafka);
        self
    }

    /// Postgres and Redis write to disk as in production, so that their data survives a kill and a restart.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Where the demo's APIs send their requests; default the Stack's own upstream.
    #[must_use]
    pub fn upstream(mut self, upstream: SocketAddr) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Keeps data, secrets and the demo in this folder from one Stack to the next; default a temporary one.
    #[must_use]
    pub fn home(mut self, folder: &Path) -> Self {
        self.home = Some(folder.to_owned());
        self
    }

    /// The gateway's port; default a free one.
    #[must_use]
    pub fn gateway_port(mut self, port: u16) -> Self {
        self.gateway_port = Some(port);
        self
    }

    /// The control plane's port; default a free one.
    #[must_use]
    pub fn console_port(mut self, port: u16) -> Self {
        self.console_port = Some(port);
        self
    }

    /// Another template than `envoy/gateway.yaml` for Envoy's configuration.
    #[must_use]
    pub fn envoy_config(mut self, template: &Path) -> Self {
        self.envoy_config = template.into();
        self
    }

    /// Sets a variable of the control plane's environment.
    #[must_use]
    pub fn control_plane_env(mut self, name: &str, value: &str) -> Self {
        self.control_plane_env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable of the limit service's environment.
    #[must_use]
    pub fn limits_env(mut self, name: &str, value: &str) -> Self {
        self.limits_env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a TCP proxy into a connection; [`Stack::proxy`] switches it while the Stack runs.
    #[must_use]
    pub fn proxied(mut self, link: Link) -> Self {
        self.detours.insert(link, Detour::Proxy);
        self
    }

    /// Leads a connection to a server of the test instead of the part.
    #[must_use]
    pub fn redirected(mut self, link: Link, target: SocketAddr) -> Self {
        self.detours.insert(link, Detour::Instead(target));
        self
    }

    /// Is told each step of starting, for people who wait.
    #[must_use]
    pub fn announce(mut self, announce: fn(&str)) -> Self {
        self.announce = announce;
        self
    }

    /// The stub's port; default a free one. It keeps no log of requests, so that it can run for days.
    #[must_use]
    pub fn lasting_stub_port(mut self, port: u16) -> Self {
        self.lasting_stub_port = Some(port);
        self
    }

    /// Starts every part and waits until a governed request would be answered.
    ///
    /// # Errors
    /// A part does not come up: which one, why, and the end of its log.
    pub async fn start(self) -> Result<Stack> {
        let mut attempt = 1;
        loop {
            match Stack::try_start(&self).await {
                Err(error) if is_port_conflict(&error) && attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }
}
