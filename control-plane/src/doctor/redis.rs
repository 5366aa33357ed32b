//! The limit service's Redis: reachable, recent enough, never evicting, writing what it acknowledges.

use super::{Check, TIMEOUT, whole};
use crate::config::Secret;
use redis::aio::MultiplexedConnection;

const SERVER: &str = "Redis";
const EVICTION: &str = "Redis eviction";
const DURABILITY: &str = "Redis durability";
/// Functions of scripts that the ledger uses came with it.
const MAJOR_MIN: u32 = 7;

pub(super) async fn check(url: Option<&Secret>) -> Vec<Check> {
    let Some(url) = url else {
        return vec![Check::skipped(SERVER, "REDIS_URL")];
    };
    match tokio::time::timeout(TIMEOUT, ask(url)).await {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => vec![unreachable(&whole(&error))],
        Err(_) => vec![unreachable("no answer in 5 s")],
    }
}

fn unreachable(found: &str) -> Check {
    Check::failed(
        SERVER,
        found,
        "start Redis, or correct REDIS_URL (host, port, user, password)",
    )
}

async fn ask(url: &Secret) -> Result<Vec<Check>, redis::RedisError> {
    let mut redis = redis::Client::open(url.expose())?
        .get_multiplexed_async_connection()
        .await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
    let policy = setting(&mut redis, "maxmemory-policy").await;
    let appendonly = setting(&mut redis, "appendonly").await;
    Ok(vec![
        version(&info),
        eviction(policy.as_deref()),
        durability(appendonly.as_deref()),
    ])
}

/// `None` where the server does not let us ask, as managed ones often do not.
async fn setting(redis: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let pair: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg(name)
        .query_async(redis)
        .await
        .ok()?;
    pair.into_iter().nth(1)
}

fn version(info: &str) -> Check {
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or("of unknown version")
        .trim();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < MAJOR_MIN) {
        Check::failed(SERVER, format!("Redis {version}"), "upgrade to Redis 7 or later")
    } else {
        Check::ok(SERVER, format!("Redis {version}"))
    }
}

fn eviction(policy: Option<&str>) -> Check {
    let fix = "set maxmemory-policy noeviction: an evicted counter lets everybody start afresh";
    match policy {
        Some("noeviction") => Check::ok(EVICTION, "noeviction"),
        Some(other) => Check::failed(EVICTION, other, fix),
        None => Check::warning(EVICTION, "the server does not tell", fix),
    }
}

fn durability(appendonly: Option<&str>) -> Check {
    let fix = "set appendonly yes: without it a restart forgets counters and events that were acknowledged";
    match appendonly {
        Some("yes") => Check::ok(DURABILITY, "appendonly yes"),
        Some(other) => Check::warning(DURABILITY, format!("appendonly {other}"), fix),
        None => Check::warning(DURABILITY, "the server does not tell", fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn settings_that_lose_counters_are_told() {
        assert_eq!(eviction(Some("allkeys-lru")).outcome, Outcome::Failed);
        assert_eq!(eviction(Some("noeviction")).outcome, Outcome::Ok);
        assert_eq!(durability(Some("no")).outcome, Outcome::Warning);
        assert_eq!(durability(None).outcome, Outcome::Warning);
        assert_eq!(
            version("# Server\r\nredis_version:6.2.14\r\n").outcome,
            Outcome::Failed
        );
        assert_eq!(
            version("# Server\r\nredis_version:7.0.15\r\n").found,
            "Redis 7.0.15"
        );
    }
}
