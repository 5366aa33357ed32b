//! Migrations apply once, again, at the same time, and refuse a changed past.

use crate::clickhouse_engine::{fresh_database, no_database};
use crate::events::{insert, now_ms, random};
use crate::rollups::different_from_raw_rows;
use rateguard_control_plane::analytics::migrate::{self, MigrateError};
use rateguard_control_plane::analytics::{ApiEvent, Endpoint};

/// Tables that 0007 makes and fills, what their buckets are, and by what.
const FILLED: [(&str, &str, &str); 5] = [
    ("latency_model_hour", "toStartOfHour", "api_id, model"),
    ("latency_model_day", "toStartOfDay", "api_id, model"),
    ("latency_api_hour", "toStartOfHour", "api_id"),
    ("latency_key_hour", "toStartOfHour", "api_key_id, api_id, model"),
    ("latency_key_day", "toStartOfDay", "api_key_id, api_id, model"),
];

#[tokio::test]
async fn migrations_apply_once_and_can_be_run_again() {
    let endpoint = no_database();
    let first = migrate::run(&endpoint).await.unwrap();
    assert!(first >= 7);
    assert_eq!(migrate::run(&endpoint).await.unwrap(), 0);
    let tables = "SELECT count() FROM system.tables WHERE database = currentDatabase()";
    let before: u64 = endpoint.client().query(tables).fetch_one().await.unwrap();
    // A run that broke off before it was remembered is repeated on what it left.
    let forget = "TRUNCATE TABLE schema_migrations";
    endpoint.client().query(forget).execute().await.unwrap();
    assert_eq!(migrate::run(&endpoint).await.unwrap(), first);
    let after: u64 = endpoint.client().query(tables).fetch_one().await.unwrap();
    assert_eq!(before, after);
}

async fn run(endpoint: &Endpoint, statement: &str) {
    endpoint.client().query_raw(statement).execute().await.unwrap();
}

/// A database as the version before 0007 left it, which remembers nothing of what was applied.
async fn database_before_0007() -> Endpoint {
    let endpoint = fresh_database().await;
    for (table, ..) in FILLED {
        run(&endpoint, &format!("DROP VIEW {table}_mv")).await;
    }
    for (table, ..) in FILLED {
        run(&endpoint, &format!("DROP TABLE {table}")).await;
    }
    let latency = include_str!("../../migrations/clickhouse/0003_latency.sql");
    let latency = latency.replace("${on_cluster}", "").replace("${replicated}", "");
    for statement in latency
        .split(";\n")
        .filter(|statement| !statement.trim().is_empty())
    {
        run(&endpoint, statement).await;
    }
    run(&endpoint, "TRUNCATE TABLE schema_migrations").await;
    endpoint
}

#[tokio::test]
async fn ev_06_new_rollups_are_filled_with_what_was_there_once_though_it_is_done_again() {
    let endpoint = database_before_0007().await;
    let mut rows = random(61, 3_000, now_ms(&endpoint).await);
    // As they are consumed: what comes after the migration was received after all before it.
    rows.sort_by_key(|row| row.received_at);
    let (before, after) = rows.split_at(2_000);
    for (n, block) in before.chunks(500).enumerate() {
        insert(&endpoint, &format!("before-{n}"), block).await;
    }
    // A day that no table of hours has any more.
    let ancient = "INSERT INTO latency_day SELECT workspace_id, toDateTime('2020-02-02 00:00:00', 'UTC'), \
                   api_id, model, latency, upstream_latency, ttft FROM latency_day LIMIT 1";
    run(&endpoint, ancient).await;
    let (one, other) = tokio::join!(migrate::run(&endpoint), migrate::run(&endpoint));
    one.unwrap();
    other.unwrap();
    insert(&endpoint, "after", after).await;
    assert_filled(&endpoint, &rows).await;
    run(&endpoint, "TRUNCATE TABLE schema_migrations").await;
    migrate::run(&endpoint).await.unwrap();
    assert_filled(&endpoint, &rows).await;
}

async fn assert_filled(endpoint: &Endpoint, rows: &[ApiEvent]) {
    let raw = "SELECT count() FROM api_events";
    let count: u64 = endpoint.client().query(raw).fetch_one().await.unwrap();
    assert_eq!(count, rows.len() as u64);
    for (table, step, of) in FILLED {
        let different = different_from_raw_rows(endpoint, table, step, of).await;
        // One is not of any raw row.
        assert_eq!(different, u64::from(table == "latency_model_day"), "{table}");
    }
    let ancient = |table: &str| {
        format!(
            "SELECT workspace_id, bucket, api_id, model, \
             hex(quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)({table}.latency)) AS latency \
             FROM {table} WHERE bucket < '2021-01-01' GROUP BY workspace_id, bucket, api_id, model"
        )
    };
    let [old, new] = ["latency_day", "latency_model_day"].map(ancient);
    let same = format!("SELECT count() FROM ({old} INTERSECT {new})");
    let same: u64 = endpoint.client().query(&same).fetch_one().await.unwrap();
    assert_eq!(same, 1);
}

#[tokio::test]
async fn two_at_the_same_time_end_in_the_same_tables() {
    let endpoint = no_database();
    let (one, other) = tokio::join!(migrate::run(&endpoint), migrate::run(&endpoint));
    one.unwrap();
    other.unwrap();
    assert_eq!(migrate::run(&endpoint).await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_that_was_changed_after_it_was_applied_is_refused() {
    let endpoint = no_database();
    migrate::run(&endpoint).await.unwrap();
    for statement in [
        "TRUNCATE TABLE schema_migrations",
        "INSERT INTO schema_migrations (version, name, checksum) SELECT 1, '0001_api_events', 'other'",
    ] {
        endpoint.client().query(statement).execute().await.unwrap();
    }
    let refused = migrate::run(&endpoint).await.unwrap_err();
    assert!(
        matches!(
            refused,
            MigrateError::Changed {
                name: "0001_api_events"
            }
        ),
        "{refused:?}"
    );
}
