//! The workspace's monthly budget and what has been spent (SPEC 1.4).

use crate::clearable;
use crate::decimal::{Centi, Cents};
use serde::{Deserialize, Serialize};

/// `PATCH …/budget`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"monthlyBudgetCents": 50_000, "autoShutoff": true})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateBudget {
    /// Null removes the budget.
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Cents>))]
    pub monthly_budget_cents: Option<Option<Cents>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_shutoff: Option<bool>,
}

/// The simple form: one budget for the calendar month in the workspace's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonthlyBudget {
    pub monthly_budget_cents: Option<Cents>,
    pub auto_shutoff: bool,
}

/// `GET …/costs`. The figures are those of the workspace's monthly budget; null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    pub current_spend_cents: Option<Cents>,
    pub reserved_cents: Option<Cents>,
    pub budget_cents: Option<Cents>,
    pub percent_used: Option<Centi>,
    pub remaining_cents: Option<Cents>,
    pub daily_rate_cents: Option<Cents>,
    pub projected_month_end_cents: Option<Cents>,
    pub auto_shutoff: bool,
    pub budgets: Vec<BudgetStatus>,
}

/// One budget's window so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    pub id: String,
    pub name: String,
    pub auto_shutoff: bool,
    pub budget_cents: Cents,
    pub current_spend_cents: Cents,
    pub reserved_cents: Cents,
    pub remaining_cents: Cents,
    pub percent_used: Centi,
    pub daily_rate_cents: Cents,
    pub projected_cents: Cents,
    pub window_start: String,
    /// Null: the window never ends.
    pub window_end: Option<String>,
}
