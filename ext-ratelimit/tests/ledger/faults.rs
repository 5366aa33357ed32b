//! What Redis can do to the ledger: nothing of it may admit a request, exhaust anything or lose what was counted.

use crate::harness::{
    DEADLINE, LONG, RedisServer, WORKSPACE, budget, quota, request, request_id, settlement, wall_ms,
};
use rateguard_ext_ratelimit::ledger::redis::RedisLedger;
use rateguard_ext_ratelimit::ledger::{BucketRef, Ledger, LedgerError, QuotaResult, Reserve, Resolution};
use rateguard_model::id::WorkspaceId;
use rateguard_model::quota::{Meter, Quota, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn all_meters() -> Vec<Quota> {
    vec![
        quota(
            1,
            1_000_000,
            Meter::TokenBucket {
                refill_milli_per_s: 1_000,
            },
        ),
        Quota {
            unit: Unit::Tokens,
            ..quota(2, 1_000_000, Meter::SlidingWindow { window_ms: 600_000 })
        },
        budget(3, 1_000_000_000, 10, LONG),
    ]
}

fn fresh() -> Reserve {
    request(request_id(wall_ms()), &all_meters())
}

/// RL-12: SCRIPT FLUSH while requests run: no caller sees anything of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_12_script_flush_during_load_is_not_seen() {
    let server = RedisServer::start(&[]).await;
    let ledger = Arc::new(server.ledger());
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (ledger, done, served) = (ledger.clone(), done.clone(), served.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let request = fresh();
                    let reserved = ledger.reserve(&request, wall_ms()).await.expect("no error");
                    assert!(reserved.admitted);
                    let settled = settlement(&request, &reserved, &[1, 5, 7]);
                    let resolutions = ledger.settle(&[settled], wall_ms()).await.expect("no error");
                    assert_eq!(resolutions, [Resolution::Applied]);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut admin = server.admin().await;
    let deadline = Instant::now() + DEADLINE;
    for flushes in 1..=50 {
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query_async(&mut admin)
            .await
            .expect("flushed");
        while served.load(Ordering::SeqCst) < flushes * 10 {
            assert!(Instant::now() < deadline, "requests do not go on");
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("no caller saw an error");
    }
    let bucket = BucketRef {
        quota: budget(3, 0, 0, LONG),
    };
    let status = ledger
        .status(WORKSPACE, &[bucket], wall_ms())
        .await
        .expect("status");
    assert_eq!(status[0].reserved, 0);
}

/// Where SCRIPT is forbidden, scripts still get there.
#[tokio::test]
async fn works_where_script_is_blocked() {
    let server = RedisServer::start(&[]).await;
    let mut admin = server.admin().await;
    let _: () = redis::cmd("ACL")
        .arg(&["SETUSER", "default", "on", "nopass", "~*", "+@all", "-script"])
        .query_async(&mut admin)
        .await
        .expect("restricted");
    let loaded: Result<String, _> = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg("return 1")
        .query_async(&mut admin)
        .await;
    assert!(loaded.is_err(), "SCRIPT must be blocked here");
    assert!(
        server
            .ledger()
            .reserve(&fresh(), wall_ms())
            .await
            .expect("an answer")
            .admitted
    );
}

/// One command per reserve: one EVALSHA, and nothing else from the ledger.
#[tokio::test]
async fn a_reserve_is_one_command() {
    let server = RedisServer::start(&[]).await;
    let ledger = server.ledger();
    ledger
        .reserve(&fresh(), wall_ms())
        .await
        .expect("the first one loads and registers");
    let mut admin = server.admin().await;
    let calls = |stats: &str| -> Option<u64> {
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))?;
        line.split(',').next()?.parse().ok()
    };
    let _: () = redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .query_async(&mut admin)
        .await
        .expect("reset");
    for _ in 0..20 {
        assert!(
            ledger
                .reserve(&fresh(), wall_ms())
                .await
                .expect("an answer")
                .admitted
        );
    }
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut admin)
        .await
        .expect("info");
    assert_eq!(calls(&stats), Some(20), "{stats}");
    let others = [
        "cmdstat_eval:",
        "cmdstat_sadd:",
        "cmdstat_script|load:",
        "cmdstat_get:",
        "cmdstat_multi:",
    ];
    assert!(others.iter().all(|other| !stats.contains(other)), "{stats}");
}

