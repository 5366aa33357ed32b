//! The program's one reader of the wall clock. Everything else takes time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds. Before 1970 it is 0.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock module")]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
