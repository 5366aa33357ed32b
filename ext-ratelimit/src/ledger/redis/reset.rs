//! Emptying buckets. Walks the key space: for people, not for the request path.

use super::RedisLedger;
use crate::keys;
use crate::ledger::LedgerError;

impl RedisLedger {
    /// Removes the keys of a pattern, of one partition or of all; answers how many.
    pub(super) async fn remove_matching(
        &self,
        pattern: &str,
        partition: Option<&str>,
    ) -> Result<u32, LedgerError> {
        let mut removed = 0;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000);
            let (next, found): (u64, Vec<String>) = self.query(&scan).await?;
            let is_meant = |key: &String| match (keys::parse_bucket(key), partition) {
                (Some(_), None) => true,
                (Some(name), Some(partition)) => name.partition == partition,
                (None, _) => false,
            };
            let meant: Vec<String> = found.into_iter().filter(is_meant).collect();
            if !meant.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(meant);
                removed += self.query::<u32>(&unlink).await?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(removed);
            }
        }
    }
}
