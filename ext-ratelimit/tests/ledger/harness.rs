//! Both stores behind one face, with a clock that the test moves.

use rateguard_ext_ratelimit::ledger::memory::MemoryLedger;
use rateguard_ext_ratelimit::ledger::redis::RedisLedger;
use rateguard_ext_ratelimit::ledger::{
    Caller, Ledger, QuotaResult, Reserve, Reserved, SettledAmount, Settlement,
};
use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::{FailureMode, Meter, Mode, Quota, QuotaKind, Unit};
use rateguard_model::window::Window;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([0x11; 16]);

/// Lua's clock in tests that move time.
const TEST_CLOCK: &str = "local function now_ms() return tonumber(redis.call('GET', 'clock')) end";

/// A redis-server of the test's own, on a unix socket in its own folder.
pub(crate) struct RedisServer {
    child: Child,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), arguments).await
    }

    /// Another process at the same address.
    pub(crate) async fn restart(mut self) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"));
        Self::start_in(folder, &[]).await
    }

    async fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
                "redis.sock",
            ])
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let server = Self { child, folder };
        let deadline = Instant::now() + DEADLINE;
        while server.try_admin().await.is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server
    }

    fn client(&self) -> redis::Client {
        let path = self.folder.path().join("redis.sock");
        redis::Client::open(format!("redis+unix://{}", path.display())).expect("a socket's url")
    }

    async fn try_admin(&self) -> Option<MultiplexedConnection> {
        let mut connection = self.client().get_multiplexed_async_connection().await.ok()?;
        let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        pong.ok().map(|_| connection)
    }

    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        self.try_admin().await.expect("redis-server answers")
    }

    pub(crate) fn connection(&self) -> ConnectionManager {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(5)))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(Duration::from_millis(50));
        ConnectionManager::new_lazy_with_config(self.client(), config).expect("a connection")
    }

    /// A ledger by the server's clock.
    pub(crate) fn ledger(&self) -> RedisLedger {
        RedisLedger::new(self.connection()).with_timeout(Duration::from_secs(5))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .expect("kill")
                .success()
        );
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A store whose time the test decides.
pub(crate) trait Store: Send + Sync + 'static {
    type Ledger: Ledger;

    fn open() -> impl Future<Output = Self> + Send;
    fn ledger(&self) -> &Self::Ledger;
    fn now_ms(&self) -> i64;
    fn advance(&self, ms: i64) -> impl Future<Output = ()> + Send;
}

pub(crate) struct Memory {
    ledger: MemoryLedger,
    now_ms: AtomicI64,
}

impl Store for Memory {
    type Ledger = MemoryLedger;

    async fn open() -> Self {
        Self {
            ledger: MemoryLedger::new(),
            now_ms: AtomicI64::new(start_ms()),
        }
    }

    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    async fn advance(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

pub(crate) struct Redis {
    ledger: RedisLedger,
    pub(crate) server: RedisServer,
    now_ms: AtomicI64,
}

impl Store for Redis {
    type Ledger = RedisLedger;

    async fn open() -> Self {
        let server = RedisServer::start(&[]).await;
        let ledger = RedisLedger::with_test_clock(server.connection(), TEST_CLOCK)
            .with_timeout(Duration::from_secs(10));
        let store = Self {
            ledger,
            server,
            now_ms: AtomicI64::new(start_ms()),
        };
        store.advance(0).await;
        store
    }

    fn ledger(&self) -> &RedisLedger {
        &self.ledger
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    async fn advance(&self, ms: i64) {
        let now_ms = self.now_ms.fetch_add(ms, Ordering::SeqCst) + ms;
        let mut admin = self.server.admin().await;
        let _: () = redis::cmd("SET")
            .arg("clock")
            .arg(now_ms)
            .query_async(&mut admin)
            .await
            .expect("SET");
    }
}

/// Ten minutes into an hour ahead of the wall clock: the same place in every window at any time of day, and nothing
/// expires by Redis' own clock before it should.
pub(crate) fn start_ms() -> i64 {
    (wall_ms() / 3_600_000 + 1) * 3_600_000 + 600_000
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests on the real clock need to read it"
)]
pub(crate) fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    since.as_millis() as i64
}

/// A new id of this instant.
pub(crate) fn request_id(now_ms: i64) -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    RequestId::v7(now_ms as u64, random)
}

/// Quota number `n`, of kind RULE, counting requests, one a request.
pub(crate) fn quota(n: u8, limit: i64, meter: Meter) -> Quota {
    Quota {
        id: QuotaId::from_bytes([n; 16]),
        version: 1,
        kind: QuotaKind::Rule,
        unit: Unit::Requests,
        limit,
        meter,
        mode: Mode::Enforce,
        failure_mode: FailureMode::FailOpen,
        partition: format!("key.{n}"),
        amount: 1,
    }
}

