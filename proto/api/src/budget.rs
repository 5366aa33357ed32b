//! The workspace's monthly budget and what has been spent (SPEC 1.4).

use crate::clearable;
use crate::decimal::{Centi, Cents};
use crate::name::{BudgetSubjectType, BudgetWindow, FailureMode};
use serde::de::IgnoredAny;
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    pub id: String,
    pub name: String,
    pub subject: BudgetSubject,
    pub window: BudgetWindow,
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

/// Whose spend a budget counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetSubject {
    #[serde(rename = "type")]
    pub kind: BudgetSubjectType,
    /// API and KEY: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    // Of subjects that are known but not enforced yet, so that the type is what is refused.
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub name: Option<IgnoredAny>,
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub value: Option<IgnoredAny>,
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub model: Option<IgnoredAny>,
}

/// A budget of the collection `…/budgets`. Whoever it counts meets all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub id: String,
    pub name: String,
    pub subject: BudgetSubject,
    /// Calendar windows follow the workspace's time zone.
    pub window: BudgetWindow,
    pub limit_cents: Cents,
    /// True: refuses with 402 when spent. False: only counts.
    pub auto_shutoff: bool,
    pub failure_mode: FailureMode,
    pub created_at: String,
    pub updated_at: String,
}

/// One budget per subject and window.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
        "name": "The whole workspace, a day",
        "subject": {"type": "WORKSPACE"},
        "window": "DAY",
        "limitCents": 2_000,
        "autoShutoff": true
    })))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBudget {
    pub name: String,
    /// Absent: the workspace.
    #[serde(default)]
    pub subject: Option<BudgetSubject>,
    /// Absent: a calendar month.
    #[serde(default)]
    pub window: Option<BudgetWindow>,
    pub limit_cents: Cents,
    #[serde(default)]
    pub auto_shutoff: bool,
    /// Absent: BOUNDED_OPEN with `autoShutoff`, else FAIL_OPEN; FAIL_CLOSED if that is the workspace's.
    #[serde(default)]
    pub failure_mode: Option<FailureMode>,
    // Known, but not enforced yet: refused as `not_supported`.
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub thresholds: Option<IgnoredAny>,
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub top_up: Option<IgnoredAny>,
}

/// Absent fields stay as they are; what was spent stays spent. Subject and window are for good.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"limitCents": 2_500})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeBudget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_cents: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_shutoff: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<FailureMode>,
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub thresholds: Option<IgnoredAny>,
    #[cfg_attr(feature = "openapi", schema(ignore))]
    #[serde(default, skip_serializing)]
    pub top_up: Option<IgnoredAny>,
}
