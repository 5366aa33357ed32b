//! Every rollup equals what a naive pass over the rows gives.

use crate::clickhouse_engine::fresh_database;
use crate::events::{insert, now_ms, random};
use rateguard_control_plane::analytics::{ApiEvent, Endpoint};
use std::collections::BTreeMap;

const MINUTE_MS: i64 = 60_000;

/// Columns of the usage tables, as `naive` gives them.
const MEASURES: &str = "requests, errors, client_errors, server_errors, rate_limited, budget_exceeded, shadow, \
     degraded, cache_hits, streams, estimated, latency_count, ttft_count, latency_sum_ms, upstream_latency_sum_ms, \
     ttft_sum_ms, request_bytes, response_bytes, cost_nanos, fresh_input, cache_read, cache_write_5m, \
     cache_write_1h, output_text, reasoning, audio_in, audio_out, units";

fn naive(row: &ApiEvent) -> Vec<i64> {
    let is_request = row.revision == 0;
    let count = |is: bool| i64::from(is_request && is);
    let is_answered = row.status_code != 0;
    let when = |is: bool, value: u32| if is_request && is { i64::from(value) } else { 0 };
    vec![
        count(true),
        count(!row.error_type.is_empty() || row.status_code >= 400),
        count((400..500).contains(&row.status_code)),
        count(row.status_code >= 500),
        count(row.rate_limited),
        count(row.budget_exceeded),
        count(row.shadow),
        count(row.degraded),
        count(row.cache_hit),
        count(row.stream),
        count(row.usage_source >= 2),
        count(is_answered),
        count(row.ttft_ms != 0),
        when(is_answered, row.latency_ms),
        when(is_answered, row.upstream_latency_ms),
        when(true, row.ttft_ms),
        row.request_bytes as i64,
        row.response_bytes as i64,
        row.cost_nanos,
        row.fresh_input,
        row.cache_read,
        row.cache_write_5m,
        row.cache_write_1h,
        row.output_text,
        row.reasoning,
        row.audio_in,
        row.audio_out,
        row.units,
    ]
}

fn add<K: Ord>(sums: &mut BTreeMap<K, Vec<i64>>, key: K, values: Vec<i64>) {
    match sums.get_mut(&key) {
        Some(sum) => sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
        None => drop(sums.insert(key, values)),
    }
}

/// Inserts random rows in blocks, one of them twice, and gives all rows.
async fn filled(endpoint: &Endpoint, seed: u64) -> Vec<ApiEvent> {
    let rows = random(seed, 3_000, now_ms(endpoint).await);
    for (n, block) in rows.chunks(700).enumerate() {
        insert(endpoint, &format!("api-events-0-{n}"), block).await;
    }
    insert(endpoint, "api-events-0-1", &rows[700..1_400]).await;
    rows
}

#[tokio::test]
async fn rows_read_back_as_they_were_written() {
    let endpoint = fresh_database().await;
    let mut rows = filled(&endpoint, 1).await;
    let query = endpoint.client().query("SELECT ?fields FROM api_events");
    let mut stored = query.fetch_all::<ApiEvent>().await.unwrap();
    for list in [&mut rows, &mut stored] {
        for row in list.iter_mut() {
            row.tags.sort();
        }
        list.sort_by_key(|row| (row.event_id, row.revision));
    }
    assert_eq!(stored.len(), rows.len(), "a block came twice");
    assert!(stored == rows);
}

/// Sums of a group, which its key names.
#[derive(clickhouse::Row, serde::Deserialize)]
struct Group {
    key: Vec<String>,
    sums: Vec<i64>,
}

type Sums = BTreeMap<Vec<String>, Vec<i64>>;

/// A table's groups, by these expressions.
async fn groups(endpoint: &Endpoint, table: &str, key: &[&str], measures: &str) -> Sums {
    let texts: Vec<String> = key.iter().map(|part| format!("toString({part})")).collect();
    let sums: Vec<String> = measures
        .split(", ")
        .map(|name| format!("toInt64(sum({name}))"))
        .collect();
    let query = format!(
        "SELECT [{}] AS key, [{}] AS sums FROM {table} GROUP BY key",
        texts.join(", "),
        sums.join(", ")
    );
    let groups = endpoint
        .client()
        .query(&query)
        .fetch_all::<Group>()
        .await
        .unwrap();
    groups.into_iter().map(|group| (group.key, group.sums)).collect()
}

#[tokio::test]
async fn usage_equals_a_naive_recomputation() {
    let endpoint = fresh_database().await;
    let rows = filled(&endpoint, 2).await;
    for (table, step_ms) in [
        ("usage_minute", MINUTE_MS),
        ("usage_hour", 60 * MINUTE_MS),
        ("usage_day", 24 * 60 * MINUTE_MS),
    ] {
        let mut expected = Sums::new();
        for row in &rows {
            let bucket = row.timestamp.div_euclid(step_ms) * step_ms / 1_000;
            let ids = [row.workspace_id, row.api_id, row.api_key_id, row.key_owner_id];
            let names = [row.model.clone(), row.endpoint.clone(), row.method.clone()];
            let key = [bucket.to_string()]
                .into_iter()
                .chain(ids.map(|id| id.to_string()))
                .chain(names);
            add(&mut expected, key.collect(), naive(row));
        }
        let key = [
            "toUnixTimestamp(bucket)",
            "workspace_id",
            "api_id",
            "api_key_id",
            "key_owner_id",
            "model",
            "endpoint",
            "method",
        ];
        let found = groups(&endpoint, table, &key, MEASURES).await;
        assert_eq!(found.len(), expected.len(), "{table}");
        for (key, sums) in &expected {
            assert_eq!(found.get(key), Some(sums), "{table} {key:?}");
        }
    }
}

