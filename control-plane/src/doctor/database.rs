//! Postgres: reachable, recent enough, migrated as far as this program.

use super::{Check, TIMEOUT, whole};
use crate::config::Secret;
use crate::serve::MIGRATOR;
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeSet;

const SERVER: &str = "database";
const MIGRATIONS: &str = "database migrations";
/// `server_version_num` of the oldest that is tested.
const VERSION_MIN: i32 = 140_000;

pub(super) async fn check(url: &Secret) -> Vec<Check> {
    let connecting = tokio::time::timeout(TIMEOUT, PgConnection::connect(url.expose())).await;
    let mut db = match connecting {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return vec![unreachable(&whole(&error))],
        Err(_) => return vec![unreachable("no answer in 5 s")],
    };
    let checks = tokio::time::timeout(TIMEOUT, async {
        vec![version(&mut db).await, migrations(&mut db).await]
    });
    checks
        .await
        .unwrap_or_else(|_| vec![unreachable("connected, but no answer in 5 s")])
}

fn unreachable(found: &str) -> Check {
    Check::failed(
        SERVER,
        found,
        "start PostgreSQL, or correct DATABASE_URL (host, port, password, sslmode)",
    )
}

async fn version(db: &mut PgConnection) -> Check {
    // Settings of the server, which no migration of ours describes: not for the macros.
    let answer: Result<(String, i32, bool), _> = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery()",
    )
    .fetch_one(db)
    .await;
    match answer {
        Ok((_, _, true)) => Check::failed(
            SERVER,
            "a read-only standby",
            "point DATABASE_URL at the primary, or promote this one",
        ),
        Ok((version, number, false)) if number < VERSION_MIN => Check::failed(
            SERVER,
            format!("PostgreSQL {version}"),
            "upgrade to PostgreSQL 14 or later",
        ),
        Ok((version, _, false)) => Check::ok(SERVER, format!("PostgreSQL {version}")),
        Err(error) => unreachable(&whole(&error)),
    }
}

/// Newer migrations than ours are fine: they only expand, and the next version's are run first.
async fn migrations(db: &mut PgConnection) -> Check {
    // sqlx's own table, absent before the first migration: not for the macros.
    let applied: Result<Vec<(i64, bool)>, _> =
        sqlx::query_as("SELECT version, success FROM _sqlx_migrations")
            .fetch_all(db)
            .await;
    let Ok(applied) = applied else {
        return Check::failed(
            MIGRATIONS,
            "none was run in this database",
            "run rateguard-control-plane migrate",
        );
    };
    if let Some((version, _)) = applied.iter().find(|(_, success)| !success) {
        return Check::failed(
            MIGRATIONS,
            format!("{version} broke off half-way"),
            "look at the database's log, remove its row from _sqlx_migrations, and run rateguard-control-plane migrate",
        );
    }
    let applied: BTreeSet<i64> = applied.into_iter().map(|(version, _)| version).collect();
    let missing = MIGRATOR
        .iter()
        .filter(|ours| !applied.contains(&ours.version))
        .count();
    if missing > 0 {
        return Check::failed(
            MIGRATIONS,
            format!("{missing} of {} are missing", MIGRATOR.iter().count()),
            "run rateguard-control-plane migrate",
        );
    }
    Check::ok(MIGRATIONS, format!("{} applied", applied.len()))
}
