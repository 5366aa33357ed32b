//! The ledger in Redis: one script call per reservation, one per workspace and fifty settlements.
//!
//! Any error, a slow answer and a garbled one all mean `Unavailable`; none means "admitted". Nothing is retried but a
//! script that Redis does not know (sent once more, whole) and a window that passed on the way. Calls in flight are
//! bounded, and each ends within the ledger's timeout, so a Redis that hangs holds nothing but what was sent.
//!
//! A call that timed out may still be carried out when Redis comes back: its reservation is then open, and is settled
//! by the caller's settlement or expires.

mod key_list;
mod pack;
mod raise;
mod reset;
mod resolve;
mod scripts;
mod sweep;

use super::check;
use super::{
    BucketRef, BucketStatus, Caller, Expired, Ledger, LedgerError, Manner, Reserve, Reserved, Resolution,
    Settlement, Spent,
};
use crate::keys::{self, WorkspaceKeys};
use futures_util::future::try_join_all;
use pack::{Kind, ReserveReply};
use rateguard_model::id::{QuotaId, RequestId, WorkspaceId};
use rateguard_model::quota::{Meter, Quota};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, RedisError, Value};
use scripts::{Script, Scripts};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most calls in flight; more wait, within their timeout.
const IN_FLIGHT_MAX: usize = 1_024;

const TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);

/// A workspace is registered anew this often, in case the registry was lost.
const REGISTER_EVERY_MS: i64 = 300_000;

/// Most workspaces that are known to be registered.
const REGISTERED_MAX: usize = 100_000;

/// How often a reservation is sent anew because its windows passed on the way.
const WINDOW_RETRIES: usize = 3;

pub struct RedisLedger {
    connection: ConnectionManager,
    scripts: Scripts,
    timeout: Duration,
    in_flight: Semaphore,
    /// When each workspace was last registered (Unix ms).
    registered: Mutex<HashMap<WorkspaceId, i64>>,
}

impl RedisLedger {
    /// The connection's own response timeout holds as well.
    pub fn new(connection: ConnectionManager) -> Self {
        Self::with_scripts(connection, Scripts::new())
    }

    /// Longest that any single command may take, the wait for its turn included.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// For tests that move time: `clock` is Lua source that defines `now_ms()` instead of lua/clock.lua. Not part of
    /// a release build.
    #[cfg(debug_assertions)]
    pub fn with_test_clock(connection: ConnectionManager, clock: &str) -> Self {
        Self::with_scripts(connection, Scripts::with_clock(clock))
    }

    fn with_scripts(connection: ConnectionManager, scripts: Scripts) -> Self {
        Self {
            connection,
            scripts,
            timeout: TIMEOUT_DEFAULT,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            registered: Mutex::default(),
        }
    }

