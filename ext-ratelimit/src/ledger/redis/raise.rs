//! Raising what was spent, until when buckets were whole, and since when this Redis runs.

use super::{RedisLedger, bucket_key, pack, unavailable};
use crate::keys::WorkspaceKeys;
use crate::ledger::{LedgerError, Spent, check};

impl RedisLedger {
    /// Raises every window and sets the mark, in one call.
    pub(super) async fn raise_all(
        &self,
        names: &WorkspaceKeys,
        spent: &[Spent],
        whole: bool,
    ) -> Result<Vec<i64>, LedgerError> {
        let mut keys = vec![names.mark()];
        let mut args = vec![if whole { b"1".to_vec() } else { b"0".to_vec() }];
        for spent in spent {
            check::spent(spent)?;
            keys.push(bucket_key(names, &spent.quota)?);
            args.push(pack::spent(spent));
        }
        let reply = self.run_packed(&self.scripts.raise, &keys, &args).await?;
        let mut reader = pack::Reader(&reply);
        let raised: Option<Vec<i64>> = spent.iter().map(|_| reader.number()).collect();
        raised.filter(|_| reader.0.is_empty()).ok_or_else(pack::garbled)
    }

    /// The workspace's mark; one that cannot be read is none.
    pub(super) async fn mark(&self, names: &WorkspaceKeys) -> Result<Option<i64>, LedgerError> {
        let mut command = redis::cmd("GET");
        command.arg(names.mark());
        let stored: Option<Vec<u8>> = self.query(&command).await?;
        Ok(stored.and_then(|bytes| pack::Reader(&bytes).number()))
    }

    /// Whole seconds are told, so the answer may be up to a second late, never early. 0 from a server that does not say.
    pub(super) async fn uptime(&self) -> Result<i64, LedgerError> {
        let mut pipe = redis::pipe();
        pipe.cmd("TIME").cmd("INFO").arg("server");
        let ((seconds, micros), info): ((i64, i64), String) = self
            .within_timeout(async { pipe.query_async(&mut self.connection.clone()).await })
            .await?;
        let uptime = info
            .lines()
            .find_map(|line| line.strip_prefix("uptime_in_seconds:"));
        let Some(uptime) = uptime else { return Ok(0) };
        let uptime_s: i64 = uptime.trim().parse().map_err(unavailable)?;
        Ok((seconds - uptime_s) * 1_000 + micros / 1_000)
    }
}
