//! What the service's tests need around it: a real Redis, a control plane that only has a feed, and a client.

use prost::Message;
use rateguard_ext_ratelimit::config::Config;
use rateguard_ext_ratelimit::serve::Server;
use rateguard_model::id::RequestId;
use rateguard_wire::v1;
use rateguard_wire::v1::limit_service_client::LimitServiceClient;
use std::future::Future;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// The service's own token and two data planes' ones; each `rgdp_` and 43 characters.
pub(crate) const OWN_TOKEN: &str = "rgdp_SERVICEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(crate) const ALL_TOKEN: &str = "rgdp_ALLAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(crate) const ONE_TOKEN: &str = "rgdp_ONEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The workspace that `ONE_TOKEN` belongs to, and another.
pub(crate) const WORKSPACE: [u8; 16] = [0x11; 16];
pub(crate) const OTHER_WORKSPACE: [u8; 16] = [0x22; 16];

pub(crate) const BUDGET_ID: [u8; 16] = [0xB0; 16];

/// Polls a condition until it holds; fails after 20 s.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A redis-server of this test alone, on a Unix socket in its own folder.
pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

impl Redis {
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = Self::spawn(&folder, &options);
        let redis = Self {
            child,
            folder,
            options,
        };
        redis.wait();
        redis
    }

    /// Keeps what it acknowledged over a kill.
    pub(crate) fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn spawn(folder: &tempfile::TempDir, options: &[String]) -> Child {
        Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(folder.path().join("redis.sock"))
            .arg("--dir")
            .arg(folder.path())
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("redis-server must be installed")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// A connection of the test's own.
    pub(crate) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a good URL");
        client.get_connection().expect("redis answers")
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let client = redis::Client::open(self.url()).expect("a good URL");
        let answers = || {
            let mut connection = client.get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        while answers().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("running");
        self.child.wait().expect("ended");
    }

    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(&self.folder, &self.options);
        self.wait();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .expect("kill")
                .success()
        );
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the control plane serves and what it was told.
#[derive(Default)]
struct FeedState {
    version: u64,
    answer: v1::PollResponse,
    polls: Vec<v1::PollRequest>,
    authorizations: Vec<String>,
    ledger: Books,
}

/// What the ledger of events says, to whom.
#[derive(Default)]
pub(crate) struct Books {
    /// Of every window.
    pub(crate) spent: i64,
    /// Whether a mark has come by.
    pub(crate) passed: bool,
    /// `false`: 503.
    pub(crate) is_up: bool,
    pub(crate) queries: Vec<v1::SpendQuery>,
}

/// A control plane with nothing but `POST /v1/config:poll` and `POST /v1/spend:query`.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    state: Arc<Mutex<FeedState>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new(FeedState::default()));
        let router = axum::Router::new()
            .route("/v1/config:poll", axum::routing::post(poll))
            .route("/v1/spend:query", axum::routing::post(spend))
            .with_state(state.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serves");
        });
        let plane = Self { url, state, task };
        plane.publish(tokens_and_budgets(
            &[(OWN_TOKEN, None), (ALL_TOKEN, None), (ONE_TOKEN, Some(WORKSPACE))],
            1_000,
        ));
        plane
    }

    /// Puts a new version in force.
    pub(crate) fn publish(&self, answer: v1::PollResponse) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.answer = answer;
    }

    /// Puts a ledger of events behind it, which is up and says this.
    pub(crate) fn has_ledger(&self, spent: i64) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.answer.has_ledger = true;
        state.ledger.spent = spent;
        state.ledger.is_up = true;
    }

    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.state.lock().unwrap().ledger)
    }

    pub(crate) fn polls(&self) -> Vec<v1::PollRequest> {
        self.state.lock().unwrap().polls.clone()
    }

    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.state.lock().unwrap().authorizations.clone()
    }
}

