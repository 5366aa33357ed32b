//! Transactions that see one workspace's rows and no others, by Postgres's row-level security: the second wall behind
//! every query's own `workspace_id` (TI-10).

use super::{DbError, transaction};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Begins a transaction in a workspace. It acts as the role `rateguard_tenant` until it ends; one round trip, as a plain
/// `BEGIN` is.
pub async fn begin(db: &PgPool, workspace_id: Uuid) -> Result<Transaction<'static, Postgres>, DbError> {
    // A UUID's text needs no quoting; `SET` takes no parameters.
    let statement =
        format!("BEGIN; SET LOCAL ROLE rateguard_tenant; SET LOCAL rateguard.workspace = '{workspace_id}'");
    Ok(transaction::begin_with(db, statement).await?)
}
