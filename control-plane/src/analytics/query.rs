//! What is read from ClickHouse for people: charts, breakdowns, recent requests, exports.
//!
//! Every statement names the workspace, takes what came from outside as ClickHouse's own parameters, and is bounded in
//! time, rows and memory.

pub mod events;
pub mod latency;
pub mod range;
pub mod usage;

use super::Endpoint;
use clickhouse::error::Error;
use clickhouse::query::Query;
use clickhouse::{Client, RowOwned, RowRead};
use range::{Plan, Span};
use std::time::Duration;
use uuid::Uuid;

/// Bounds of one statement. What exceeds them is refused by ClickHouse, not cut off.
const LIMITS: &[(&str, &str)] = &[
    ("max_execution_time", "20"),
    ("max_rows_to_read", "2000000000"),
    ("max_bytes_to_read", "100000000000"),
    ("max_memory_usage", "4000000000"),
    ("max_result_rows", "50000"),
    ("result_overflow_mode", "throw"),
];

/// A little more than ClickHouse is given, less than a REST request has.
const TIMEOUT: Duration = Duration::from_secs(25);

/// ClickHouse's codes for a statement that exceeded a bound: rows, time, memory, bytes, rows of the result.
const EXCEEDED: &[u32] = &[158, 159, 241, 307, 396];
/// Too many statements at once, a cluster that is not all there, a server that is starting or stopping.
const BUSY: &[u32] = &[202, 203, 209, 210, 236, 279];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("ClickHouse did not answer")]
    Away(#[source] Option<Error>),
    #[error("the answer needs more than one request may take")]
    TooMuch(#[source] Error),
    #[error("ClickHouse refused the query")]
    Refused(#[source] Error),
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Network(_) | Error::TimedOut => Self::Away(Some(error)),
            Error::BadResponse(text) => match code(text) {
                Some(code) if EXCEEDED.contains(&code) => Self::TooMuch(error),
                Some(code) if !BUSY.contains(&code) => Self::Refused(error),
                // Without a code it was something in between that answered.
                Some(_) | None => Self::Away(Some(error)),
            },
            _ => Self::Refused(error),
        }
    }
}

/// `Code: 159. DB::Exception: …`
fn code(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Reads one ClickHouse. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Reader {
    client: Client,
}

impl Reader {
    pub fn new(endpoint: &Endpoint) -> Self {
        let client = LIMITS.iter().fold(endpoint.client(), |client, (name, value)| {
            client.with_setting(*name, *value)
        });
        Self { client }
    }

    /// A statement on a workspace's rows: `{workspace:UUID}` is its parameter.
    pub(super) fn query(&self, sql: &str, workspace_id: Uuid) -> Query {
        self.client
            .query_raw(sql)
            .param("workspace", workspace_id.to_string())
    }
}

/// All rows of a statement.
pub(super) async fn all<T: RowOwned + RowRead>(query: Query) -> Result<Vec<T>, QueryError> {
    match tokio::time::timeout(TIMEOUT, query.fetch_all::<T>()).await {
        Ok(rows) => Ok(rows?),
        Err(_) => Err(QueryError::Away(None)),
    }
}

/// Which requests; `None` is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub api_id: Option<Uuid>,
    pub key_id: Option<Uuid>,
    pub model: Option<String>,
}

impl Filter {
    /// What follows the WHERE of a table that has these columns.
    fn condition(&self) -> String {
        let mut sql = String::new();
        if self.api_id.is_some() {
            sql.push_str(" AND api_id = {api_id:UUID}");
        }
        if self.key_id.is_some() {
            sql.push_str(" AND api_key_id = {key_id:UUID}");
        }
        if self.model.is_some() {
            sql.push_str(" AND model = {model:String}");
        }
        sql
    }

    fn bind(&self, mut query: Query) -> Query {
        if let Some(id) = self.api_id {
            query = query.param("api_id", id.to_string());
        }
        if let Some(id) = self.key_id {
            query = query.param("key_id", id.to_string());
        }
        if let Some(model) = &self.model {
            query = query.param("model", model);
        }
        query
    }
}

/// The tables of one kind of rollup, each up to its workspace's predicate.
struct Rollup {
    minute: &'static str,
    hour: &'static str,
    day: &'static str,
}

/// The rows of a plan's parts, as `(…)` for a FROM. `columns` are the tables' own.
fn parts(rollup: &Rollup, columns: &str, plan: &Plan, filter: &Filter) -> String {
    union(&[
        part(rollup.minute, columns, plan.minutes, filter),
        part(rollup.hour, columns, plan.hours, filter),
        part(rollup.day, columns, plan.days, filter),
    ])
}

/// What is read of one table; none where nothing is.
fn part(from: &str, columns: &str, spans: [Span; 2], filter: &Filter) -> Option<String> {
    let spans = either(spans, within)?;
    Some(format!(
        "SELECT {columns} {from} AND ({spans}){}",
        filter.condition()
    ))
}

fn union(selects: &[Option<String>]) -> String {
    let selects: Vec<&str> = selects.iter().flatten().map(String::as_str).collect();
    format!("({})", selects.join(" UNION ALL "))
}

/// A condition that rows of any span meet; none where all are empty.
fn either(spans: [Span; 2], within: fn(Span) -> String) -> Option<String> {
    let spans: Vec<String> = spans.into_iter().filter(|s| !s.is_empty()).map(within).collect();
    (!spans.is_empty()).then(|| spans.join(" OR "))
}

/// Numbers of our own: nothing of a request is in them.
fn within(span: Span) -> String {
    format!(
        "(bucket >= toDateTime({}, 'UTC') AND bucket < toDateTime({}, 'UTC'))",
        span.start, span.end
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whose_they_are() {
        let bad = |text: &str| QueryError::from(Error::BadResponse(text.to_owned()));
        assert!(matches!(
            bad("Code: 159. DB::Exception: Timeout exceeded"),
            QueryError::TooMuch(_)
        ));
        assert!(matches!(
            bad("Code: 62. DB::Exception: Syntax error"),
            QueryError::Refused(_)
        ));
        assert!(matches!(bad("Code: 202. DB::Exception: x"), QueryError::Away(_)));
        assert!(matches!(bad("502 Bad Gateway"), QueryError::Away(_)));
        assert!(matches!(QueryError::from(Error::TimedOut), QueryError::Away(_)));
    }
}