/// RL-16: on a cluster node, which refuses scripts whose keys are in two slots, every operation works.
#[tokio::test]
async fn rl_16_every_script_stays_in_one_slot() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .port();
    // The cluster bus takes the port plus 10 000.
    let port = if port > 50_000 { port - 20_000 } else { port };
    let port = port.to_string();
    let arguments = [
        "--cluster-enabled",
        "yes",
        "--bind",
        "127.0.0.1",
        "--port",
        port.as_str(),
    ];
    let server = RedisServer::start(&arguments).await;
    let mut admin = server.admin().await;
    let _: () = redis::cmd("CLUSTER")
        .arg(&["ADDSLOTSRANGE", "0", "16383"])
        .query_async(&mut admin)
        .await
        .expect("slots");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query_async(&mut admin)
            .await
            .expect("info");
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(Instant::now() < deadline, "{info}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ledger = server.ledger();
    for n in 0..40 {
        let workspace_id = WorkspaceId::from_bytes([n; 16]);
        let request = Reserve {
            workspace_id,
            ttl_ms: 1,
            whole_since_ms: None,
            ..fresh()
        };
        let reserved = ledger.reserve(&request, wall_ms()).await.expect("reserved");
        assert!(reserved.admitted);
        ledger
            .renew(&[(workspace_id, request.id)], 1, wall_ms())
            .await
            .expect("renewed");
        let deadline = Instant::now() + DEADLINE;
        while ledger
            .sweep(workspace_id, 10, wall_ms())
            .await
            .expect("swept")
            .is_empty()
        {
            assert!(Instant::now() < deadline, "it does not expire");
        }
        let settled = settlement(&request, &reserved, &[1, 2, 3]);
        assert_eq!(
            ledger.settle(&[settled], wall_ms()).await.expect("settled"),
            [Resolution::Replaced]
        );
        let buckets: Vec<BucketRef> = all_meters()
            .into_iter()
            .map(|quota| BucketRef { quota })
            .collect();
        let status = ledger
            .status(workspace_id, &buckets, wall_ms())
            .await
            .expect("status");
        assert_eq!(
            status.iter().map(|status| status.spent).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }
    // The check above can fail: keys of two workspaces in one script.
    let two: Result<i64, _> = redis::cmd("EVAL")
        .arg("#!lua\nreturn 1")
        .arg(2)
        .arg("rg1:{00000000-0000-0000-0000-000000000000}:held")
        .arg("rg1:{01010101-0101-0101-0101-010101010101}:held")
        .query_async(&mut admin)
        .await;
    assert_eq!(two.expect_err("two slots").code(), Some("CROSSSLOT"));
}

/// RL-09: Redis hangs: every call ends in time, and everything goes on after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rl_09_a_hanging_redis_exhausts_nothing() {
    let server = RedisServer::start(&[]).await;
    let ledger = Arc::new(RedisLedger::new(server.connection()).with_timeout(Duration::from_millis(200)));
    ledger.reserve(&fresh(), wall_ms()).await.expect("an answer");
    server.signal("-STOP");
    let tasks: Vec<_> = (0..3_000)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                let answer = ledger.reserve(&fresh(), wall_ms()).await;
                (answer, started.elapsed())
            })
        })
        .collect();
    for task in tasks {
        let (answer, took) = task.await.expect("the task ends");
        assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
        assert!(took < DEADLINE, "{took:?}");
    }
    server.signal("-CONT");
    let deadline = Instant::now() + DEADLINE;
    while ledger.reserve(&fresh(), wall_ms()).await.is_err() {
        assert!(Instant::now() < deadline, "it does not recover");
    }
}

/// RL-08: Redis killed and started again: unavailable in between, then right.
#[tokio::test]
async fn rl_08_a_killed_redis_is_unavailable_until_it_is_back() {
    let server = RedisServer::start(&[]).await;
    let ledger = RedisLedger::new(server.connection()).with_timeout(Duration::from_secs(3));
    ledger.reserve(&fresh(), wall_ms()).await.expect("an answer");
    server.signal("-KILL");
    let deadline = Instant::now() + DEADLINE;
    while ledger.reserve(&fresh(), wall_ms()).await.is_ok() {
        assert!(Instant::now() < deadline, "it is still there");
    }
    for _ in 0..20 {
        assert!(matches!(
            ledger.reserve(&fresh(), wall_ms()).await,
            Err(LedgerError::Unavailable(_))
        ));
    }
    let server = server.restart().await;
    let deadline = Instant::now() + DEADLINE;
    while ledger.reserve(&fresh(), wall_ms()).await.is_err() {
        assert!(Instant::now() < deadline, "it does not recover");
    }
    drop(server);
}

/// RL-13: Redis is full: unavailable, and nothing half written.
#[tokio::test]
async fn rl_13_out_of_memory_is_unavailable() {
    let server = RedisServer::start(&[]).await;
    let ledger = server.ledger();
    ledger.reserve(&fresh(), wall_ms()).await.expect("an answer");
    let mut admin = server.admin().await;
    let mut limit = async |bytes: &str| {
        let mut command = redis::cmd("CONFIG");
        let _: () = command
            .arg(&["SET", "maxmemory", bytes])
            .query_async(&mut admin)
            .await
            .expect("set");
    };
    limit("1").await;
    for _ in 0..5 {
        let answer = ledger.reserve(&fresh(), wall_ms()).await;
        assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    }
    limit("0").await;
    let bucket = BucketRef {
        quota: budget(3, 0, 0, LONG),
    };
    let status = ledger
        .status(WORKSPACE, &[bucket], wall_ms())
        .await
        .expect("status");
    assert_eq!((status[0].spent, status[0].reserved), (0, 10));
}

