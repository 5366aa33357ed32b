//! Connections to Redis, and whether a Redis may hold counters at all.

use redis::IntoConnectionInfo;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use std::time::Duration;

/// How long the start waits for an answer.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// How long sent bytes may stay unacknowledged before the connection counts as broken.
#[cfg(target_os = "linux")]
const VANISHED_AFTER: Duration = Duration::from_secs(3);

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
        let info = url.into_connection_info()?;
        let client = redis::Client::open(info.set_tcp_settings(tcp_settings()))?;
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

/// Commands are small and must not wait for each other's acknowledgement. What stays unacknowledged means that the
/// peer vanished without a word: without a bound the kernel would go on for a quarter of an hour.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(VANISHED_AFTER);
    settings
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
        Ok(info) => match field(&info, "maxmemory_policy") {
            Some(policy) if policy.starts_with("allkeys-") => Err(StoreError::Evicts {
                name,
                policy: policy.to_owned(),
            }),
            Some("noeviction") => Ok(()),
            Some(policy) => {
                tracing::warn!(
                    name,
                    policy,
                    "redis may evict counters that expire, and spent budgets with them: set maxmemory-policy to noeviction"
                );
                Ok(())
            }
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

/// Warns of a Redis that forgets acknowledged events when it ends.
pub async fn warn_of_forgetting(name: &'static str, mut connection: ConnectionManager) {
    let mut info = redis::cmd("INFO");
    let asked = info.arg("persistence").query_async::<String>(&mut connection);
    // Away at start, or silent about it: said already, or the operator's to know.
    let Ok(Ok(info)) = tokio::time::timeout(START_PATIENCE, asked).await else {
        return;
    };
    if field(&info, "aof_enabled") == Some("0") {
        tracing::warn!(
            name,
            "redis keeps no append-only file: events that it has acknowledged are lost when it ends; set appendonly to yes"
        );
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_from_info() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(field(info, "maxmemory_policy"), Some("allkeys-lru"));
        assert_eq!(field(info, "maxmemory"), Some("0"));
        assert_eq!(field("# Memory\r\n", "maxmemory"), None);
    }
}
