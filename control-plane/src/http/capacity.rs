//! Refuses to make more than a workspace may have (CA-12).

use super::error::ApiError;
use crate::db::capacity::{self, Counted};
use crate::state::AppState;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

/// Prices that a workspace may put before the catalogue: they go to the data plane with every API that follows it.
const PRICES_MAX: u32 = 400;

/// 409 at the cap. To be asked under the feed's lock.
pub(super) async fn require(
    state: &AppState,
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    counted: Counted,
) -> Result<(), ApiError> {
    let caps = &state.config.caps;
    let (max, noun) = match counted {
        Counted::Apis => (caps.apis, "APIs"),
        Counted::Keys => (caps.keys, "keys"),
        Counted::Rules => (caps.rules, "rules"),
        Counted::Budgets => (caps.budgets, "budgets"),
        Counted::Prices => (PRICES_MAX, "prices"),
    };
    if capacity::count(tx, workspace_id, counted).await? < u64::from(max) {
        return Ok(());
    }
    Err(ApiError::Conflict {
        field: "",
        message: format!("the workspace has {max} {noun}, as many as it may have"),
    })
}
