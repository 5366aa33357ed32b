//! Every real server of a governed request, started together: Postgres, Redis, the control plane, the limit service,
//! Envoy with the filter, and an upstream; where a test asks for them, ClickHouse's engine and a Kafka broker.
//!
//! A Stack has free ports and a folder of its own, so any number of them run side by side. It is ready when the
//! gateway says so *and* refuses a wrong key at every worker (DESIGN fact 2). Whatever happens to this process, its
//! parts end with it.

pub mod artifacts;
mod builder;
pub mod clickhouse;
pub mod envoy;
pub mod folder;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
mod secrets;
pub mod services;
mod starting;
pub mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

pub use artifacts::FilterBuild;
pub use builder::{Link, StackBuilder};
pub use services::Seed;

use crate::proxy::TcpProxy;
use crate::stub::Stub;
use folder::Folder;
use process::{GRACE, Process};

/// How long one part may take to be ready: ten times what an idle machine needs.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A key of the right form, checksum included (SPEC 1.1), that nobody has.
pub const UNKNOWN_KEY: &str = "rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF";

/// A part of a Stack, in the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The control plane's database.
    Postgres,
    /// The limit service's store.
    Redis,
    /// ClickHouse's engine; only where it is asked for.
    ClickHouse,
    /// A Kafka broker; only where it is asked for.
    Kafka,
    /// `rateguard-control-plane serve`.
    ControlPlane,
    /// `rateguard-ext-ratelimit`.
    Limits,
    /// Envoy with the filter.
    Envoy,
}

impl Part {
    /// Every part, in the order in which they start.
    pub const ALL: [Self; 7] = [
        Self::Postgres,
        Self::Redis,
        Self::ClickHouse,
        Self::Kafka,
        Self::ControlPlane,
        Self::Limits,
        Self::Envoy,
    ];

    /// Its name in messages, file names and `./dev`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::ClickHouse => "clickhouse",
            Self::Kafka => "kafka",
            Self::ControlPlane => "control-plane",
            Self::Limits => "limits",
            Self::Envoy => "envoy",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the parts of a Stack listen, detours not counted.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Envoy's listener.
    pub gateway: SocketAddr,
    /// Envoy's admin interface.
    pub admin: SocketAddr,
    /// REST, configuration feed and clusters.
    pub control_plane: SocketAddr,
    /// The limit service's gRPC.
    pub limits: SocketAddr,
    /// The limit service's `/health`, `/ready`, `/metrics`.
    pub limits_http: SocketAddr,
    /// Redis; nothing is there with the memory store.
    pub redis: SocketAddr,
    /// Postgres.
    pub postgres: SocketAddr,
    /// ClickHouse's engine; nothing is there unless it was asked for.
    pub clickhouse: SocketAddr,
    /// The Kafka broker; nothing is there unless it was asked for.
    pub kafka: SocketAddr,
    /// Where the broker's own controller listens.
    pub kafka_controller: SocketAddr,
    /// What the demo's APIs call.
    pub upstream: SocketAddr,
}

/// Every server of a governed request. Dropping it stops them, and after a panic shows their logs.
pub struct Stack {
    addresses: Addresses,
    engines: Engines,
    seed: Seed,
    parts: Mutex<BTreeMap<Part, Process>>,
    /// A connection per request, so that successive requests reach different workers.
    client: reqwest::Client,
    stub: Option<Stub>,
    proxies: BTreeMap<Link, TcpProxy>,
    folder: Folder,
    /// How the control plane was started, for more of them.
    control_plane: services::ControlPlane,
    program: PathBuf,
}

/// The engines of a Stack as its programs are told of them: its own, or those that this process was told to use.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    /// `CLICKHOUSE_URL`, `http://host:port/database`.
    pub clickhouse_url: Option<String>,
    /// `KAFKA_BROKERS`, `host:port,…`.
    pub kafka_brokers: Option<String>,
    /// `KAFKA_TOPIC`, a topic of this Stack alone.
    pub kafka_topic: Option<String>,
}

