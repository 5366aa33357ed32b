//! What windows have spent, by the ledger: for the limit service when it lost its own figures, and for the reconciler.

use super::Endpoint;
use super::query::{QueryError, Reader, all};
use clickhouse::Row;
use rateguard_wire::v1::{BudgetSubjectKind, SpendWindow};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the ledger is kept in.
const QUARTER_MS: i64 = 900_000;

/// The last second that a bucket can have.
const TIME_MS_MAX: i64 = u32::MAX as i64 * 1_000;

/// A window that the ledger can add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    kind: &'static str,
    subject: String,
    start_s: u32,
    /// 0: it never ends.
    end_s: u32,
}

/// Why a window cannot be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("subject_kind is none that the ledger is kept by")]
    Subject,
    #[error("start_ms and end_ms must be whole quarters of an hour, the end after the start")]
    Bounds,
}

impl TryFrom<SpendWindow> for Window {
    type Error = WindowError;

    fn try_from(message: SpendWindow) -> Result<Self, WindowError> {
        let kind = match message.subject_kind() {
            BudgetSubjectKind::Workspace if message.subject.is_empty() => "workspace",
            BudgetSubjectKind::Api => "api",
            BudgetSubjectKind::Key => "key",
            BudgetSubjectKind::Tag => "tag",
            // A model's budget names a glob, and none is enforced.
            BudgetSubjectKind::Workspace | BudgetSubjectKind::Model | BudgetSubjectKind::Unspecified => {
                return Err(WindowError::Subject);
            }
        };
        let SpendWindow {
            subject_kind: _,
            subject,
            start_ms,
            end_ms,
        } = message;
        let second = |ms: i64| {
            let is_whole = (0..=TIME_MS_MAX).contains(&ms) && ms % QUARTER_MS == 0;
            let second = is_whole.then(|| u32::try_from(ms / 1_000).ok()).flatten();
            second.ok_or(WindowError::Bounds)
        };
        let (start_s, end_s) = (second(start_ms)?, second(end_ms)?);
        if end_s != 0 && end_s <= start_s {
            return Err(WindowError::Bounds);
        }
        Ok(Self {
            kind,
            subject,
            start_s,
            end_s,
        })
    }
}

#[derive(Row, Deserialize)]
struct Sum {
    cost_nanos: i64,
}

#[derive(Row, Deserialize)]
struct Count {
    count: u64,
}

impl Reader {
    /// Nano-USD per window, in order; below 0 where late settlements gave back more.
    pub async fn spent(&self, workspace_id: Uuid, windows: &[Window]) -> Result<Vec<i64>, QueryError> {
        let mut spent = Vec::with_capacity(windows.len());
        for window in windows {
            let sql = "SELECT sum(cost_nanos) AS cost_nanos FROM spend_ledger WHERE workspace_id = {workspace:UUID} \
                AND subject_kind = {kind:String} AND subject = {subject:String} \
                AND bucket >= toDateTime({start:UInt32}, 'UTC') \
                AND ({end:UInt32} = 0 OR bucket < toDateTime({end:UInt32}, 'UTC'))";
            let query = self
                .query(sql, workspace_id)
                .param("kind", window.kind)
                .param("subject", &window.subject)
                .param("start", window.start_s)
                .param("end", window.end_s);
            let sums: Vec<Sum> = all(query).await?;
            spent.push(sums.first().map_or(0, |sum| sum.cost_nanos));
        }
        Ok(spent)
    }

    /// Whether the consumer has passed a mark.
    pub async fn has_mark(&self, workspace_id: Uuid, mark_id: Uuid) -> Result<bool, QueryError> {
        let sql = "SELECT count() AS count FROM bus_marks WHERE workspace_id = {workspace:UUID} \
            AND mark_id = {mark:UUID}";
        let query = self.query(sql, workspace_id).param("mark", mark_id.to_string());
        let counts: Vec<Count> = all(query).await?;
        Ok(counts.first().is_some_and(|found| found.count > 0))
    }
}

/// A mark that came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Mark {
    #[serde(with = "clickhouse::serde::uuid")]
    pub workspace_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub mark_id: Uuid,
    /// Unix seconds.
    pub passed_at: u32,
}

/// Remembers marks. Repeating it changes nothing that is read.
pub async fn remember(endpoint: &Endpoint, marks: &[Mark]) -> Result<(), clickhouse::error::Error> {
    let mut insert = endpoint.client().insert::<Mark>("bus_marks").await?;
    for mark in marks {
        insert.write(mark).await?;
    }
    insert.end().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_quarters_of_known_subjects_can_be_added_up() {
        let month = SpendWindow {
            subject_kind: BudgetSubjectKind::Workspace.into(),
            subject: String::new(),
            start_ms: 1_780_264_800_000,
            end_ms: 1_782_856_800_000,
        };
        let window = Window::try_from(month.clone()).unwrap();
        assert_eq!(
            (window.kind, window.start_s, window.end_s),
            ("workspace", 1_780_264_800, 1_782_856_800)
        );
        let with = |change: fn(&mut SpendWindow)| {
            let mut window = month.clone();
            change(&mut window);
            Window::try_from(window)
        };
        assert!(with(|w| w.end_ms = 0).is_ok());
        for refused in [
            with(|w| w.start_ms += 1),
            with(|w| w.start_ms = -900_000),
            with(|w| w.end_ms = w.start_ms),
            with(|w| w.end_ms = i64::MAX / 900_000 * 900_000),
        ] {
            assert_eq!(refused, Err(WindowError::Bounds));
        }
        for refused in [
            with(|w| w.subject_kind = 0),
            with(|w| w.subject = "x".into()),
            with(|w| w.subject_kind = BudgetSubjectKind::Model.into()),
        ] {
            assert_eq!(refused, Err(WindowError::Subject));
        }
    }
}
