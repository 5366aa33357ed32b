//! Percentiles of latency: over time, in total, by API.

use super::range::{HOUR, Plan, Span};
use super::{Filter, QueryError, Reader, Rollup, all, either, part, parts, union};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

const BY_MODEL: Rollup = Rollup {
    minute: "FROM latency_minute WHERE workspace_id = {workspace:UUID}",
    hour: "FROM latency_model_hour WHERE workspace_id = {workspace:UUID}",
    day: "FROM latency_model_day WHERE workspace_id = {workspace:UUID}",
};

/// Whatever the model: there are fewer sketches to merge of hours, which charts have the most of.
const BY_API: Rollup = Rollup {
    hour: "FROM latency_api_hour WHERE workspace_id = {workspace:UUID}",
    ..BY_MODEL
};

const HOURS_OF_KEYS: &str = "FROM latency_key_hour WHERE workspace_id = {workspace:UUID}";
const DAYS_OF_KEYS: &str = "FROM latency_key_day WHERE workspace_id = {workspace:UUID}";

/// Of minutes there is no rollup by key.
const MINUTES_OF_KEYS: &str = "SELECT toStartOfMinute(timestamp) AS bucket, api_id, \
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(latency_ms, revision = 0 AND status_code != 0) AS latency, \
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(upstream_latency_ms, revision = 0 AND status_code != 0) \
    AS upstream_latency, \
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(ttft_ms, revision = 0 AND ttft_ms != 0) AS ttft \
    FROM api_events WHERE workspace_id = {workspace:UUID}";

const COLUMNS: &str = "bucket, api_id, latency, upstream_latency, ttft";

const QUANTILES: &str = "quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(u.latency) AS latency, \
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(u.upstream_latency) AS upstream_latency, \
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(u.ttft) AS ttft";

/// The same, to be merged further.
const STATES: &str = "quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(u.latency) AS latency, \
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(u.upstream_latency) AS upstream_latency, \
    quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(u.ttft) AS ttft";

/// What a row of [`Reader::latency`] is of: a bucket, an API, or all.
const KEY: &str = "multiIf(grouping(u.at) = 0, ['at', toString(u.at)], \
    grouping(u.api_id) = 0, ['api', toString(u.api_id)], CAST([], 'Array(String)'))";

/// Milliseconds at 50, 95 and 99 % of a group; not a number where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Row, Deserialize)]
pub struct Quantiles {
    /// What the group is of, as the query that made it says.
    pub key: Vec<String>,
    pub latency: Vec<f64>,
    pub upstream_latency: Vec<f64>,
    pub ttft: Vec<f64>,
}

/// Percentiles of a range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    pub total: Quantiles,
    /// One for every bucket of the plan, in its order.
    pub over_time: Vec<Quantiles>,
    /// By API's id.
    pub by_api: BTreeMap<Uuid, Quantiles>,
}

impl Reader {
    /// Over time, by API and in total. With a filter by key the plan is of [`Kept::OF_KEYS`](super::range::Kept).
    ///
    /// Merging is what it costs, so the many rows of the rollups are merged once, and what comes of that three times.
    pub async fn latency(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Latency, QueryError> {
        let from = sketches(plan, filter);
        let at = "roundDown(toUnixTimestamp(u.bucket), {buckets:Array(UInt32)})";
        let sql = format!(
            "SELECT {KEY} AS key, {QUANTILES} \
             FROM (SELECT {at} AS at, api_id, {STATES} FROM {from} AS u GROUP BY at, api_id) AS u \
             GROUP BY GROUPING SETS ((u.at), (u.api_id), ())"
        );
        let query = self.query(&sql, workspace_id).param("buckets", &plan.buckets);
        let rows: Vec<Quantiles> = all(filter.bind(query)).await?;
        let (mut total, mut by_api, mut found) = (Quantiles::default(), BTreeMap::new(), BTreeMap::new());
        for row in rows {
            match row.key.as_slice() {
                [kind, at] if kind == "at" => {
                    if let Ok(at) = at.parse::<u32>() {
                        found.insert(at, row);
                    }
                }
                [_, api_id] => {
                    if let Ok(api_id) = api_id.parse() {
                        by_api.insert(api_id, row);
                    }
                }
                _ => total = row,
            }
        }
        let over_time = plan.buckets.iter().map(|at| found.remove(at).unwrap_or_default());
        Ok(Latency {
            total,
            over_time: over_time.collect(),
            by_api,
        })
    }

    /// Of the whole range. As for [`Reader::latency`], a key's plan is of what is kept of keys.
    pub async fn latency_total(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Quantiles, QueryError> {
        let from = sketches(plan, filter);
        let sql =
            format!("SELECT CAST([], 'Array(String)') AS key, {QUANTILES} FROM {from} AS u GROUP BY key");
        let query = self.query(&sql, workspace_id);
        Ok(all(filter.bind(query)).await?.pop().unwrap_or_default())
    }
}

/// The rows that a plan is answered from, as `(…)` for a FROM.
fn sketches(plan: &Plan, filter: &Filter) -> String {
    if filter.key_id.is_some() {
        let minutes = either(plan.minutes, happened_within).map(|spans| {
            let condition = filter.condition();
            format!("{MINUTES_OF_KEYS} AND ({spans}){condition} GROUP BY bucket, api_id")
        });
        return union(&[
            minutes,
            part(HOURS_OF_KEYS, COLUMNS, plan.hours, filter),
            part(DAYS_OF_KEYS, COLUMNS, plan.days, filter),
        ]);
    }
    let rollup = if filter.model.is_some() {
        &BY_MODEL
    } else {
        &BY_API
    };
    parts(rollup, COLUMNS, plan, filter)
}

/// Of raw rows, whose order begins with the hour. Numbers of our own, as in [`within`](super::within).
fn happened_within(span: Span) -> String {
    let Span { start, end } = span;
    let first_hour = start - start.rem_euclid(HOUR);
    format!(
        "(toStartOfHour(timestamp) >= toDateTime({first_hour}, 'UTC') \
         AND toStartOfHour(timestamp) < toDateTime({end}, 'UTC') \
         AND timestamp >= toDateTime({start}, 'UTC') AND timestamp < toDateTime({end}, 'UTC'))"
    )
}
