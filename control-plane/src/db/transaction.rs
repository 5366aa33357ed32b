//! How transactions begin: in a task of their own, so that one whose caller goes away meanwhile is rolled back.
//!
//! sqlx 0.8 does not yet count a transaction while it begins. Given up then, its connection would go back to the pool in
//! the middle of it: the next to use that connection would write into it, and lose what they wrote.

use sqlx::{PgPool, Postgres, Transaction};
use std::borrow::Cow;

/// Begins a transaction.
///
/// # Errors
/// Postgres cannot be reached or refuses, or the program is ending.
pub async fn begin(db: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin_with(db, "BEGIN").await
}

/// The same with a statement of its own, which has to begin with `BEGIN`.
///
/// # Errors
/// As [`begin`].
pub async fn begin_with(
    db: &PgPool,
    statement: impl Into<Cow<'static, str>>,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let (db, statement) = (db.clone(), statement.into());
    #[expect(clippy::disallowed_methods, reason = "this is where it is made safe")]
    let begun = async move { db.begin_with(statement).await };
    tokio::spawn(begun)
        .await
        .unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
