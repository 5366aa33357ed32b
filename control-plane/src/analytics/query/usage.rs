//! Counts, sums and costs: over time, in total, by what they were for.

use super::range::Plan;
use super::{Filter, QueryError, Reader, Rollup, all, parts};
use clickhouse::Row;
use rateguard_api::name::CostGrouping;
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

const TABLES: Rollup = Rollup {
    minute: "FROM usage_minute WHERE workspace_id = {workspace:UUID}",
    hour: "FROM usage_hour WHERE workspace_id = {workspace:UUID}",
    day: "FROM usage_day WHERE workspace_id = {workspace:UUID}",
};

const COLUMNS: &str = "bucket, api_id, api_key_id, key_owner_id, model, endpoint, method, requests, errors, \
    client_errors, server_errors, rate_limited, budget_exceeded, cache_hits, latency_count, latency_sum_ms, \
    cost_nanos, fresh_input, cache_read, cache_write_5m, cache_write_1h, output_text, reasoning, audio_in, audio_out";

/// Tags have fewer sums.
const TAGS: &str = "(SELECT name, value, requests, errors, \
    toUInt64(0) AS client_errors, toUInt64(0) AS server_errors, toUInt64(0) AS rate_limited, \
    toUInt64(0) AS budget_exceeded, toUInt64(0) AS cache_hits, toUInt64(0) AS latency_count, \
    toUInt64(0) AS latency_sum_ms, cost_nanos, fresh_input, cache_read, cache_write_5m, cache_write_1h, output_text, \
    reasoning, audio_in, audio_out \
    FROM tags_hour WHERE workspace_id = {workspace:UUID} \
    AND bucket >= toDateTime({start:UInt32}, 'UTC') AND bucket < toDateTime({end:UInt32}, 'UTC') \
    AND ({tag:String} = '' OR name = {tag:String}))";

const SUMS: &str = "sum(u.requests) AS requests, sum(u.errors) AS errors, sum(u.client_errors) AS client_errors, \
    sum(u.server_errors) AS server_errors, sum(u.rate_limited) AS rate_limited, \
    sum(u.budget_exceeded) AS budget_exceeded, sum(u.cache_hits) AS cache_hits, \
    sum(u.latency_count) AS latency_count, sum(u.latency_sum_ms) AS latency_sum_ms, \
    sum(u.cost_nanos) AS cost_nanos, sum(u.fresh_input) AS fresh_input, sum(u.cache_read) AS cache_read, \
    sum(u.cache_write_5m + u.cache_write_1h) AS cache_write, sum(u.output_text) AS output_text, \
    sum(u.reasoning) AS reasoning, sum(u.audio_in + u.audio_out) AS audio";

/// Groups of a period that others are compared with.
const COMPARED_MAX: u32 = 50_000;

/// Sums of a group of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Row, Deserialize)]
pub struct Sums {
    /// What the group is of, as the query that made it says.
    pub key: Vec<String>,
    pub requests: u64,
    pub errors: u64,
    pub client_errors: u64,
    pub server_errors: u64,
    pub rate_limited: u64,
    pub budget_exceeded: u64,
    pub cache_hits: u64,
    /// Requests that got an answer, and how long they took together.
    pub latency_count: u64,
    pub latency_sum_ms: u64,
    pub cost_nanos: i64,
    pub fresh_input: i64,
    pub cache_read: i64,
    pub cache_write: i64,
    pub output_text: i64,
    pub reasoning: i64,
    pub audio: i64,
}

/// The order of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Requests,
    Cost,
}

impl Reader {
    /// One for every bucket of the plan, in its order.
    pub async fn usage_over_time(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Vec<Sums>, QueryError> {
        let sql = format!(
            "SELECT [toString(roundDown(toUnixTimestamp(u.bucket), {{buckets:Array(UInt32)}}))] AS key, {SUMS} \
             FROM {} AS u GROUP BY key",
            parts(&TABLES, COLUMNS, plan, filter)
        );
        let query = self.query(&sql, workspace_id).param("buckets", &plan.buckets);
        let rows: Vec<Sums> = all(filter.bind(query)).await?;
        let mut found: BTreeMap<u32, Sums> = rows
            .into_iter()
            .filter_map(|sums| Some((sums.key.first()?.parse().ok()?, sums)))
            .collect();
        Ok(plan
            .buckets
            .iter()
            .map(|at| found.remove(at).unwrap_or_default())
            .collect())
    }

    /// Of the whole range.
    pub async fn usage_total(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
    ) -> Result<Sums, QueryError> {
        let from = parts(&TABLES, COLUMNS, plan, filter);
        let sql = format!("SELECT CAST([], 'Array(String)') AS key, {SUMS} FROM {from} AS u GROUP BY key");
        let query = filter.bind(self.query(&sql, workspace_id));
        Ok(all(query).await?.pop().unwrap_or_default())
    }

    /// By endpoint and method, the busiest first.
    pub async fn top_endpoints(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<Sums>, QueryError> {
        let from = parts(&TABLES, COLUMNS, plan, filter);
        let sql = grouped(ENDPOINT, &from, Order::Requests);
        let query = self.query(&sql, workspace_id).param("limit", limit);
        all(filter.bind(query)).await
    }

    /// By what costs are asked for, the dearest first. `tag`: of tags of this name only.
    pub async fn costs(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
        by: CostGrouping,
        tag: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Sums>, QueryError> {
        let key = match by {
            CostGrouping::Api => "[toString(u.api_id)]",
            CostGrouping::Key => "[toString(u.api_key_id)]",
            CostGrouping::Model => "[toString(u.model)]",
            CostGrouping::Member => "[toString(u.key_owner_id)]",
            CostGrouping::Endpoint => ENDPOINT,
            CostGrouping::Tag => "[toString(u.name), u.value]",
        };
        if by != CostGrouping::Tag {
            let from = parts(&TABLES, COLUMNS, plan, filter);
            let query = self.query(&grouped(key, &from, Order::Cost), workspace_id);
            return all(filter.bind(query.param("limit", limit))).await;
        }
        let query = self
            .query(&grouped(key, TAGS, Order::Cost), workspace_id)
            .param("start", plan.span.start)
            .param("end", plan.span.end)
            .param("tag", tag.unwrap_or_default())
            .param("limit", limit);
        all(query).await
    }

    /// What every group cost, by its key, for comparison.
    pub async fn cost_of_groups(
        &self,
        workspace_id: Uuid,
        plan: &Plan,
        filter: &Filter,
        by: CostGrouping,
        tag: Option<&str>,
    ) -> Result<BTreeMap<Vec<String>, i64>, QueryError> {
        let groups = self
            .costs(workspace_id, plan, filter, by, tag, COMPARED_MAX)
            .await?;
        Ok(groups
            .into_iter()
            .map(|group| (group.key, group.cost_nanos))
            .collect())
    }
}

const ENDPOINT: &str = "[toString(u.endpoint), toString(u.method)]";

fn grouped(key: &str, from: &str, order: Order) -> String {
    let order = match order {
        Order::Requests => "requests DESC, key",
        Order::Cost => "cost_nanos DESC, requests DESC, key",
    };
    format!(
        "SELECT {key} AS key, {SUMS} FROM {from} AS u GROUP BY key \
         HAVING requests != 0 OR cost_nanos != 0 ORDER BY {order} LIMIT {{limit:UInt32}}"
    )
}
