//! Table `login_failure`: failed logins of an account by where they came from.

use super::DbError;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};

/// What is known of an account and an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    pub count: i32,
    pub last_at: DateTime<Utc>,
}

/// The failures so far, under a lock: attempts on one account and origin are judged one after the other.
pub async fn lock(
    tx: &mut Transaction<'_, Postgres>,
    account: &[u8],
    origin: &str,
    now: DateTime<Utc>,
) -> Result<Failures, DbError> {
    Ok(sqlx::query_as!(
        Failures,
        "INSERT INTO login_failure (account, origin, failure_count, last_failure_at) VALUES ($1, $2, 0, $3)
         ON CONFLICT (account, origin) DO UPDATE SET account = EXCLUDED.account
         RETURNING failure_count AS count, last_failure_at AS last_at",
        account,
        origin,
        now
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Writes what [`lock`] gave and an attempt changed.
pub async fn set(
    tx: &mut Transaction<'_, Postgres>,
    account: &[u8],
    origin: &str,
    failures: Failures,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE login_failure SET failure_count = $3,
                last_failure_at = $4 WHERE account = $1 AND origin = $2",
        account,
        origin,
        failures.count,
        failures.last_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets an origin's failures after the right password.
pub async fn clear(db: &PgPool, account: &[u8], origin: &str) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM login_failure WHERE account = $1 AND origin = $2",
        account,
        origin
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes one failure back: the attempt was none.
pub async fn take_back(db: &PgPool, account: &[u8], origin: &str) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE login_failure SET failure_count = failure_count - 1
         WHERE account = $1 AND origin = $2 AND failure_count > 0",
        account,
        origin
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets what failed last before a time.
pub async fn prune(db: &PgPool, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM login_failure WHERE last_failure_at < $1", before)
        .execute(db)
        .await?;
    Ok(())
}
