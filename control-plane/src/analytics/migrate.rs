//! Brings ClickHouse's tables up to date: numbered files, applied in order, each remembered with its checksum.
//!
//! ClickHouse has no transactions over definitions. So every statement can be run again (`IF NOT EXISTS`), a file is
//! remembered after its last statement, and a run that broke off, or two at the same time, end in the same tables.
//!
//! `${on_cluster}` and `${replicated}` in a file become nothing on one server, `ON CLUSTER name` and `Replicated` where
//! `CLICKHOUSE_CLUSTER` names a cluster; its servers' default replica path and macros apply.

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
};

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
    let sql = fill(migration.sql, endpoint);
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
                assert!(statement.contains("IF NOT EXISTS"), "{statement}");
                assert!(statement.contains("ON CLUSTER main"), "{statement}");
                let engine = statement.contains("ENGINE = ");
                assert_eq!(engine, statement.contains("ENGINE = Replicated"), "{statement}");
            }
            assert!(!sql.contains("${"), "{sql}");
        }
    }
}
