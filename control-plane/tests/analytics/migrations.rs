//! Migrations apply once, again, at the same time, and refuse a changed past.

use crate::clickhouse_engine::no_database;
use rateguard_control_plane::analytics::migrate::{self, MigrateError};

#[tokio::test]
async fn migrations_apply_once_and_can_be_run_again() {
    let endpoint = no_database();
    let first = migrate::run(&endpoint).await.unwrap();
    assert!(first >= 5);
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