async fn poll(
    axum::extract::State(state): axum::extract::State<Arc<Mutex<FeedState>>>,
    headers: axum::http::HeaderMap,
    body: bytes::Bytes,
) -> ([(&'static str, &'static str); 1], Vec<u8>) {
    let request = v1::PollRequest::decode(body).expect("a poll");
    {
        let mut state = state.lock().unwrap();
        state.polls.push(request.clone());
        let authorization = headers
            .get("authorization")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        state.authorizations.push(authorization.to_owned());
    }
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms.into());
    let answer = loop {
        {
            let state = state.lock().unwrap();
            if state.version.to_string() != request.version || Instant::now() >= deadline {
                let mut answer = state.answer.clone();
                answer.version = state.version.to_string();
                answer.nonce = format!("n{}", state.version);
                break answer;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    (
        [("content-type", "application/x-protobuf")],
        answer.encode_to_vec(),
    )
}

async fn spend(
    axum::extract::State(state): axum::extract::State<Arc<Mutex<FeedState>>>,
    body: bytes::Bytes,
) -> (axum::http::StatusCode, Vec<u8>) {
    let query = v1::SpendQuery::decode(body).expect("a query");
    let ledger = &mut state.lock().unwrap().ledger;
    ledger.queries.push(query.clone());
    if !ledger.is_up {
        return (axum::http::StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    }
    let answer = if query.mark_id.is_empty() || ledger.passed {
        v1::SpendAnswer {
            is_incomplete: false,
            spent: vec![ledger.spent; query.windows.len()],
        }
    } else {
        v1::SpendAnswer {
            is_incomplete: true,
            spent: Vec::new(),
        }
    };
    (axum::http::StatusCode::OK, answer.encode_to_vec())
}

/// A full answer: these tokens, both workspaces, and one monthly budget in each.
pub(crate) fn tokens_and_budgets(tokens: &[(&str, Option<[u8; 16]>)], limit_nanos: i64) -> v1::PollResponse {
    let token = |(n, (text, workspace)): (usize, &(&str, Option<[u8; 16]>))| v1::DataPlaneToken {
        id: vec![n as u8; 16],
        sha256: rateguard_model::digest::Digest::of(text.as_bytes())
            .as_bytes()
            .to_vec(),
        workspace_id: workspace.map(|w| w.to_vec()).unwrap_or_default(),
    };
    let workspace = |id: [u8; 16]| v1::Workspace {
        id: id.to_vec(),
        slug: format!("w{:x}", id[0]),
        time_zone: "Europe/Berlin".into(),
        unpriced_model_policy: v1::UnpricedModelPolicy::Block.into(),
        failure_mode: v1::FailureMode::FailOpen.into(),
    };
    v1::PollResponse {
        full: true,
        workspaces: vec![workspace(WORKSPACE), workspace(OTHER_WORKSPACE)],
        budgets: vec![v1::Budget {
            id: BUDGET_ID.to_vec(),
            workspace_id: WORKSPACE.to_vec(),
            version: 1,
            name: "monthly".into(),
            subject_kind: v1::BudgetSubjectKind::Workspace.into(),
            subject: String::new(),
            limit_nanos,
            window: Some(month()),
            auto_shutoff: true,
            failure_mode: v1::FailureMode::BoundedOpen.into(),
        }],
        data_plane_tokens: tokens.iter().enumerate().map(token).collect(),
        ..v1::PollResponse::default()
    }
}

pub(crate) fn month() -> v1::Window {
    let window = v1::CalendarWindow {
        unit: v1::CalendarUnit::Month.into(),
        time_zone: "Europe/Berlin".into(),
    };
    v1::Window {
        kind: Some(v1::window::Kind::Calendar(window)),
    }
}

/// The budget of [`tokens_and_budgets`] as the filter sends it.
pub(crate) fn budget(limit: i64, amount: i64) -> v1::Quota {
    v1::Quota {
        id: BUDGET_ID.to_vec(),
        version: 1,
        kind: v1::QuotaKind::Budget.into(),
        algorithm: v1::Algorithm::FixedWindow.into(),
        unit: v1::Unit::NanoUsd.into(),
        limit,
        window: Some(month()),
        refill_milli_per_s: 0,
        mode: v1::Mode::Enforce.into(),
        failure_mode: v1::FailureMode::BoundedOpen.into(),
        partition: "-".into(),
        amount,
    }
}

/// A bucket of `limit` that refills next to nothing during a test.
pub(crate) fn rule(id: u8, limit: i64, failure_mode: v1::FailureMode) -> v1::Quota {
    v1::Quota {
        id: vec![id; 16],
        version: 1,
        kind: v1::QuotaKind::Rule.into(),
        algorithm: v1::Algorithm::TokenBucket.into(),
        unit: v1::Unit::Requests.into(),
        limit,
        window: None,
        refill_milli_per_s: 1,
        mode: v1::Mode::Enforce.into(),
        failure_mode: failure_mode.into(),
        partition: "k:1".into(),
        amount: 1,
    }
}

pub(crate) fn reserve(n: u16, quotas: Vec<v1::Quota>) -> v1::ReserveRequest {
    v1::ReserveRequest {
        reservation_id: reservation_id(n),
        workspace_id: WORKSPACE.to_vec(),
        key_id: vec![4; 16],
        api_id: vec![5; 16],
        ttl_ms: 60_000,
        quotas,
        worker_id: 1,
        members: Vec::new(),
    }
}

/// A UUIDv7 of about now: how long an id is remembered depends on the time inside it.
pub(crate) fn reservation_id(n: u16) -> Vec<u8> {
    static BEGUN_MS: OnceLock<u64> = OnceLock::new();
    let begun_ms = *BEGUN_MS.get_or_init(|| rateguard_ext_ratelimit::clock::now_ms().unsigned_abs());
    let [high, low] = n.to_be_bytes();
    RequestId::v7(begun_ms, [1, 1, 1, 1, 1, 1, 1, 1, high, low])
        .as_bytes()
        .to_vec()
}

/// A settlement of what `reserve(n, quotas)` was answered.
pub(crate) fn settlement(
    n: u16,
    quotas: Vec<v1::Quota>,
    answer: &v1::ReserveResponse,
    actual: i64,
) -> v1::Settlement {
    let amount = |(quota, result): (v1::Quota, &v1::QuotaResult)| v1::SettledAmount {
        quota: Some(quota),
        window_start_ms: result.window_start_ms,
        actual,
        returned: 0,
    };
    v1::Settlement {
        reservation_id: reservation_id(n),
        workspace_id: WORKSPACE.to_vec(),
        reserved_at_ms: answer.now_ms,
        amounts: quotas.into_iter().zip(&answer.results).map(amount).collect(),
        part: 0,
        is_block: false,
    }
}

/// A running service and how to call it.
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) channel: Channel,
}

pub(crate) type Client = LimitServiceClient<Channel>;

impl Service {
    pub(crate) async fn start(config: Config) -> Self {
        let server = Server::start(config).await.expect("starts");
        let channel = Channel::from_shared(format!("http://{}", server.grpc_addr()))
            .expect("a good address")
            .connect()
            .await
            .expect("listens");
        Self { server, channel }
    }

    /// With Redis and a control plane; waits until the feed is in force.
    pub(crate) async fn governed(redis: &Redis, plane: &ControlPlane) -> Self {
        Self::governed_with(redis, plane, |_| {}).await
    }

    pub(crate) async fn governed_with(
        redis: &Redis,
        plane: &ControlPlane,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::for_testing(OWN_TOKEN).with_redis(&redis.url());
        config.control_plane_url = Some(plane.url.clone());
        change(&mut config);
        let service = Self::start(config).await;
        until("the feed is in force", || async {
            service.get("/ready").await.0 == 200
        })
        .await;
        service
    }

    pub(crate) fn client(&self) -> Client {
        LimitServiceClient::new(self.channel.clone())
    }

    /// Status and body of a path of the HTTP port.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.server.http_addr());
        let response = reqwest::get(url).await.expect("answers");
        (response.status().as_u16(), response.text().await.expect("text"))
    }

    /// Value of a series of /metrics, by its name with labels.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
            .parse()
            .expect("a number")
    }
}

/// A request with a token.
pub(crate) fn with_token<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}").parse().expect("printable");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A request of a filter that may see all workspaces.
pub(crate) fn call<T>(message: T) -> tonic::Request<T> {
    with_token(ALL_TOKEN, message)
}