    /// Runs a script: by its name, and whole if Redis does not know it. EVAL also loads it, so this works where SCRIPT
    /// is blocked.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<T, LedgerError> {
        let command = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(keys.len()).arg(keys).arg(args);
            command
        };
        self.within_timeout(async {
            let mut connection = self.connection.clone();
            let by_name = command("EVALSHA", &script.sha).query_async(&mut connection).await;
            match by_name {
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    command("EVAL", &script.source).query_async(&mut connection).await
                }
                answered => answered,
            }
        })
        .await
    }

    /// Runs a script that answers with packed bytes, and nothing else will do.
    async fn run_packed(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<Vec<u8>, LedgerError> {
        match self.run(script, keys, args).await? {
            Value::BulkString(bytes) => Ok(bytes),
            _ => Err(pack::garbled()),
        }
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LedgerError> {
        self.within_timeout(async { command.query_async(&mut self.connection.clone()).await })
            .await
    }

    async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, LedgerError> {
        let turn = async {
            let _permit = self.in_flight.acquire().await.map_err(unavailable)?;
            call.await.map_err(unavailable)
        };
        tokio::time::timeout(self.timeout, turn)
            .await
            .map_err(unavailable)?
    }

    /// Makes the workspace known to sweepers, once in a while.
    async fn register(&self, workspace_id: WorkspaceId, now_ms: i64) -> Result<(), LedgerError> {
        let lock = || self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut registered = lock();
            if registered
                .get(&workspace_id)
                .is_some_and(|at_ms| now_ms < at_ms + REGISTER_EVERY_MS)
            {
                return Ok(());
            }
            if registered.len() >= REGISTERED_MAX {
                registered.clear();
            }
            // Marked before it is done: one caller registers, the others go on.
            registered.insert(workspace_id, now_ms);
        }
        let mut command = redis::cmd("SADD");
        command
            .arg(keys::registry(workspace_id))
            .arg(workspace_id.to_string());
        let added: Result<i64, _> = self.query(&command).await;
        if added.is_err() {
            lock().remove(&workspace_id);
        }
        added.map(|_| ())
    }

    /// Runs `reserve.lua`, again with the server's time if the caller's windows have passed.
    async fn decide(&self, kind: Kind, request: &Reserve, now_ms: i64) -> Result<Reserved, LedgerError> {
        let names = WorkspaceKeys::new(request.workspace_id);
        let (resolved, slot_end_ms) = names.resolved(request.id);
        let mut keys = vec![names.held(), names.open(), resolved];
        let mut logs = Vec::new();
        for quota in &request.quotas {
            keys.push(bucket_key(&names, quota)?);
            if matches!(quota.meter, Meter::SlidingWindow { .. }) {
                logs.push(log_key(&names, quota)?);
            }
        }
        keys.push(names.mark());
        keys.append(&mut logs);

        let mut at_ms = now_ms;
        for _ in 0..WINDOW_RETRIES {
            let mut args = vec![
                request.id.as_bytes().to_vec(),
                pack::reserve_header(kind, request, slot_end_ms),
                if kind == Kind::Opens {
                    pack::charges(request, at_ms)
                } else {
                    Vec::new()
                },
            ];
            args.extend(
                request
                    .quotas
                    .iter()
                    .map(|quota| pack::reserve_quota(quota, at_ms)),
            );
            let reply = self.run_packed(&self.scripts.reserve, &keys, &args).await?;
            match pack::reserve_reply(&reply, &request.quotas) {
                Some(ReserveReply::Decided(reserved)) => return Ok(reserved),
                Some(ReserveReply::OtherTime { now_ms }) => at_ms = now_ms,
                Some(ReserveReply::Unknown) => return Err(LedgerError::SpendUnknown),
                None => return Err(pack::garbled()),
            }
        }
        Err(LedgerError::Unavailable(Some(
            "windows pass faster than redis answers".into(),
        )))
    }
}

impl Ledger for RedisLedger {
    async fn reserve(&self, request: &Reserve, now_ms: i64) -> Result<Reserved, LedgerError> {
        check::reserve(request)?;
        if request.quotas.is_empty() {
            return Ok(Reserved {
                admitted: true,
                now_ms,
                results: Vec::new(),
            });
        }
        let kind = if request.quotas.iter().any(check::needs_settling) {
            self.register(request.workspace_id, now_ms).await?;
            Kind::Opens
        } else {
            Kind::NothingToSettle
        };
        self.decide(kind, request, now_ms).await
    }

    async fn settle(&self, settlements: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.resolve(settlements, Manner::Settle, now_ms).await
    }

    async fn renew(
        &self,
        reservations: &[(WorkspaceId, RequestId)],
        ttl_ms: u32,
        _now_ms: i64,
    ) -> Result<Vec<Resolution>, LedgerError> {
        if ttl_ms == 0 || ttl_ms > check::TTL_MS_MAX {
            return Err(LedgerError::Invalid("ttl_ms"));
        }
        let mut by_workspace: BTreeMap<WorkspaceId, Vec<usize>> = BTreeMap::new();
        for (i, (workspace_id, _)) in reservations.iter().enumerate() {
            by_workspace.entry(*workspace_id).or_default().push(i);
        }
        let calls = by_workspace.iter().map(|(workspace_id, indexes)| async move {
            let ids = indexes
                .iter()
                .filter_map(|i| reservations.get(*i))
                .map(|(_, id)| id.as_bytes().to_vec());
            let args: Vec<Vec<u8>> = std::iter::once(ttl_ms.to_string().into_bytes())
                .chain(ids)
                .collect();
            let keys = [WorkspaceKeys::new(*workspace_id).open()];
            let found = self.run_packed(&self.scripts.renew, &keys, &args).await?;
            if found.len() == indexes.len() {
                Ok((indexes, found))
            } else {
                Err(pack::garbled())
            }
        });
        let mut resolutions = vec![Resolution::Unknown; reservations.len()];
        for (indexes, found) in try_join_all(calls).await? {
            for (i, found) in indexes.iter().zip(found) {
                if let (Some(resolution), 1) = (resolutions.get_mut(*i), found) {
                    *resolution = Resolution::Applied;
                }
            }
        }
        Ok(resolutions)
    }

