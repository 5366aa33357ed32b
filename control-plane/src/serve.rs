//! The subcommands: what each needs, and the listener's life.

use crate::analytics::{self, Endpoint, worker};
use crate::auth::{reset, upkeep};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AnalyticsConfig, Config, DatabaseConfig, DoctorConfig, Settings};
use crate::db::{feed as feed_rows, migrate};
use crate::doctor::{self, DoctorArgs};
use crate::entropy::SystemEntropy;
use crate::secrets::{Keyring, rotation};
use crate::seed::{self, SeedArgs};
use crate::state::{AppState, Sources};
use crate::{data_plane_token, feed, http, prices, telemetry};
use anyhow::Context as _;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The migrations, compiled in. Ones that only a newer version knows are no fault: they only add, and while versions
/// are rolled out or back this one runs on them.
pub static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator
});

const CONNECTIONS_MAX: u32 = 16;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Exit code of a program that was told to stop twice.
const EXIT_CUT: i32 = 2;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve the REST API, the console, the configuration feed and Envoy's clusters
    Serve {
        /// Run every worker in this process too: the consumer of events
        #[arg(long)]
        all: bool,
    },
    /// Read events from the bus into ClickHouse, as `serve --all` does too
    Analytics,
    /// Bring the database's tables up to date
    Migrate,
    /// Make the demo user, workspace, APIs, key, rules and budget
    Seed(SeedArgs),
    /// Prove that every dependency answers and that the gateway is governed; exit code 1 if not
    Doctor(DoctorArgs),
    /// Print a one-time link with which a person sets a new password
    ResetPassword {
        /// The account's address
        #[arg(long)]
        email: String,
    },
    /// Encrypt every stored credential anew with ENCRYPTION_KEY, while the program serves
    RotateMasterKey,
    /// Help the configuration feed where it hesitates
    Feed {
        #[command(subcommand)]
        command: FeedCommand,
    },
    /// Manage tokens of data planes
    DataPlaneToken {
        #[command(subcommand)]
        command: TokenCommand,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum FeedCommand {
    /// Let data planes take a configuration that leaves out more than half of what they run. They refuse it otherwise
    ForceShrink {
        /// For how long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=1440))]
        minutes: i64,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it once
    Create {
        /// Valid for every workspace. One workspace's tokens are made over REST
        #[arg(long, required = true)]
        all_workspaces: bool,
        /// Shown in lists
        #[arg(long)]
        name: String,
    },
}

/// Runs one subcommand to its end.
pub async fn execute(command: Command, settings: &Settings) -> anyhow::Result<ExitCode> {
    let env = |name: &str| settings.get(name);
    match command {
        Command::Serve { all } => return serve(Config::from_env(&env)?, settings, all).await,
        Command::Analytics => return analytics(AnalyticsConfig::from_env(&env)?, settings).await,
        Command::Migrate => {
            let config = DatabaseConfig::from_env(&env)?;
            migrate(&connect(config.database_url.expose()).await?).await?;
            migrate_clickhouse(config.clickhouse.as_ref()).await?;
        }
        Command::Seed(args) => {
            let config = Config::from_env(&env)?;
            let db = connect(config.database_url.expose()).await?;
            let (_stop, shutdown) = watch::channel(false);
            seed::run(AppState::new(config, db, system_sources(shutdown)), args).await?;
        }
        Command::Doctor(args) => {
            let report = doctor::examine(&DoctorConfig::from_env(&env)?).await;
            if args.json {
                println!("{:#}", report.json());
            } else {
                print!("{report}");
            }
            if report.has_failed() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::ResetPassword { email } => {
            let config = DatabaseConfig::from_env(&env)?;
            let db = connect(config.database_url.expose()).await?;
            let made = reset::create(&db, &SystemClock, &SystemEntropy, &email).await?;
            let token = made.with_context(|| format!("no account has the address {email}"))?;
            println!("{}", reset::link(&config.console_public_url, &token));
        }
        Command::RotateMasterKey => {
            let config = Config::from_env(&env)?;
            let db = connect(config.database_url.expose()).await?;
            let keyring = Keyring::of(&config.encryption_keys);
            let outcome = rotation::rotate(&db, &keyring, &SystemEntropy).await?;
            println!("{outcome}");
            outcome.into_result()?;
        }
        Command::Feed {
            command: FeedCommand::ForceShrink { minutes },
        } => {
            let config = DatabaseConfig::from_env(&env)?;
            let db = connect(config.database_url.expose()).await?;
            let until_ms = SystemClock
                .now_ms()
                .saturating_add(minutes.saturating_mul(60_000));
            feed_rows::let_shrink_until(&db, until_ms).await?;
            println!("data planes may drop what the feed leaves out, for {minutes} min");
        }
        Command::DataPlaneToken {
            command:
                TokenCommand::Create {
                    all_workspaces: _,
                    name,
                },
        } => {
            let config = DatabaseConfig::from_env(&env)?;
            let db = connect(config.database_url.expose()).await?;
            let token =
                data_plane_token::create_for_all_workspaces(&db, &SystemClock, &SystemEntropy, &name).await?;
            println!("{token}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn system_sources(shutdown: watch::Receiver<bool>) -> Sources {
    Sources {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        shutdown,
    }
}

async fn connect(database_url: &str) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect(database_url)
        .await
        .context("cannot reach the database of DATABASE_URL")
}

async fn migrate(db: &PgPool) -> anyhow::Result<()> {
    migrate::run(&MIGRATOR, db.connect_options().as_ref())
        .await
        .context("cannot migrate the database")?;
    println!("the database is up to date");
    Ok(())
}

async fn migrate_clickhouse(endpoint: Option<&Endpoint>) -> anyhow::Result<()> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let applied = analytics::migrate::run(endpoint)
        .await
        .context("cannot migrate the ClickHouse of CLICKHOUSE_URL")?;
    println!("ClickHouse is up to date ({applied} applied)");
    Ok(())
}

async fn serve(config: Config, settings: &Settings, all: bool) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::start(
        config.log_format,
        settings.get("RUST_LOG").as_deref(),
        settings.get("OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(),
    )?;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let db = connect(config.database_url.expose()).await?;
    let listen_addr = config.listen_addr;
    let (stop, shutdown) = watch::channel(false);
    let state = AppState::new(config, db, system_sources(shutdown.clone()));
    if let Err(error) = prices::adopt_catalogue(&state).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "prices stay those of an older catalogue"
        );
    }
    let listener = tokio::net::TcpListener::bind(listen_addr)
        .await
        .with_context(|| format!("cannot listen on LISTEN_ADDR {listen_addr}"))?;
    let background = tokio::spawn(feed::run(state.clone(), shutdown.clone()));
    let upkeep = tokio::spawn(upkeep::run(state.clone(), shutdown.clone()));
    let consumer = tokio::spawn(worker::run_if(all, state.clone(), shutdown.clone()));
    tracing::info!("listening http={}", listener.local_addr()?);
    let mut draining = shutdown;
    let service = http::router(state).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        let _ = draining.wait_for(|stop| *stop).await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => {
            ended?.context("the listener failed")?;
            return Ok(ExitCode::SUCCESS);
        }
        () = signals.next() => {}
    }
    tracing::info!("stopping: new connections are refused, running requests end");
    stop.send_replace(true);
    // Hanging polls answer at once; whatever takes longer than this is cut.
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        let _ = server.await;
        let _ = background.await;
        let _ = consumer.await;
    });
    tokio::select! {
        drained = drained => {
            if drained.is_err() {
                tracing::warn!("some requests did not end in time and are cut");
            }
            upkeep.abort();
            let _ = tokio::task::spawn_blocking(|| telemetry.shutdown()).await;
            Ok(ExitCode::SUCCESS)
        }
        () = signals.next() => {
            tracing::warn!("told to stop a second time: what runs is cut");
            // Not by returning: the runtime would wait for blocking work.
            std::process::exit(EXIT_CUT);
        }
    }
}

async fn analytics(config: AnalyticsConfig, settings: &Settings) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::start(
        config.log_format,
        settings.get("RUST_LOG").as_deref(),
        settings.get("OTEL_EXPORTER_OTLP_ENDPOINT").as_deref(),
    )?;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let listen_addr = config.listen_addr;
    let listener = tokio::net::TcpListener::bind(listen_addr)
        .await
        .with_context(|| format!("cannot listen on LISTEN_ADDR {listen_addr}"))?;
    let (stop, shutdown) = watch::channel(false);
    let worker = worker::Worker::new(config.clickhouse, config.events, &config.limits);
    tracing::info!("listening http={}", listener.local_addr()?);
    let probes = tokio::spawn(axum::serve(listener, worker.probes()).into_future());
    let consumer = tokio::spawn(worker.run(shutdown));
    signals.next().await;
    tracing::info!("stopping: what was read is stored or given back");
    stop.send_replace(true);
    tokio::select! {
        _ = tokio::time::timeout(DRAIN_TIMEOUT, consumer) => {}
        () = signals.next() => std::process::exit(EXIT_CUT),
    }
    probes.abort();
    let _ = tokio::task::spawn_blocking(|| telemetry.shutdown()).await;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT, from the start on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
