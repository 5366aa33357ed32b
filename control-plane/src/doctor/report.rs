//! What was found, as a table or as JSON.

use serde::Serialize;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It works, and something should be better.
    Warning,
    Failed,
    /// Not configured.
    Skipped,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What was found. Never a secret.
    pub found: String,
    /// What to do about a warning or a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, found, None)
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, found, Some(fix.into()))
    }

    pub(super) fn failed(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Failed, found, Some(fix.into()))
    }

    /// For what a variable would switch on.
    pub(super) fn skipped(name: &'static str, variable: &str) -> Self {
        Self::new(name, Outcome::Skipped, format!("{variable} is not set"), None)
    }

    fn new(name: &'static str, outcome: Outcome, found: impl Into<String>, fix: Option<String>) -> Self {
        Self {
            name,
            outcome,
            found: found.into(),
            fix,
        }
    }
}

/// All lines, in the order in which a request meets the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(pub Vec<Check>);

impl Report {
    pub fn has_failed(&self) -> bool {
        self.0.iter().any(|check| check.outcome == Outcome::Failed)
    }

    /// `{"ok": …, "checks": [{"name", "outcome", "found", "fix"}]}`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "ok": !self.has_failed(), "checks": self.0 })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .0
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or_default();
        for check in &self.0 {
            let word = match check.outcome {
                Outcome::Ok => "ok",
                Outcome::Warning => "warning",
                Outcome::Failed => "FAILED",
                Outcome::Skipped => "skipped",
            };
            writeln!(f, "{word:<8} {:<width$}  {}", check.name, check.found)?;
            if let Some(fix) = &check.fix {
                writeln!(f, "{:<8} {:<width$}  fix: {fix}", "", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_followed_by_its_fix() {
        let report = Report(vec![
            Check::ok("database", "PostgreSQL 15.3"),
            Check::skipped("Redis", "REDIS_URL"),
            Check::failed("limit service", "refused", "start it"),
        ]);
        assert!(report.has_failed());
        assert_eq!(
            report.to_string(),
            "ok       database       PostgreSQL 15.3\n\
             skipped  Redis          REDIS_URL is not set\n\
             FAILED   limit service  refused\n\
             \x20                       fix: start it\n"
        );
        let json = report.json();
        assert_eq!(
            (&json["ok"], &json["checks"][2]["outcome"]),
            (&false.into(), &"failed".into())
        );
    }
}
