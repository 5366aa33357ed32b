//! Table `rule`.

use super::page::Page;
use super::{DbError, parse_column, scopes};
use chrono::{DateTime, Utc};
use rateguard_api::name::{Algorithm, FailureMode, Mode, Unit};
use rateguard_model::quota::Meter;
use rateguard_model::rule::Scope;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: Uuid,
    pub workspace_id: Uuid,
    /// Starts at 1, grows with every edit.
    pub version: u32,
    pub name: String,
    pub api_id: Option<Uuid>,
    pub endpoint: Option<String>,
    /// Upper case; empty: all.
    pub methods: Vec<String>,
    pub scopes: Vec<Scope>,
    pub unit: Unit,
    /// In the unit; nano-USD for COST.
    pub limit: i64,
    pub meter: Meter,
    pub priority: i32,
    pub enabled: bool,
    pub mode: Mode,
    pub failure_mode: FailureMode,
    pub shared_across_apis: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Uuid,
    version: i32,
    name: String,
    api_id: Option<Uuid>,
    endpoint: Option<String>,
    methods: Vec<String>,
    scopes: Value,
    algorithm: String,
    unit: String,
    limit_amount: i64,
    window_ms: Option<i64>,
    refill_milli_per_s: Option<i64>,
    priority: i32,
    enabled: bool,
    mode: String,
    failure_mode: String,
    shared_across_apis: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Rule {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let id = row.id;
        let bad = |column, reason: &str| DbError::Inconsistent {
            table: "rule",
            column,
            id,
            reason: reason.to_owned(),
        };
        let positive = |column, value: Option<i64>| {
            value
                .and_then(|v| u64::try_from(v).ok())
                .ok_or_else(|| bad(column, "missing or negative"))
        };
        let algorithm: Algorithm = parse_column("rule", "algorithm", id, &row.algorithm)?;
        let meter = match algorithm {
            Algorithm::TokenBucket => Meter::TokenBucket {
                refill_milli_per_s: positive("refill_milli_per_s", row.refill_milli_per_s)?,
            },
            Algorithm::SlidingWindow => Meter::SlidingWindow {
                window_ms: positive("window_ms", row.window_ms)?,
            },
            Algorithm::SlidingWindowCounter | Algorithm::FixedWindow | Algorithm::Concurrency => {
                return Err(bad("algorithm", "not one that rules can have"));
            }
        };
        Ok(Self {
            id,
            workspace_id: row.workspace_id,
            version: u32::try_from(row.version).map_err(|_| bad("version", "negative"))?,
            name: row.name,
            api_id: row.api_id,
            endpoint: row.endpoint,
            methods: row.methods,
            scopes: scopes::from_json(row.scopes).map_err(|error| bad("scopes", &error.to_string()))?,
            unit: parse_column("rule", "unit", id, &row.unit)?,
            limit: row.limit_amount,
            meter,
            priority: row.priority,
            enabled: row.enabled,
            mode: parse_column("rule", "mode", id, &row.mode)?,
            failure_mode: parse_column("rule", "failure_mode", id, &row.failure_mode)?,
            shared_across_apis: row.shared_across_apis,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// `algorithm, window_ms, refill_milli_per_s`.
fn meter_columns(meter: Meter) -> (&'static str, Option<i64>, Option<i64>) {
    let signed = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
    let algorithm = Algorithm::from(meter.algorithm()).as_str();
    match meter {
        Meter::TokenBucket { refill_milli_per_s } => (algorithm, None, signed(refill_milli_per_s)),
        Meter::SlidingWindow { window_ms } => (algorithm, signed(window_ms), None),
        // Rules never have calendar windows; such a row would be refused when read.
        Meter::FixedWindow { .. } => (algorithm, None, None),
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    rule: &Rule,
    feed_version: i64,
) -> Result<(), DbError> {
    let (algorithm, window_ms, refill_milli_per_s) = meter_columns(rule.meter);
    sqlx::query!(
        "INSERT INTO rule (id, workspace_id, version, name, api_id, endpoint, methods, scopes, algorithm,
                           unit, limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode,
                           failure_mode, shared_across_apis, created_at, updated_at, feed_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                $20, $21)",
        rule.id,
        rule.workspace_id,
        i32::try_from(rule.version).unwrap_or(i32::MAX),
        &rule.name,
        rule.api_id,
        rule.endpoint.as_deref(),
        &rule.methods,
        scopes::to_json(&rule.scopes),
        algorithm,
        rule.unit.as_str(),
        rule.limit,
        window_ms,
        refill_milli_per_s,
        rule.priority,
        rule.enabled,
        rule.mode.as_str(),
        rule.failure_mode.as_str(),
        rule.shared_across_apis,
        rule.created_at,
        rule.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn update(
    tx: &mut Transaction<'_, Postgres>,
    rule: &Rule,
    feed_version: i64,
) -> Result<(), DbError> {
    let (algorithm, window_ms, refill_milli_per_s) = meter_columns(rule.meter);
    sqlx::query!(
        "UPDATE rule SET version = $3, name = $4, api_id = $5, endpoint = $6, methods = $7, scopes = $8,
                         algorithm = $9, unit = $10, limit_amount = $11, window_ms = $12,
                         refill_milli_per_s = $13, priority = $14, enabled = $15, mode = $16,
                         failure_mode = $17, shared_across_apis = $18, updated_at = $19,
                         feed_version = $20
         WHERE workspace_id = $1 AND id = $2",
        rule.workspace_id,
        rule.id,
        i32::try_from(rule.version).unwrap_or(i32::MAX),
        &rule.name,
        rule.api_id,
        rule.endpoint.as_deref(),
        &rule.methods,
        scopes::to_json(&rule.scopes),
        algorithm,
        rule.unit.as_str(),
        rule.limit,
        window_ms,
        refill_milli_per_s,
        rule.priority,
        rule.enabled,
        rule.mode.as_str(),
        rule.failure_mode.as_str(),
        rule.shared_across_apis,
        rule.updated_at,
        feed_version
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// `false`: there is no such rule.
pub async fn delete(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "DELETE FROM rule WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Which rules; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In the name, whatever the case.
    pub name: Option<String>,
    /// Rules that apply to this API.
    pub api_id: Option<Uuid>,
    pub enabled: Option<bool>,
    pub mode: Option<Mode>,
}

/// A workspace's rules, oldest first.
pub async fn list(
    db: &mut PgConnection,
    workspace_id: Uuid,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Rule>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, api_id, endpoint, methods, scopes, algorithm, unit,
                limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode, failure_mode,
                shared_across_apis, created_at, updated_at
         FROM rule
         WHERE workspace_id = $1
           AND ($2::text IS NULL OR position(lower($2) IN lower(name)) > 0)
           AND ($3::uuid IS NULL OR api_id IS NULL OR api_id = $3)
           AND ($4::boolean IS NULL OR enabled = $4)
           AND ($5::text IS NULL OR mode = $5)
           AND ($6::timestamptz IS NULL OR (created_at, id) > ($6, $7::uuid))
         ORDER BY created_at, id
         LIMIT $8",
        workspace_id,
        filter.name.as_deref(),
        filter.api_id,
        filter.enabled,
        filter.mode.map(Mode::as_str),
        page.after_at(),
        page.after_id(),
        page.rows()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Rule::try_from).collect()
}

/// All of a workspace's rules.
pub async fn all(db: &mut PgConnection, workspace_id: Uuid) -> Result<Vec<Rule>, DbError> {
    let rows: Vec<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, api_id, endpoint, methods, scopes, algorithm, unit,
                limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode, failure_mode,
                shared_across_apis, created_at, updated_at
         FROM rule
         WHERE workspace_id = $1 ORDER BY created_at, id",
        workspace_id
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Rule::try_from).collect()
}

pub async fn by_id(db: &mut PgConnection, workspace_id: Uuid, id: Uuid) -> Result<Option<Rule>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, api_id, endpoint, methods, scopes, algorithm, unit,
                limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode, failure_mode,
                shared_across_apis, created_at, updated_at
         FROM rule
         WHERE workspace_id = $1 AND id = $2",
        workspace_id,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(Rule::try_from).transpose()
}

/// The same under a lock, for a change that must not be lost.
pub async fn for_update(
    tx: &mut Transaction<'_, Postgres>,
    workspace_id: Uuid,
    id: Uuid,
) -> Result<Option<Rule>, DbError> {
    let row: Option<Row> = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, version, name, api_id, endpoint, methods, scopes, algorithm, unit,
                limit_amount, window_ms, refill_milli_per_s, priority, enabled, mode, failure_mode,
                shared_across_apis, created_at, updated_at
         FROM rule
         WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
        workspace_id,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Rule::try_from).transpose()
}
