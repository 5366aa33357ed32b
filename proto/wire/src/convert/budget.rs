//! Budgets and their subjects.

use super::names::known;
use super::{Fault, Invalid, amount, id, required};
use crate::v1;
use rateguard_model::budget::{Budget, BudgetSubject};
use rateguard_model::money::NanoUsd;

impl TryFrom<v1::Budget> for Budget {
    type Error = Invalid;

    fn try_from(message: v1::Budget) -> Result<Self, Invalid> {
        let v1::Budget {
            id: budget_id,
            workspace_id,
            version,
            name,
            subject_kind,
            subject: subject_text,
            limit_nanos,
            window,
            auto_shutoff,
            failure_mode,
        } = message;
        Ok(Self {
            id: id("Budget.id", &budget_id)?,
            workspace_id: id("Budget.workspace_id", &workspace_id)?,
            version,
            name,
            subject: subject(subject_kind, subject_text)?,
            limit: NanoUsd(amount("Budget.limit_nanos", limit_nanos)?),
            window: required("Budget.window", window)?.try_into()?,
            auto_shutoff,
            failure_mode: known::<v1::FailureMode, _>("Budget.failure_mode", failure_mode)?,
        })
    }
}

fn subject(kind: i32, text: String) -> Result<BudgetSubject, Invalid> {
    use v1::BudgetSubjectKind as Kind;
    let malformed = Fault::Form.at("Budget.subject");
    match Kind::try_from(kind).unwrap_or(Kind::Unspecified) {
        Kind::Unspecified => Err(Fault::Enum.at("Budget.subject_kind")),
        Kind::Workspace if text.is_empty() => Ok(BudgetSubject::Workspace),
        Kind::Workspace => Err(malformed),
        Kind::Api => text.parse().map(BudgetSubject::Api).map_err(|_| malformed),
        Kind::Key => text.parse().map(BudgetSubject::Key).map_err(|_| malformed),
        Kind::Tag => match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(BudgetSubject::Tag {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(malformed),
        },
        Kind::Model if text.is_empty() => Err(malformed),
        Kind::Model => Ok(BudgetSubject::Model { glob: text }),
    }
}

/// A subject as messages name it: its kind, and whose spend it is.
pub fn named(subject: &BudgetSubject) -> (v1::BudgetSubjectKind, String) {
    use v1::BudgetSubjectKind as Kind;
    match subject {
        BudgetSubject::Workspace => (Kind::Workspace, String::new()),
        BudgetSubject::Api(id) => (Kind::Api, id.to_string()),
        BudgetSubject::Key(id) => (Kind::Key, id.to_string()),
        BudgetSubject::Tag { name, value } => (Kind::Tag, format!("{name}={value}")),
        BudgetSubject::Model { glob } => (Kind::Model, glob.clone()),
    }
}

impl From<Budget> for v1::Budget {
    fn from(budget: Budget) -> Self {
        let Budget {
            id,
            workspace_id,
            version,
            name,
            subject,
            limit,
            window,
            auto_shutoff,
            failure_mode,
        } = budget;
        let (subject_kind, subject) = named(&subject);
        Self {
            id: id.as_bytes().to_vec(),
            workspace_id: workspace_id.as_bytes().to_vec(),
            version,
            name,
            subject_kind: subject_kind.into(),
            subject,
            limit_nanos: limit.0,
            window: Some(window.into()),
            auto_shutoff,
            failure_mode: v1::FailureMode::from(failure_mode).into(),
        }
    }
}
