//! Any few rows and any question: what is read equals a naive pass over the rows. What fails is shrunk.
//!
//! Each case is a workspace of its own in one database, so that a case costs an insert and six queries.

use crate::clickhouse_engine::fresh_database;
use crate::events::{insert, now_ms};
use crate::query::{MINUTE_MS, Sums, add, bucket_ms, is_quantile, latencies};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rateguard_api::name::{CostGrouping, Granularity};
use rateguard_control_plane::analytics::query::range::{Kept, Plan};
use rateguard_control_plane::analytics::query::{Filter, latency, usage};
use rateguard_control_plane::analytics::{ApiEvent, Endpoint, Reader, Receipt};
use rateguard_wire::v1;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const CASES: u32 = 32;
const MODELS: [&str; 3] = ["", "gpt-4o", "claude"];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"];
/// Minutes before now that rows and questions are of.
const PAST: i64 = 3 * 1_440;

/// What makes a row.
#[derive(Debug, Clone)]
struct Fact {
    /// Before now.
    age_ms: i64,
    api: u8,
    key: u8,
    model: usize,
    status: u32,
    cost_nanos: i64,
    latency_ms: u32,
    /// A late settlement's difference.
    late: Option<i64>,
}

#[derive(Debug, Clone)]
struct Question {
    /// Minutes before now, and minutes.
    start: i64,
    length: i64,
    granularity: Granularity,
    zone: usize,
    api: Option<u8>,
    key: Option<u8>,
    model: Option<usize>,
}