/// A budget of nano-USD over a window of its own length.
pub(crate) fn budget(n: u8, limit: i64, amount: i64, window: Window) -> Quota {
    let meter = Meter::FixedWindow { window };
    Quota {
        kind: QuotaKind::Budget,
        unit: Unit::NanoUsd,
        amount,
        ..quota(n, limit, meter)
    }
}

/// Seventeen years: tests on the wall clock do not see it end before 2039.
pub(crate) const LONG: Window = Window::Rolling { ms: 1 << 39 };

/// An hour, aligned to the epoch.
pub(crate) const HOUR: Window = Window::Rolling { ms: 3_600_000 };

/// Who makes every reservation of these tests.
pub(crate) const CALLER: Caller = Caller {
    key_id: Some(KeyId::from_bytes([7; 16])),
    api_id: Some(ApiId::from_bytes([8; 16])),
};

pub(crate) fn request(id: RequestId, quotas: &[Quota]) -> Reserve {
    Reserve {
        id,
        workspace_id: WORKSPACE,
        caller: CALLER,
        ttl_ms: 60_000,
        whole_since_ms: None,
        quotas: quotas.to_vec(),
        members: Vec::new(),
    }
}

/// The settlement of what `reserved` took, each quota by its own actual amount.
pub(crate) fn settlement(request: &Reserve, reserved: &Reserved, actuals: &[i64]) -> Settlement {
    let amounts = request.quotas.iter().zip(&reserved.results).zip(actuals);
    Settlement {
        id: request.id,
        workspace_id: request.workspace_id,
        reserved_at_ms: reserved.now_ms,
        amounts: amounts
            .map(|((quota, result), actual)| SettledAmount {
                quota: quota.clone(),
                window_start_ms: result.window_start_ms,
                actual: *actual,
                returned: 0,
            })
            .collect(),
        part: 0,
    }
}

/// The n-th report on it: of each quota the same total was given back and used.
pub(crate) fn report(
    request: &Reserve,
    reserved: &Reserved,
    part: u32,
    returned: i64,
    actual: i64,
) -> Settlement {
    let mut report = settlement(request, reserved, &vec![actual; request.quotas.len()]);
    report.part = part;
    for amount in &mut report.amounts {
        amount.returned = returned;
    }
    report
}

/// Reserves under a new id.
pub(crate) async fn reserve<S: Store>(store: &S, quotas: &[Quota]) -> (Reserve, Reserved) {
    let request = request(request_id(store.now_ms()), quotas);
    let reserved = store
        .ledger()
        .reserve(&request, store.now_ms())
        .await
        .expect("the ledger answers");
    assert_eq!(reserved.results.len(), quotas.len());
    (request, reserved)
}

/// What one quota says now, by the ledger's status.
pub(crate) async fn counts<S: Store>(store: &S, quota: &Quota) -> (i64, i64) {
    let bucket = rateguard_ext_ratelimit::ledger::BucketRef { quota: quota.clone() };
    let statuses = store
        .ledger()
        .status(WORKSPACE, &[bucket], store.now_ms())
        .await
        .expect("the ledger answers");
    (statuses[0].spent, statuses[0].reserved)
}

pub(crate) fn only(reserved: &Reserved) -> QuotaResult {
    assert_eq!(reserved.results.len(), 1);
    reserved.results[0]
}

/// Reserves one quota `count` times at once and answers how many were admitted.
pub(crate) async fn reserve_at_once<L: Ledger>(
    ledgers: &[Arc<L>],
    quota: &Quota,
    count: usize,
    now_ms: i64,
) -> usize {
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|i| {
            let (ledger, barrier, quota) =
                (ledgers[i % ledgers.len()].clone(), barrier.clone(), quota.clone());
            tokio::spawn(async move {
                let request = request(request_id(now_ms), &[quota]);
                barrier.wait().await;
                ledger
                    .reserve(&request, now_ms)
                    .await
                    .expect("the ledger answers")
                    .admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.expect("the task ends"));
    }
    admitted
}

/// Makes a test per store from each `async fn name<S: Store>(store: S)`.
macro_rules! on_both_stores {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use crate::harness::Store as _;
                super::$name(crate::harness::Memory::open().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use crate::harness::Store as _;
                super::$name(crate::harness::Redis::open().await).await;
            })*
        }
    };
}
pub(crate) use on_both_stores;
