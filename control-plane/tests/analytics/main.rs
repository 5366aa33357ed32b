//! ClickHouse's tables on the real engine: migrations, rollups against what they were made from, expiry.

#[path = "../support/clickhouse.rs"]
mod clickhouse_engine;
mod events;
mod expiry;
mod migrations;
mod property;
mod query;
mod query_events;
mod rollups;
mod spend;
#[expect(dead_code, reason = "the suites share it; this one needs a part")]
#[path = "../support/mod.rs"]
mod support;
