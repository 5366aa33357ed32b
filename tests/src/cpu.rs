//! CPU time of other processes, for benchmarks: what a request costs is what its servers burned for it.

use anyhow::{Context as _, Result};
use std::time::Duration;

/// User and system time of a process so far, all its threads included (proc(5), `stat`, fields 14 and 15).
pub fn time_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in field 2 may hold spaces: count after its closing bracket.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<u64>().ok())
            .context("a field of stat")
    };
    // Linux counts in USER_HZ, which is 100 on every architecture it runs Rust on.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