impl Stack {
    /// Choices, and [`StackBuilder::start`].
    #[must_use]
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// A Stack with every default.
    ///
    /// # Errors
    /// A part does not come up: which one, why, and the end of its log.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Where its parts listen.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// ClickHouse and Kafka, where they were asked for.
    #[must_use]
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Whether it started this part itself.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.lock().contains_key(&part)
    }

    /// The demo user, workspace, APIs, key and data-plane token.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The folder with data, logs and rendered files.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// `http://…` of the gateway.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.addresses.gateway)
    }

    /// `http://…` of the REST API.
    #[must_use]
    pub fn console_url(&self) -> String {
        format!("http://{}", self.addresses.control_plane)
    }

    /// An HTTP client that opens a connection per request, so that successive requests reach different workers.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The stub upstream and what reached it.
    ///
    /// # Panics
    /// The Stack was told to use another upstream.
    #[must_use]
    pub fn stub(&self) -> &Stub {
        self.stub
            .as_ref()
            .expect("this Stack uses an upstream of the test")
    }

    /// The proxy in a connection.
    ///
    /// # Panics
    /// The Stack was not told to put one there ([`StackBuilder::proxied`]).
    #[must_use]
    pub fn proxy(&self, link: Link) -> &TcpProxy {
        self.proxies
            .get(&link)
            .unwrap_or_else(|| panic!("no proxy stands in {link:?}"))
    }

    /// Ends a part the hard way (SIGKILL).
    pub fn kill(&self, part: Part) {
        self.with(part, Process::kill);
    }

    /// Ends a part as an operator would (SIGTERM, SIGKILL only when it does not end).
    pub fn stop(&self, part: Part) {
        self.with(part, |process| process.stop(GRACE));
    }

    /// Freezes a part (SIGSTOP): its sockets stay open and nothing answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self, part: Part) -> Result<()> {
        self.with(part, |process| process.freeze())
            .unwrap_or_else(|| Err(anyhow!("there is no {part}")))
    }

    /// Lets a frozen part go on (SIGCONT).
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self, part: Part) -> Result<()> {
        self.with(part, |process| process.thaw())
            .unwrap_or_else(|| Err(anyhow!("there is no {part}")))
    }

    /// Lets a part write nothing to any file, as on a full disk, or again what it likes ([`Process::fill_disk`]).
    ///
    /// # Errors
    /// It is not running, or this is not Linux.
    pub fn fill_disk(&self, part: Part, is_full: bool) -> Result<()> {
        self.with(part, |process| process.fill_disk(is_full))
            .unwrap_or_else(|| Err(anyhow!("there is no {part}")))
    }

    /// Starts a part again, on the same port with the same data, without waiting for it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch(&self, part: Part) -> Result<()> {
        self.with(part, Process::restart)
            .unwrap_or_else(|| Err(anyhow!("there is no {part}")))
    }

    /// Starts a part again, on the same port with the same data, and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up: the end of its log is in the error.
    pub async fn restart(&self, part: Part) -> Result<()> {
        self.launch(part)?;
        self.ready(part).await
    }

    /// Starts one more control plane on the same database, which listens there, and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up: the end of its log is in the error.
    pub async fn replica(&self, listen: SocketAddr) -> Result<Process> {
        let configuration = services::ControlPlane {
            listen,
            ..self.control_plane.clone()
        };
        let log = self.folder.log(&format!("control-plane-{}", listen.port()));
        let mut process = configuration.serve(&self.program, &log)?;
        wait::ready(&mut process, READY_WITHIN, async || {
            self.answers_ready(listen).await
        })
        .await?;
        Ok(process)
    }

    /// How a part ended, if it did so by itself.
    pub fn exited(&self, part: Part) -> Option<ExitStatus> {
        self.with(part, Process::exited).flatten()
    }

    /// The process id of a part, while it runs.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.with(part, |process| process.pid()).flatten()
    }

    /// The whole log of a part.
    ///
    /// # Errors
    /// It cannot be read, or there is no such part.
    pub fn log(&self, part: Part) -> Result<String> {
        self.with(part, |process| process.log_text())
            .unwrap_or_else(|| Err(anyhow!("there is no {part}")))
    }

    /// Waits until a part can do its work.
    ///
    /// # Errors
    /// It ends, or is not ready in time: the end of its log is in the error.
    pub async fn ready(&self, part: Part) -> Result<()> {
        let outcome = wait::while_running(
            part.name(),
            READY_WITHIN,
            || self.exited(part),
            async || match part {
                Part::Postgres => self.connects(self.addresses.postgres).await,
                Part::Redis => redis::ping(self.addresses.redis.port()).await,
                Part::ClickHouse => clickhouse::ping(self.addresses.clickhouse).await,
                Part::Kafka => self
                    .with(part, |process| kafka::has_started(process))
                    .unwrap_or(Ok(())),
                Part::ControlPlane => {
                    self.has_bound(part)?;
                    self.answers_ready(self.addresses.control_plane).await
                }
                Part::Limits => {
                    self.has_bound(part)?;
                    self.answers_ready(self.addresses.limits_http).await
                }
                Part::Envoy => self.gateway_is_ready().await,
            },
        )
        .await;
        outcome.with_context(|| {
            let tail = self.with(part, |process| process.log_tail()).unwrap_or_default();
            format!("end of the log of {part}:\n{tail}")
        })
    }

    /// The answer of Envoy's admin interface to a GET.
    ///
    /// # Errors
    /// It does not answer 200.
    pub async fn admin(&self, path_and_query: &str) -> Result<String> {
        let url = format!("http://{}{path_and_query}", self.addresses.admin);
        Ok(self
            .client
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// Envoy's counters and gauges whose name matches a regular expression, by name.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn envoy_stats(&self, filter: &str) -> Result<BTreeMap<String, u64>> {
        let url = format!("http://{}/stats", self.addresses.admin);
        let answer = self
            .client
            .get(url)
            .query(&[("filter", filter)])
            .send()
            .await?
            .error_for_status()?;
        let text = answer.text().await?;
        Ok(text
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// Runs one Redis command, past any detour.
    ///
    /// # Errors
    /// Redis is not there, or refuses it.
    pub async fn redis_command(&self, words: &[&str]) -> Result<::redis::Value> {
        let (name, arguments) = words.split_first().context("an empty command")?;
        let mut connection = redis::connect(self.addresses.redis.port()).await?;
        ::redis::cmd(name)
            .arg(arguments)
            .query_async(&mut connection)
            .await
            .with_context(|| format!("redis {name}"))
    }

    /// Keeps it until this process ends, for all tests of a program; a panic of any of them shows its logs.
    #[must_use]
    pub fn share(self) -> &'static Self {
        let shared: &'static Self = Box::leak(Box::new(self));
        let earlier_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            earlier_hook(panic);
            shared.print_logs();
        }));
        shared
    }

    /// Prints the end of every part's log.
    pub fn print_logs(&self) {
        for (part, process) in self.lock().iter() {
            eprintln!(
                "──── {part} ({}) ────\n{}",
                process.log_path().display(),
                process.log_tail()
            );
        }
    }

    async fn connects(&self, address: SocketAddr) -> Result<()> {
        tokio::net::TcpStream::connect(address).await?;
        Ok(())
    }

    /// Our own program has its port. Another Stack's may answer there, if it was quicker to take it.
    fn has_bound(&self, part: Part) -> Result<()> {
        ensure!(
            self.log(part)?.contains("listening "),
            "{part} does not listen yet"
        );
        Ok(())
    }

    async fn answers_ready(&self, address: SocketAddr) -> Result<()> {
        let answer = self.client.get(format!("http://{address}/ready")).send().await?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "GET /ready answered {status}: {}",
            answer.text().await.unwrap_or_default()
        );
        Ok(())
    }

    /// Every worker has a snapshot and refuses a key that nobody has, and Envoy has the demo's clusters.
    async fn gateway_is_ready(&self) -> Result<()> {
        self.answers_ready(self.addresses.gateway).await?;
        let clusters = self.admin("/clusters").await?;
        for (slug, id) in &self.seed.apis {
            ensure!(
                clusters.contains(&format!("api_{id}")),
                "Envoy has no cluster for the API {slug}"
            );
        }
        // The kernel spreads connections over the workers; so many in a row miss none of a few but rarely.
        for _ in 0..12 {
            let url = format!("{}/proxy/openai/v1/models", self.gateway_url());
            let answer = self.client.get(url).bearer_auth(UNKNOWN_KEY).send().await?;
            ensure!(
                answer.status() == 401,
                "an unknown key got {} at the gateway",
                answer.status()
            );
        }
        Ok(())
    }

    fn with<T>(&self, part: Part, act: impl FnOnce(&mut Process) -> T) -> Option<T> {
        self.lock().get_mut(&part).map(act)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Process>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        for process in self.lock().values_mut().rev() {
            process.stop(GRACE);
        }
    }
}

/// Whether a Stack failed to start because a port was no longer free.
#[must_use]
pub fn is_port_conflict(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("address already in use") || text.contains("address in use")
}

/// The runtime of servers that live in this process. It outlives the test that first needs it.
///
/// # Panics
/// The runtime cannot be made.
pub fn background() -> &'static tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("background")
                .enable_all()
                .build()
                .expect("a runtime for in-process servers")
        })
        .handle()
}
