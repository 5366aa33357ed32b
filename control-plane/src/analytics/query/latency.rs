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

impl Reader {
    /// One for every bucket of the plan, in its order. A filter by key is not for this: see [`Reader::latency_total`].
    pub async fn latency_over_time(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Vec<Quantiles>, QueryError> {
        let key = "[toString(roundDown(toUnixTimestamp(u.bucket), {buckets:Array(UInt32)}))]";
        let query = self
            .query(&grouped(key, plan, filter), workspace_id)
            .param("buckets", &plan.buckets);
        let rows: Vec<Quantiles> = all(filter.bind(query)).await?;
        let mut found: BTreeMap<u32, Quantiles> = rows
            .into_iter()
            .filter_map(|quantiles| Some((quantiles.key.first()?.parse().ok()?, quantiles)))
            .collect();
        Ok(plan
            .buckets
            .iter()
            .map(|at| found.remove(at).unwrap_or_default())
            .collect())
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
            self.query(&grouped("CAST([], 'Array(String)')", plan, filter), workspace_id)
        };
        Ok(all(filter.bind(query)).await?.pop().unwrap_or_default())
    }

    /// By API's id.
    pub async fn latency_by_api(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Vec<Quantiles>, QueryError> {
        let sql = grouped("[toString(u.api_id)]", plan, filter);
        all(filter.bind(self.query(&sql, workspace_id))).await
    }
}

fn grouped(key: &str, plan: &Plan, filter: &Filter) -> String {
    let from = parts(&TABLES, COLUMNS, plan, filter);
    format!("SELECT {key} AS key, {QUANTILES} FROM {from} AS u GROUP BY key ORDER BY key")
}
