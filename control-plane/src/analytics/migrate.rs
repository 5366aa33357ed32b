//! Brings ClickHouse's tables up to date: numbered files, applied in order, each remembered with its checksum.
//!
//! ClickHouse has no transactions over definitions. So every statement can be run again (`IF NOT EXISTS`), a file is
//! remembered after its last statement, and a run that broke off, or two at the same time, end in the same tables.
//!
//! `${on_cluster}` and `${replicated}` in a file become nothing on one server, `ON CLUSTER name` and `Replicated` where
//! `CLICKHOUSE_CLUSTER` names a cluster; its servers' default replica path and macros apply.
//!
//! A file that makes a new rollup also fills it. `${newest_received_ms}` is when the newest row was received that was
//! there, and `${backfill}` are the settings under which an `INSERT … SELECT` can be run again: the same rows in the same
//! blocks, of which those that are there change nothing.

use super::Endpoint;
use crate::hex;
use clickhouse::Client;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal;)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/clickhouse/", $name, ".sql")),
        }),*]
    };
}

/// Every file of `migrations/clickhouse`, in order. An applied file is never changed: the next number changes its tables.
const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_api_events";
    2 "0002_usage";
    3 "0003_latency";
    4 "0004_tags";
    5 "0005_spend_ledger";
    6 "0006_bus_marks";
    7 "0007_latency_rollups";
};

/// Blocks are cut by rows alone, because what a sketch takes in memory varies. Groups and orders may go to disk.
const BACKFILL_SETTINGS: &str = "insert_deduplicate = 1, deduplicate_blocks_in_dependent_materialized_views = 1, \
    max_insert_threads = 1, min_insert_block_size_rows = 100000, min_insert_block_size_bytes = 0, \
    max_bytes_before_external_group_by = 1000000000, max_bytes_before_external_sort = 1000000000";

const NEWEST_RECEIVED: &str = "${newest_received_ms}";

const APPLIED_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS schema_migrations ${on_cluster}
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ${replicated}MergeTree
ORDER BY version";

/// Why the tables are not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("cannot reach ClickHouse or it refused a query")]
    Query(#[source] clickhouse::error::Error),
    #[error("statement {statement} of {name} failed")]
    Statement {
        name: &'static str,
        /// From 1.
        statement: usize,
        source: clickhouse::error::Error,
    },
    #[error("{name} was changed after it had been applied; put it back and make a new file for the change")]
    Changed { name: &'static str },
}

/// Applies what is missing and says how many files that were. Makes the database too.
pub async fn run(endpoint: &Endpoint) -> Result<usize, MigrateError> {
    let database = format!(
        "CREATE DATABASE IF NOT EXISTS `{}` ${{on_cluster}}",
        endpoint.database()
    );
    let server = endpoint.server_client();
    execute(&server, &fill(&database, endpoint)).await?;
    let client = endpoint.client();
    execute(&client, &fill(APPLIED_TABLE, endpoint)).await?;
    let applied = applied(&client).await?;
    let mut count = 0;
    for migration in MIGRATIONS {
        let checksum = hex::encode(&Sha256::digest(migration.sql));
        match applied.get(&migration.version) {
            Some(known) if *known == checksum => continue,
            Some(_) => return Err(MigrateError::Changed { name: migration.name }),
            None => {}
        }
        apply(&client, endpoint, migration).await?;
        client
            .query("INSERT INTO schema_migrations (version, name, checksum) SELECT ?, ?, ?")
            .bind(migration.version)
            .bind(migration.name)
            .bind(&checksum)
            .execute()
            .await
            .map_err(MigrateError::Query)?;
        count += 1;
    }
    Ok(count)
}

async fn apply(client: &Client, endpoint: &Endpoint, migration: &Migration) -> Result<(), MigrateError> {
    let mut sql = fill(migration.sql, endpoint);
    if sql.contains(NEWEST_RECEIVED) {
        let newest = newest_received_ms(client).await?;
        sql = sql.replace(NEWEST_RECEIVED, &newest.to_string());
    }
    for (index, statement) in statements(&sql).enumerate() {
        let outcome = client.query_raw(statement).execute().await;
        outcome.map_err(|source| MigrateError::Statement {
            name: migration.name,
            statement: index + 1,
            source,
        })?;
    }
    Ok(())
}

/// When the newest row of `api_events` was received, Unix milliseconds; 0 where there is none.
async fn newest_received_ms(client: &Client) -> Result<i64, MigrateError> {
    client
        .query("SELECT toUnixTimestamp64Milli(max(received_at)) FROM api_events")
        .fetch_one::<i64>()
        .await
        .map_err(MigrateError::Query)
}

/// Checksums by version.
async fn applied(client: &Client) -> Result<BTreeMap<u32, String>, MigrateError> {
    let rows = client
        .query("SELECT version, checksum FROM schema_migrations")
        .fetch_all::<(u32, String)>()
        .await;
    Ok(rows.map_err(MigrateError::Query)?.into_iter().collect())
}

async fn execute(client: &Client, statement: &str) -> Result<(), MigrateError> {
    client
        .query_raw(statement)
        .execute()
        .await
        .map_err(MigrateError::Query)
}

/// Statements end with a semicolon at the end of a line.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
}

/// The cluster's name is letters, digits and underscores (`Endpoint::parse`).
fn fill(sql: &str, endpoint: &Endpoint) -> String {
    let (on_cluster, replicated) = match endpoint.cluster() {
        Some(cluster) => (format!("ON CLUSTER {cluster}"), "Replicated"),
        None => (String::new(), ""),
    };
    sql.replace("${on_cluster}", &on_cluster)
        .replace("${replicated}", replicated)
        .replace("${backfill}", BACKFILL_SETTINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_and_numbered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/clickhouse");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|m| format!("{}.sql", m.name)).collect();
        assert_eq!(files, listed);
        for (number, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, number);
            assert!(migration.name.starts_with(&format!("{number:04}_")));
        }
    }

    #[test]
    fn every_statement_can_be_run_again_and_on_a_cluster() {
        let cluster = Endpoint::parse("http://h/d", Some("main")).unwrap();
        for migration in MIGRATIONS {
            let sql = fill(migration.sql, &cluster);
            for statement in statements(&sql) {
                if statement.contains("INSERT INTO") {
                    // On one server; the others take its rows.
                    assert!(statement.contains(BACKFILL_SETTINGS), "{statement}");
                    assert!(
                        statement.contains("insert_deduplication_token = '0"),
                        "{statement}"
                    );
                    assert!(statement.contains("ORDER BY"), "{statement}");
                    continue;
                }
                let again = ["IF NOT EXISTS", "DROP VIEW IF EXISTS"];
                assert!(again.iter().any(|words| statement.contains(words)), "{statement}");
                assert!(statement.contains("ON CLUSTER main"), "{statement}");
                let engine = statement.contains("ENGINE = ");
                assert_eq!(engine, statement.contains("ENGINE = Replicated"), "{statement}");
            }
            assert!(!sql.replace(NEWEST_RECEIVED, "").contains("${"), "{sql}");
        }
    }
}
