//! Brings the tables up to date beside programs that serve.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::time::Duration;

/// A migration that waits longer for a lock lets go of all it holds and tries again, so that requests wait behind it
/// no longer than this. Well below the second after which Postgres looks for deadlocks: its victim may be a request.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '200ms'";
const PAUSE: Duration = Duration::from_millis(200);
/// About a minute in all.
const ATTEMPTS: u32 = 150;

/// Applies what is missing.
pub async fn run(migrator: &Migrator, options: &PgConnectOptions) -> Result<(), MigrateError> {
    for _ in 1..ATTEMPTS {
        match attempt(migrator, options).await {
            Err(error) if was_locked_out(&error) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    attempt(migrator, options).await
}

/// On a connection of its own: one that failed may still hold the lock that keeps a second migration away.
async fn attempt(migrator: &Migrator, options: &PgConnectOptions) -> Result<(), MigrateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute(LOCK_TIMEOUT).await?;
    let outcome = migrator.run(&mut connection).await;
    let _ = connection.close().await;
    outcome
}

fn was_locked_out(error: &MigrateError) -> bool {
    let (MigrateError::Execute(sqlx::Error::Database(error))
    | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _)) = error
    else {
        return false;
    };
    // lock_not_available, deadlock_detected
    error
        .code()
        .is_some_and(|code| code == "55P03" || code == "40P01")
}