/// Groups whose sketches in a table are not those of the raw rows, to the number of values, either way.
pub(crate) async fn different_from_raw_rows(endpoint: &Endpoint, table: &str, step: &str, of: &str) -> u64 {
    let levels = "(0.01, 0.5, 0.95, 0.99)";
    let raw = format!(
        "SELECT workspace_id, toDateTime({step}(timestamp), 'UTC') AS bucket, {of}, \
           hex(quantilesDDStateIf{levels}(latency_ms, revision = 0 AND status_code != 0)) AS latency, \
           hex(quantilesDDStateIf{levels}(ttft_ms, revision = 0 AND ttft_ms != 0)) AS ttft \
         FROM api_events GROUP BY workspace_id, bucket, {of}"
    );
    let merged = format!(
        "SELECT workspace_id, bucket, {of}, hex(quantilesDDMergeState{levels}({table}.latency)), \
           hex(quantilesDDMergeState{levels}({table}.ttft)) \
         FROM {table} GROUP BY workspace_id, bucket, {of}"
    );
    let query = format!("SELECT count() FROM (({raw} EXCEPT {merged}) UNION ALL ({merged} EXCEPT {raw}))");
    endpoint.client().query(&query).fetch_one().await.unwrap()
}

#[tokio::test]
async fn quantiles_equal_one_pass_over_the_rows_and_are_one_percent_off_at_most() {
    let endpoint = fresh_database().await;
    let rows = filled(&endpoint, 3).await;
    for (table, step, of) in [
        ("latency_minute", "toStartOfMinute", "api_id, model"),
        ("latency_model_hour", "toStartOfHour", "api_id, model"),
        ("latency_model_day", "toStartOfDay", "api_id, model"),
        ("latency_api_hour", "toStartOfHour", "api_id"),
        ("latency_key_hour", "toStartOfHour", "api_key_id, api_id, model"),
        ("latency_key_day", "toStartOfDay", "api_key_id, api_id, model"),
    ] {
        let different = different_from_raw_rows(&endpoint, table, step, of).await;
        assert_eq!(different, 0, "{table}");
    }
    let answered = |row: &&ApiEvent| row.revision == 0 && row.status_code != 0;
    let mut latencies: Vec<u32> = rows.iter().filter(answered).map(|row| row.latency_ms).collect();
    latencies.sort_unstable();
    let query = "SELECT quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(latency) FROM latency_model_day";
    let quantiles: Vec<f64> = endpoint.client().query(query).fetch_one().await.unwrap();
    for (quantile, level) in quantiles.into_iter().zip([0.5, 0.95, 0.99]) {
        let exact = f64::from(latencies[(level * (latencies.len() - 1) as f64) as usize]);
        assert!(
            (quantile - exact).abs() <= 0.011 * exact,
            "{level}: {quantile} for {exact}"
        );
    }
}

#[tokio::test]
async fn tags_and_ledger_equal_a_naive_recomputation() {
    let endpoint = fresh_database().await;
    let rows = filled(&endpoint, 4).await;
    let (mut tags, mut ledger) = (Sums::new(), Sums::new());
    for row in &rows {
        let spent = vec![i64::from(row.revision == 0), row.cost_nanos];
        let workspace = row.workspace_id.to_string();
        let hour = row.timestamp.div_euclid(60 * MINUTE_MS) * 3_600;
        let quarter = row.timestamp.div_euclid(15 * MINUTE_MS) * 900;
        let mut subjects = vec![
            ("workspace", String::new()),
            ("api", row.api_id.to_string()),
            ("key", row.api_key_id.to_string()),
            ("model", row.model.clone()),
        ];
        for (name, value) in &row.tags {
            let key = vec![workspace.clone(), hour.to_string(), name.clone(), value.clone()];
            add(&mut tags, key, spent.clone());
            subjects.push(("tag", format!("{name}={value}")));
        }
        for (kind, subject) in subjects {
            let key = vec![workspace.clone(), quarter.to_string(), kind.to_owned(), subject];
            add(&mut ledger, key, spent.clone());
        }
    }
    for (table, first, second, expected) in [
        ("tags_hour", "name", "value", tags),
        ("spend_ledger", "subject_kind", "subject", ledger),
    ] {
        let key = ["workspace_id", "toUnixTimestamp(bucket)", first, second];
        let found = groups(&endpoint, table, &key, "requests, cost_nanos").await;
        assert!(
            found == expected,
            "{table}: {} groups for {}",
            found.len(),
            expected.len()
        );
    }
}
