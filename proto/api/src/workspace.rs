//! Workspaces and their settings.

use crate::clearable;
use crate::decimal::Cents;
use crate::name::{BudgetWindow, FailureMode, Role, UnpricedModelPolicy};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    pub id: String,
    pub slug: String,
    pub name: String,
    pub settings: Settings,
    /// The caller's.
    pub role: Role,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// IANA name; calendar windows follow it.
    pub time_zone: String,
    pub unpriced_model_policy: UnpricedModelPolicy,
    /// For rules and budgets that are made without one.
    pub failure_mode: FailureMode,
    /// What new keys get; null: no budget of their own.
    pub default_key_budget: Option<DefaultKeyBudget>,
}

/// The budget that every key gets when it is made. Keys that are there already keep what they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"limitCents": 500, "window": "DAY", "autoShutoff": true})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultKeyBudget {
    pub limit_cents: Cents,
    /// Absent: a calendar month.
    #[serde(default = "calendar_month")]
    pub window: BudgetWindow,
    /// True: refuses with 402 when spent. False: only counts.
    #[serde(default)]
    pub auto_shutoff: bool,
}

fn calendar_month() -> BudgetWindow {
    BudgetWindow::Month
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "Research", "slug": "research", "settings": {"timeZone": "Europe/Berlin"}})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateWorkspace {
    pub name: String,
    /// Absent: made from the name.
    #[serde(default)]
    pub slug: Option<String>,
    #[serde(default)]
    pub settings: Option<SettingsChange>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "Research and development", "settings": {"failureMode": "FAIL_CLOSED"}})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateWorkspace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsChange>,
}

/// Absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettingsChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_model_policy: Option<UnpricedModelPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<FailureMode>,
    /// Null: new keys get none.
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DefaultKeyBudget>))]
    pub default_key_budget: Option<Option<DefaultKeyBudget>>,
}