fn fact() -> impl Strategy<Value = Fact> {
    let status = prop::sample::select(vec![0, 200, 404, 429, 500]);
    let late = prop::option::weighted(0.2, -1_000_000..1_000_000_i64);
    let of = (0..2_u8, 0..2_u8, 0..MODELS.len());
    let latency_ms = prop::sample::select(vec![0, 1, 17, 250, 4_000, 90_000]);
    (0..PAST * MINUTE_MS, of, status, 0..1_i64 << 36, latency_ms, late).prop_map(
        |(age_ms, (api, key, model), status, cost_nanos, latency_ms, late)| Fact {
            age_ms,
            api,
            key,
            model,
            status,
            cost_nanos,
            latency_ms,
            late,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let granularity = prop::sample::select(vec![Granularity::Minute, Granularity::Hour, Granularity::Day]);
    let of = (
        prop::option::weighted(0.3, 0..2_u8),
        prop::option::weighted(0.5, 0..2_u8),
        prop::option::weighted(0.3, 0..MODELS.len()),
    );
    (1..PAST, 1..PAST, granularity, 0..ZONES.len(), of).prop_map(
        |(start, length, granularity, zone, (api, key, model))| Question {
            start,
            // A chart has 1500 points at most.
            length: if granularity == Granularity::Minute {
                length.min(1_400)
            } else {
                length
            },
            granularity,
            zone,
            api,
            key,
            model,
        },
    )
}

fn id(kind: u8, n: u8) -> Uuid {
    Uuid::from_bytes([kind * 16 + n; 16])
}

fn rows(facts: &[Fact], case: u128, now_ms: i64) -> Vec<ApiEvent> {
    let mut rows = Vec::new();
    for (n, fact) in facts.iter().enumerate() {
        let at_ms = now_ms - fact.age_ms;
        let receipt = Receipt {
            received_at_ms: at_ms + 100,
            node_id: "envoy-1",
        };
        let event = v1::RequestEvent {
            event_id: Uuid::from_u128((case << 32) + n as u128).as_bytes().to_vec(),
            timestamp_ms: at_ms,
            workspace_id: Uuid::from_u128(case).as_bytes().to_vec(),
            api_id: id(3, fact.api).as_bytes().to_vec(),
            api_key_id: id(2, fact.key).as_bytes().to_vec(),
            endpoint: "/v1/chat/completions".into(),
            method: "POST".into(),
            model: MODELS[fact.model].into(),
            status_code: fact.status,
            cost_nanos: fact.cost_nanos,
            latency_ms: fact.latency_ms,
            upstream_latency_ms: fact.latency_ms / 2,
            ttft_ms: fact.latency_ms / 4,
            ..v1::RequestEvent::default()
        };
        if let Some(late) = fact.late {
            let late = v1::RequestEvent {
                cost_nanos: late,
                revision: 1,
                ..event.clone()
            };
            rows.push(ApiEvent::of(late, receipt).unwrap());
        }
        rows.push(ApiEvent::of(event, receipt).unwrap());
    }
    rows
}

fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

fn sums_of(sums: &usage::Sums) -> Sums {
    (sums.requests, sums.errors, sums.cost_nanos)
}

async fn check(
    endpoint: &Endpoint,
    case: u128,
    facts: &[Fact],
    asked: &Question,
    now_ms: i64,
) -> Result<(), TestCaseError> {
    let rows = rows(facts, case, now_ms);
    if !rows.is_empty() {
        insert(endpoint, &format!("case-{case}"), &rows).await;
    }
    let workspace_id = Uuid::from_u128(case);
    let zone: Tz = ZONES[asked.zone].parse().unwrap();
    let start_ms = (now_ms - asked.start * MINUTE_MS).div_euclid(MINUTE_MS) * MINUTE_MS;
    let end_ms = start_ms + asked.length * MINUTE_MS;
    let range = (instant(start_ms), instant(end_ms));
    let plan = |granularity| Plan::new(range, granularity, Kept::ROLLUPS, zone, instant(now_ms)).unwrap();
    let filter = Filter {
        api_id: asked.api.map(|n| id(3, n)),
        key_id: asked.key.map(|n| id(2, n)),
        model: asked.model.map(|n| MODELS[n].to_owned()),
    };
    let of: Vec<&ApiEvent> = rows
        .iter()
        .filter(|row| (start_ms..end_ms).contains(&row.timestamp))
        .filter(|row| filter.api_id.is_none_or(|id| row.api_id == id))
        .filter(|row| filter.key_id.is_none_or(|id| row.api_key_id == id))
        .filter(|row| filter.model.as_ref().is_none_or(|model| row.model == *model))
        .collect();
    let reader = Reader::new(endpoint);

    let plan_of_chart = plan(Some(asked.granularity));
    let found = reader
        .usage_over_time(workspace_id, &plan_of_chart, &filter)
        .await
        .unwrap();
    let found: Vec<Sums> = found.iter().map(sums_of).collect();
    let name = match asked.granularity {
        Granularity::Minute => "minute",
        Granularity::Hour => "hour",
        Granularity::Day => "day",
    };
    let mut expected: BTreeMap<i64, Sums> = BTreeMap::new();
    for at_ms in (start_ms..end_ms).step_by(MINUTE_MS as usize) {
        expected.entry(bucket_ms(at_ms, name, zone)).or_default();
    }
    let mut by_model: BTreeMap<String, Sums> = BTreeMap::new();
    let mut total = Sums::default();
    for row in &of {
        add(
            expected.get_mut(&bucket_ms(row.timestamp, name, zone)).unwrap(),
            row,
        );
        add(by_model.entry(row.model.clone()).or_default(), row);
        add(&mut total, row);
    }
    prop_assert_eq!(found, expected.into_values().collect::<Vec<_>>(), "over time");

    let whole = plan(None);
    let found = reader.usage_total(workspace_id, &whole, &filter).await.unwrap();
    prop_assert_eq!(sums_of(&found), total, "in total");
    let found = reader
        .costs(workspace_id, &whole, &filter, CostGrouping::Model, None, 100)
        .await
        .unwrap();
    let found: BTreeMap<String, Sums> = found
        .iter()
        .map(|sums| (sums.key[0].clone(), sums_of(sums)))
        .collect();
    by_model.retain(|_, sums| sums.0 != 0 || sums.2 != 0);
    prop_assert_eq!(found, by_model, "by model");
    let found = reader
        .top_endpoints(workspace_id, &whole, &filter, 100)
        .await
        .unwrap();
    let found: Vec<Sums> = found.iter().map(sums_of).collect();
    let busy = (total.0 != 0 || total.2 != 0).then_some(total);
    prop_assert_eq!(found, busy.into_iter().collect::<Vec<_>>(), "by endpoint");

    let (chart, whole) = if filter.key_id.is_some() {
        let plan = |granularity| Plan::new(range, granularity, Kept::OF_KEYS, zone, instant(now_ms)).unwrap();
        (plan(Some(asked.granularity)), plan(None))
    } else {
        (plan_of_chart, whole)
    };
    let found = reader.latency(workspace_id, &chart, &filter).await.unwrap();
    let found_total = reader.latency_total(workspace_id, &whole, &filter).await.unwrap();
    let mut by_bucket: BTreeMap<i64, Vec<&ApiEvent>> = BTreeMap::new();
    for at_ms in (start_ms..end_ms).step_by(MINUTE_MS as usize) {
        by_bucket.entry(bucket_ms(at_ms, name, zone)).or_default();
    }
    for row in &of {
        by_bucket
            .get_mut(&bucket_ms(row.timestamp, name, zone))
            .unwrap()
            .push(row);
    }
    prop_assert_eq!(found.over_time.len(), by_bucket.len());
    for (quantiles, rows) in found.over_time.iter().zip(by_bucket.values()) {
        check_quantiles(quantiles, rows, "latency over time")?;
    }
    check_quantiles(&found.total, &of, "latency in total")?;
    check_quantiles(&found_total, &of, "latency of the summary")?;
    let ids: BTreeSet<Uuid> = of.iter().map(|row| row.api_id).collect();
    prop_assert_eq!(found.by_api.keys().copied().collect::<BTreeSet<_>>(), ids);
    for (id, quantiles) in &found.by_api {
        let rows: Vec<&ApiEvent> = of.iter().filter(|row| row.api_id == *id).copied().collect();
        check_quantiles(quantiles, &rows, "latency by API")?;
    }
    Ok(())
}

/// Percentiles of a group, all three kinds, against those of its rows.
fn check_quantiles(found: &latency::Quantiles, rows: &[&ApiEvent], of: &str) -> Result<(), TestCaseError> {
    let ttft = rows.iter().filter(|row| row.revision == 0 && row.ttft_ms != 0);
    let answered = rows
        .iter()
        .filter(|row| row.revision == 0 && row.status_code != 0);
    for (found, values) in [
        (&found.latency, latencies(rows)),
        (
            &found.upstream_latency,
            answered.map(|row| row.upstream_latency_ms).collect(),
        ),
        (&found.ttft, ttft.map(|row| row.ttft_ms).collect()),
    ] {
        for (n, level) in [0.5, 0.95, 0.99].into_iter().enumerate() {
            let quantile = found.get(n).copied().filter(|value| value.is_finite());
            prop_assert!(
                is_quantile(quantile, level, values.clone()),
                "{}: {:?} at {} of {:?}",
                of,
                quantile,
                level,
                values
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_rows_and_any_question_equal_a_naive_recomputation() {
    let endpoint = fresh_database().await;
    let now_ms = now_ms(&endpoint).await;
    let config = Config {
        cases: CASES,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let case = Cell::new(0);
    tokio::task::block_in_place(|| {
        let strategy = (prop::collection::vec(fact(), 0..25), question());
        let outcome = TestRunner::new(config).run(&strategy, |(facts, asked)| {
            case.set(case.get() + 1);
            let check = check(&endpoint, case.get(), &facts, &asked, now_ms);
            tokio::runtime::Handle::current().block_on(check)
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    });
}
