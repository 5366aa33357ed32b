//! ClickHouse's tables on the real engine: migrations, rollups against what they were made from, expiry.

#[path = "../support/clickhouse.rs"]
mod clickhouse_engine;
mod events;
mod expiry;
mod migrations;
mod rollups;
