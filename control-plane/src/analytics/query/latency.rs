//! Percentiles of latency: over time, in total, by API.

use super::range::Plan;
use super::{Filter, QueryError, Reader, Rollup, all, parts};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

const TABLES: Rollup = Rollup {
    minute: "FROM latency_minute WHERE workspace_id = {workspace:UUID}",
    hour: "FROM latency_hour WHERE workspace_id = {workspace:UUID}",
    day: "FROM latency_day WHERE workspace_id = {workspace:UUID}",
};

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

/// Of one key there is no rollup: its rows are read, as long as they are kept.
const OF_RAW_ROWS: &str = "SELECT CAST([], 'Array(String)') AS key, \
    quantilesDDIf(0.01, 0.5, 0.95, 0.99)(latency_ms, status_code != 0) AS latency, \
    quantilesDDIf(0.01, 0.5, 0.95, 0.99)(upstream_latency_ms, status_code != 0) AS upstream_latency, \
    quantilesDDIf(0.01, 0.5, 0.95, 0.99)(ttft_ms, ttft_ms != 0) AS ttft \
    FROM api_events WHERE workspace_id = {workspace:UUID} AND revision = 0 \
    AND toStartOfHour(timestamp) >= toStartOfHour(toDateTime({start:UInt32}, 'UTC')) \
    AND timestamp >= toDateTime({start:UInt32}, 'UTC') AND timestamp < toDateTime({end:UInt32}, 'UTC')";

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
    /// Over time, by API and in total. A filter by key is not for this: see [`Reader::latency_total`].
    ///
    /// Merging is what it costs, so the many rows of the rollups are merged once, and what comes of that three times.
    pub async fn latency(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Latency, QueryError> {
        let from = parts(&TABLES, COLUMNS, plan, filter);
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

    /// Of the whole range.
    pub async fn latency_total(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Quantiles, QueryError> {
        let query = if filter.key_id.is_some() {
            let sql = format!("{OF_RAW_ROWS}{}", filter.condition());
            self.query(&sql, workspace_id)
                .param("start", plan.span.start)
                .param("end", plan.span.end)
        } else {
            let from = parts(&TABLES, COLUMNS, plan, filter);
            let sql =
                format!("SELECT CAST([], 'Array(String)') AS key, {QUANTILES} FROM {from} AS u GROUP BY key");
            self.query(&sql, workspace_id)
        };
        Ok(all(filter.bind(query)).await?.pop().unwrap_or_default())
    }
}