    async fn release(&self, releases: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.resolve(releases, Manner::Release, now_ms).await
    }

    async fn charge(&self, overdue: &[Settlement], now_ms: i64) -> Result<Vec<Resolution>, LedgerError> {
        self.resolve(overdue, Manner::Charge, now_ms).await
    }

    async fn status(
        &self,
        workspace_id: WorkspaceId,
        buckets: &[BucketRef],
        now_ms: i64,
    ) -> Result<Vec<BucketStatus>, LedgerError> {
        let quotas: Vec<Quota> = buckets.iter().map(|bucket| bucket.quota.clone()).collect();
        if quotas.is_empty() {
            return Ok(Vec::new());
        }
        for quota in &quotas {
            check::quota(quota)?;
        }
        let id = RequestId::from_bytes([0; 16]);
        let look = Reserve {
            id,
            workspace_id,
            caller: Caller::default(),
            ttl_ms: 1,
            whole_since_ms: None,
            quotas,
            members: Vec::new(),
        };
        let told = self.decide(Kind::Look, &look, now_ms).await?;
        let told_now_ms = told.now_ms;
        let statuses = look.quotas.iter().zip(&told.results);
        Ok(statuses
            .map(|(quota, result)| check::status(quota, result, told_now_ms))
            .collect())
    }

    async fn sweep(
        &self,
        workspace_id: WorkspaceId,
        max: usize,
        _now_ms: i64,
    ) -> Result<Vec<Expired>, LedgerError> {
        let names = WorkspaceKeys::new(workspace_id);
        self.expire(workspace_id, &names, max).await?;
        self.awaiting(workspace_id, &names, max).await
    }

    async fn confirm_expired(&self, workspace_id: WorkspaceId, ids: &[RequestId]) -> Result<(), LedgerError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HDEL");
        command.arg(WorkspaceKeys::new(workspace_id).expired());
        for id in ids {
            command.arg(id.as_bytes());
        }
        let _: i64 = self.query(&command).await?;
        Ok(())
    }

    async fn open_workspaces(&self) -> Result<Vec<WorkspaceId>, LedgerError> {
        let calls = keys::registries().map(|registry| async move {
            let mut command = redis::cmd("SMEMBERS");
            command.arg(registry);
            self.query::<Vec<String>>(&command).await
        });
        let found = try_join_all(calls).await?;
        Ok(found
            .into_iter()
            .flatten()
            .filter_map(|id| id.parse().ok())
            .collect())
    }

    /// Walks the whole key space: for people, not for the request path.
    async fn reset(
        &self,
        workspace_id: WorkspaceId,
        quota: QuotaId,
        partition: Option<&str>,
    ) -> Result<u32, LedgerError> {
        let [buckets, logs] = WorkspaceKeys::new(workspace_id).patterns(quota);
        // The header first: a log without one is dropped by the next reservation.
        let removed = self.remove_matching(&buckets, partition).await?;
        self.remove_matching(&logs, partition).await?;
        Ok(removed)
    }

    async fn raise(
        &self,
        workspace_id: WorkspaceId,
        spent: &[Spent],
        whole: bool,
        _now_ms: i64,
    ) -> Result<Vec<i64>, LedgerError> {
        self.raise_all(&WorkspaceKeys::new(workspace_id), spent, whole)
            .await
    }

    async fn whole_until_ms(&self, workspace_id: WorkspaceId) -> Result<Option<i64>, LedgerError> {
        self.mark(&WorkspaceKeys::new(workspace_id)).await
    }

    async fn started_ms(&self) -> Result<i64, LedgerError> {
        self.uptime().await
    }
}

fn bucket_key(names: &WorkspaceKeys, quota: &Quota) -> Result<String, LedgerError> {
    let key = names.bucket(quota.id, quota.version, &quota.partition);
    key.map_err(|_| LedgerError::Invalid("partition"))
}

fn log_key(names: &WorkspaceKeys, quota: &Quota) -> Result<String, LedgerError> {
    let key = names.log(quota.id, quota.version, &quota.partition);
    key.map_err(|_| LedgerError::Invalid("partition"))
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> LedgerError {
    LedgerError::Unavailable(Some(Box::new(error)))
}