/// A replica, and one that has lost its primary.
#[tokio::test]
async fn a_replica_is_unavailable() {
    let server = RedisServer::start(&[]).await;
    let ledger = server.ledger();
    ledger.reserve(&fresh(), wall_ms()).await.expect("an answer");
    let mut admin = server.admin().await;
    let _: () = redis::cmd("REPLICAOF")
        .arg(&["127.0.0.1", "1"])
        .query_async(&mut admin)
        .await
        .expect("a replica");
    for stale in ["yes", "no"] {
        let set = redis::cmd("CONFIG")
            .arg(&["SET", "replica-serve-stale-data", stale])
            .query_async(&mut admin)
            .await;
        let _: () = set.expect("set");
        let answer = ledger.reserve(&fresh(), wall_ms()).await;
        assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    }
}

/// Answers every command with the same bytes.
async fn always(answer: &'static [u8]) -> RedisLedger {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    // One answer per command: each starts with its number of arguments.
                    let commands = buffer[..count]
                        .windows(2)
                        .filter(|pair| pair[0] == b'\n' && pair[1] == b'*')
                        .count();
                    for _ in 0..=commands {
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                    if answer.is_empty() {
                        return;
                    }
                }
            });
        }
    });
    let client = redis::Client::open(format!("redis://{address}")).expect("a url");
    let config = redis::aio::ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(1))
        .set_max_delay(Duration::from_millis(5));
    let connection =
        redis::aio::ConnectionManager::new_lazy_with_config(client, config).expect("a connection");
    RedisLedger::new(connection).with_timeout(Duration::from_millis(300))
}

/// Every kind of error, and every reply that is none of ours, means unavailable.
#[tokio::test]
async fn no_error_and_no_garbled_reply_admits() {
    let answers: [&[u8]; 21] = [
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MOVED 3999 127.0.0.1:6381\r\n",
        b"-ASK 3999 127.0.0.1:6381\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"-NOPERM this user has no permissions\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-ERR something else\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$1\r\n\x01\r\n",
        b"$9\r\n\x01\x00\x00\x00\x00\x00\x00\x00\x00\r\n",
        b"*1\r\n:1\r\n",
        b"",
    ];
    for answer in answers {
        let ledger = always(answer).await;
        let quotas = vec![quota(
            1,
            10,
            Meter::TokenBucket {
                refill_milli_per_s: 1,
            },
        )];
        let request = request(request_id(wall_ms()), &quotas);
        let shown = String::from_utf8_lossy(answer);
        let reserved = ledger.reserve(&request, wall_ms()).await;
        assert!(
            matches!(reserved, Err(LedgerError::Unavailable(_))),
            "{shown}: {reserved:?}"
        );
        let money = Reserve {
            quotas: all_meters(),
            ..request.clone()
        };
        let reserved = ledger.reserve(&money, wall_ms()).await;
        assert!(
            matches!(reserved, Err(LedgerError::Unavailable(_))),
            "{shown}: {reserved:?}"
        );
        let results = vec![QuotaResult::default(); money.quotas.len()];
        let elsewhere = rateguard_ext_ratelimit::ledger::Reserved {
            admitted: true,
            now_ms: wall_ms(),
            results,
        };
        let settled = settlement(&money, &elsewhere, &[1, 1, 1]);
        let resolutions = ledger.settle(&[settled], wall_ms()).await;
        // One byte 1 is a reply of the settle script.
        if answer != b"$1\r\n\x01\r\n" {
            assert!(
                matches!(resolutions, Err(LedgerError::Unavailable(_))),
                "{shown}: {resolutions:?}"
            );
        }
    }
}

/// Nothing is left behind: every key but what is held has an expiry.
#[tokio::test]
async fn every_key_expires_but_what_is_held() {
    let server = RedisServer::start(&[]).await;
    let ledger = server.ledger();
    let mut quotas = all_meters();
    let plain = request(request_id(wall_ms()), &quotas[..1]);
    assert!(
        ledger
            .reserve(&plain, wall_ms())
            .await
            .expect("an answer")
            .admitted
    );
    quotas[0].partition = "other".into();
    let request = request(request_id(wall_ms()), &quotas);
    let reserved = ledger.reserve(&request, wall_ms()).await.expect("an answer");
    let mut admin = server.admin().await;
    let without_expiry = async |admin: &mut redis::aio::MultiplexedConnection| -> Vec<String> {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(admin)
            .await
            .expect("keys");
        let mut found = Vec::new();
        for key in keys {
            let ttl: i64 = redis::cmd("PTTL")
                .arg(&key)
                .query_async(admin)
                .await
                .expect("a ttl");
            if ttl < 0 {
                found.push(
                    key.rsplit_once(':')
                        .map_or(key.clone(), |(_, last)| last.to_owned()),
                );
            }
        }
        found.sort();
        found
    };
    // "1" is the registry that the workspace is in.
    assert_eq!(without_expiry(&mut admin).await, ["1", "held", "open"]);
    ledger
        .settle(&[settlement(&request, &reserved, &[1, 2, 3])], wall_ms())
        .await
        .expect("settled");
    assert_eq!(without_expiry(&mut admin).await, ["1"]);
}
