//! How many things a workspace has, for the caps (CA-12).

use super::DbError;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Apis,
    /// Those that are shown: deleted ones no longer count.
    Keys,
    Rules,
    Budgets,
    Prices,
}

/// To be asked under the feed's lock, which no other creation holds meanwhile.
pub async fn count(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    counted: Counted,
) -> Result<u64, DbError> {
    let count =
        match counted {
            Counted::Apis => {
                sqlx::query_scalar!(
                    "SELECT count(*) AS \"count!\" FROM api WHERE workspace_id = $1",
                    workspace_id
                )
                .fetch_one(&mut **tx)
                .await?
            }
            Counted::Keys => sqlx::query_scalar!(
                "SELECT count(*) AS \"count!\" FROM api_key WHERE workspace_id = $1 AND deleted_at IS NULL",
                workspace_id
            )
            .fetch_one(&mut **tx)
            .await?,
            Counted::Rules => {
                sqlx::query_scalar!(
                    "SELECT count(*) AS \"count!\" FROM rule WHERE workspace_id = $1",
                    workspace_id
                )
                .fetch_one(&mut **tx)
                .await?
            }
            Counted::Budgets => {
                sqlx::query_scalar!(
                    "SELECT count(*) AS \"count!\" FROM budget WHERE workspace_id = $1",
                    workspace_id
                )
                .fetch_one(&mut **tx)
                .await?
            }
            Counted::Prices => {
                sqlx::query_scalar!(
                    "SELECT count(*) AS \"count!\" FROM price_override WHERE workspace_id = $1",
                    workspace_id
                )
                .fetch_one(&mut **tx)
                .await?
            }
        };
    Ok(u64::try_from(count).unwrap_or(0))
}
