//! Connections to Redis, and whether a Redis may hold counters at all.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::time::Duration;

/// How long the start waits for an answer.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// Why the service does not start on this Redis.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{name} cannot be used")]
    Url {
        name: &'static str,
        source: redis::RedisError,
    },
    #[error(
        "{name} has maxmemory-policy {policy}: it would evict counters, and spent budgets with them; set it to noeviction"
    )]
    Evicts { name: &'static str, policy: String },
}

/// A connection that comes back by itself. It is opened by the first command, so that a Redis that is away does not
/// keep the service from starting. A command waits for its answer at most `timeout`.
pub fn connect(name: &'static str, url: &str, timeout: Duration) -> Result<ConnectionManager, StoreError> {
    let open = || {
        let client = redis::Client::open(url)?;
        // Each command after a failure tries to connect anew; the breaker decides how often there are such commands.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(500)))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100));
        ConnectionManager::new_lazy_with_config(client, config)
    };
    open().map_err(|source| StoreError::Url { name, source })
}

/// Refuses a Redis that evicts any key it likes (RL-13). A Redis that is away, or does not tell, passes with a
/// warning: the service then starts degraded, or trusts the operator.
pub async fn refuse_eviction(
    name: &'static str,
    mut connection: ConnectionManager,
) -> Result<(), StoreError> {
    let mut info = redis::cmd("INFO");
    let asked = info.arg("memory").query_async::<String>(&mut connection);
    let Ok(info) = tokio::time::timeout(START_PATIENCE, asked).await else {
        tracing::warn!(name, "redis does not answer at start");
        return Ok(());
    };
    match info {
        Ok(info) => match policy(&info) {
            Some(policy) if policy.starts_with("allkeys-") => Err(StoreError::Evicts {
                name,
                policy: policy.to_owned(),
            }),
            Some(_) => Ok(()),
            None => {
                tracing::warn!(
                    name,
                    "redis does not tell its maxmemory-policy: it must be noeviction"
                );
                Ok(())
            }
        },
        Err(error) => {
            tracing::warn!(name, %error, "redis is away at start");
            Ok(())
        }
    }
}

fn policy(info: &str) -> Option<&str> {
    info.lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_read_from_info() {
        assert_eq!(
            policy("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n"),
            Some("allkeys-lru")
        );
        assert_eq!(policy("# Memory\r\n"), None);
    }
}
