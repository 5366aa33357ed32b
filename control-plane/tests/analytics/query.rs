//! What analytics answer over HTTP equals a naive pass over the rows.

use crate::clickhouse_engine::fresh_database;
use crate::events::{HOUR_MS, insert, now_ms, random, workspace};
use crate::support::app::{Answer, App, Person, START_MS};
use axum::http::StatusCode;
use chrono::{DateTime, Datelike as _, Offset as _, SecondsFormat, TimeZone as _};
use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rateguard_api::analytics::{CostBreakdown, Latency, Requests, Summary, TopEndpoints};
use rateguard_control_plane::analytics::ApiEvent;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(crate) const MINUTE_MS: i64 = 60_000;
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"];

/// A program on both databases, and rows of two workspaces.
pub(crate) struct Scene {
    pub(crate) app: App,
    pub(crate) people: [Person; 2],
    pub(crate) rows: Vec<ApiEvent>,
    pub(crate) now_ms: i64,
}

impl Scene {
    pub(crate) async fn start(seed: u64, count: usize) -> Self {
        let endpoint = fresh_database().await;
        let now_ms = now_ms(&endpoint).await;
        let at = endpoint.clone();
        let app = App::start_with(|config| config.clickhouse = Some(at)).await;
        app.clock.advance_ms(now_ms - START_MS);
        let people = [app.register("ada").await, app.register("bob").await];
        let mut rows = random(seed, count, now_ms);
        for row in &mut rows {
            let owner = if row.workspace_id == workspace(0) {
                &people[0]
            } else {
                &people[1]
            };
            row.workspace_id = owner.workspace_id.parse().unwrap();
            // Sums that a test's JSON numbers hold exactly.
            row.cost_nanos %= 1 << 36;
        }
        for (n, block) in rows.chunks(900).enumerate() {
            insert(&endpoint, &format!("api-events-0-{n}"), block).await;
        }
        Self {
            app,
            people,
            rows,
            now_ms,
        }
    }

    pub(crate) async fn get(&self, person: &Person, path: &str) -> Answer {
        self.app
            .get(&person.path(&format!("/analytics/{path}")), &person.token)
            .await
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, person: &Person, path: &str) -> T {
        let answer = self.get(person, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {answer:?}");
        serde_json::from_str(&answer.body.to_string()).unwrap()
    }

    async fn set_zone(&self, zone: &str) {
        sqlx::query("UPDATE workspace SET time_zone = $1")
            .bind(zone)
            .execute(&self.app.db)
            .await
            .unwrap();
    }

    /// A workspace's rows of a range that pass a filter.
    fn rows_of<'a>(&'a self, person: &Person, asked: &Asked) -> Vec<&'a ApiEvent> {
        let workspace_id: Uuid = person.workspace_id.parse().unwrap();
        let of = |row: &&ApiEvent| {
            row.workspace_id == workspace_id
                && (asked.start_ms..asked.end_ms).contains(&row.timestamp)
                && asked.api_id.is_none_or(|id| row.api_id == id)
                && asked.key_id.is_none_or(|id| row.api_key_id == id)
                && asked.model.as_ref().is_none_or(|model| row.model == *model)
        };
        self.rows.iter().filter(of).collect()
    }
}

/// A random question, its range in whole minutes.
#[derive(Debug)]
struct Asked {
    start_ms: i64,
    end_ms: i64,
    query: String,
    api_id: Option<Uuid>,
    key_id: Option<Uuid>,
    model: Option<String>,
}

pub(crate) fn show(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Asked {
    fn random(rng: &mut StdRng, scene: &Scene) -> Self {
        let (start, end) = if rng.random() {
            let start = scene.now_ms - rng.random_range(1..50 * HOUR_MS);
            (start, start + rng.random_range(1..30 * HOUR_MS))
        } else {
            (
                scene.now_ms - rng.random_range(1..20 * 24 * HOUR_MS),
                scene.now_ms,
            )
        };
        let row = scene.rows.choose(rng).unwrap();
        let api_id = rng.random_ratio(1, 3).then_some(row.api_id);
        let key_id = rng.random_ratio(1, 3).then_some(row.api_key_id);
        let model = rng.random_ratio(1, 3).then(|| row.model.clone());
        let mut query = format!("start={}&end={}", show(start), show(end));
        for (name, value) in [
            ("apiId", api_id.map(|id| id.to_string())),
            ("keyId", key_id.map(|id| id.to_string())),
            ("model", model.clone()),
        ] {
            if let Some(value) = value {
                query.extend(["&", name, "=", value.as_str()]);
            }
        }
        Self {
            start_ms: start.div_euclid(MINUTE_MS) * MINUTE_MS,
            end_ms: (end + MINUTE_MS - 1).div_euclid(MINUTE_MS) * MINUTE_MS,
            query,
            api_id,
            key_id,
            model,
        }
    }
}

/// Requests, errors and cost.
pub(crate) type Sums = (u64, u64, i64);

pub(crate) fn add(sums: &mut Sums, row: &ApiEvent) {
    if row.revision == 0 {
        sums.0 += 1;
        sums.1 += u64::from(!row.error_type.is_empty() || row.status_code >= 400);
    }
    sums.2 += row.cost_nanos;
}

fn total(rows: &[&ApiEvent]) -> Sums {
    let mut sums = Sums::default();
    for row in rows {
        add(&mut sums, row);
    }
    sums
}

/// When the bucket begins that an instant is in.
pub(crate) fn bucket_ms(at_ms: i64, granularity: &str, zone: Tz) -> i64 {
    let local = zone.timestamp_millis_opt(at_ms).unwrap();
    let offset_ms = i64::from(local.offset().fix().local_minus_utc()) * 1_000;
    match granularity {
        "minute" => at_ms.div_euclid(MINUTE_MS) * MINUTE_MS,
        "hour" => (at_ms + offset_ms).div_euclid(HOUR_MS) * HOUR_MS - offset_ms,
        _ => zone
            .with_ymd_and_hms(local.year(), local.month(), local.day(), 0, 0, 0)
            .earliest()
            .unwrap()
            .timestamp_millis(),
    }
}

/// Whether a percentile is one of the values around its rank, at most 1 % off.
pub(crate) fn is_quantile(found: Option<f64>, level: f64, mut values: Vec<u32>) -> bool {
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else {
        return found.is_none();
    };
    let rank = level * last as f64;
    let (low, high) = (
        f64::from(values[rank.floor() as usize]),
        f64::from(values[rank.ceil() as usize]),
    );
    found.is_some_and(|found| found >= low * 0.989 - 0.01 && found <= high * 1.011 + 0.01)
}

pub(crate) fn latencies(rows: &[&ApiEvent]) -> Vec<u32> {
    let answered = rows
        .iter()
        .filter(|row| row.revision == 0 && row.status_code != 0);
    answered.map(|row| row.latency_ms).collect()
}

#[tokio::test]
async fn charts_equal_a_naive_recomputation() {
    let scene = Scene::start(11, 2_500).await;
    let mut rng = StdRng::seed_from_u64(12);
    for n in 0..40 {
        let zone = ZONES[n % ZONES.len()];
        scene.set_zone(zone).await;
        let person = &scene.people[n % 2];
        let asked = Asked::random(&mut rng, &scene);
        let minutes = (asked.end_ms - asked.start_ms) / MINUTE_MS;
        let granularity = *["minute", "hour", "day"].choose(&mut rng).unwrap();
        let granularity = if granularity == "minute" && minutes > 1_500 {
            "day"
        } else {
            granularity
        };
        let path = format!("requests?{}&granularity={granularity}", asked.query);
        let found: Requests = scene.read(person, &path).await;
        let seen = format!("{zone} {path}");
        assert_eq!(
            (
                found.range.start.as_str(),
                found.range.end.as_str(),
                found.range.time_zone.as_str()
            ),
            (show(asked.start_ms).as_str(), show(asked.end_ms).as_str(), zone),
            "{seen}"
        );
        let zone: Tz = zone.parse().unwrap();
        let mut expected: BTreeMap<String, Sums> = BTreeMap::new();
        let mut at = asked.start_ms;
        while at < asked.end_ms {
            expected
                .entry(show(bucket_ms(at, granularity, zone)))
                .or_default();
            at += MINUTE_MS;
        }
        for row in scene.rows_of(person, &asked) {
            let bucket = show(bucket_ms(row.timestamp, granularity, zone));
            add(expected.get_mut(&bucket).unwrap(), row);
        }
        let points: Vec<(String, Sums)> = found
            .data
            .iter()
            .map(|p| (p.timestamp.clone(), (p.requests, p.errors, p.cost_cents.0.0)))
            .collect();
        assert_eq!(points, expected.into_iter().collect::<Vec<_>>(), "{seen}");
    }
}

#[tokio::test]
async fn summaries_and_the_period_before_equal_a_naive_recomputation() {
    let scene = Scene::start(21, 2_000).await;
    let mut rng = StdRng::seed_from_u64(22);
    for n in 0..25 {
        let person = &scene.people[n % 2];
        let asked = Asked::random(&mut rng, &scene);
        let path = format!("summary?{}&compare=previous", asked.query);
        let found: Summary = scene.read(person, &path).await;
        let previous = Asked {
            start_ms: asked.start_ms - (asked.end_ms - asked.start_ms),
            end_ms: asked.start_ms,
            query: String::new(),
            api_id: asked.api_id,
            key_id: asked.key_id,
            model: asked.model.clone(),
        };
        for (asked, found) in [(&asked, &found), (&previous, &**found.previous.as_ref().unwrap())] {
            let rows = scene.rows_of(person, asked);
            let sums = (
                found.requests.total_requests,
                found.requests.total_errors,
                found.cost.total_cost_cents.0.0,
            );
            assert_eq!(sums, total(&rows), "{path}");
            let first = |is: fn(&ApiEvent) -> bool| {
                rows.iter().filter(|row| row.revision == 0 && is(row)).count() as u64
            };
            assert_eq!(found.cache.hits, first(|row| row.cache_hit));
            assert_eq!(found.rate_limit.limited, first(|row| row.rate_limited));
            for (quantile, level) in [
                (found.latency.p50, 0.5),
                (found.latency.p95, 0.95),
                (found.latency.p99, 0.99),
            ] {
                assert!(
                    is_quantile(quantile, level, latencies(&rows)),
                    "{path} {level} {quantile:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn breakdowns_equal_a_naive_recomputation() {
    let scene = Scene::start(31, 2_000).await;
    let mut rng = StdRng::seed_from_u64(32);
    let some = |id: Uuid| (!id.is_nil()).then(|| id.to_string());
    for n in 0..40 {
        let person = &scene.people[n % 2];
        let by = ["api", "key", "model", "member", "endpoint", "tag"][n % 6];
        let mut asked = Asked::random(&mut rng, &scene);
        if by == "tag" {
            asked.start_ms = asked.start_ms.div_euclid(HOUR_MS) * HOUR_MS;
            asked.end_ms = (asked.end_ms + HOUR_MS - 1).div_euclid(HOUR_MS) * HOUR_MS;
            (asked.api_id, asked.key_id, asked.model) = (None, None, None);
            asked.query = format!("start={}&end={}", show(asked.start_ms), show(asked.end_ms));
        }
        let found: CostBreakdown = scene
            .read(person, &format!("costs?by={by}&{}", asked.query))
            .await;
        let rows = scene.rows_of(person, &asked);
        let mut expected: BTreeMap<(Option<String>, Option<String>), Sums> = BTreeMap::new();
        for row in &rows {
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let keys = match by {
                "api" => vec![(some(row.api_id), None)],
                "key" => vec![(some(row.api_key_id), None)],
                "member" => vec![(some(row.key_owner_id), None)],
                "model" => vec![(text(&row.model), None)],
                "endpoint" => vec![(text(&row.endpoint), text(&row.method))],
                _ => row
                    .tags
                    .iter()
                    .map(|(k, v)| (Some(format!("{k}={v}")), None))
                    .collect(),
            };
            for key in keys {
                add(expected.entry(key).or_default(), row);
            }
        }
        expected.retain(|_, sums| sums.0 != 0 || sums.2 != 0);
        let (requests, _, cost) = total(&rows);
        assert_eq!(
            (found.total_requests, found.total_cost_cents.0.0),
            (requests, cost),
            "{by} {asked:?}"
        );
        assert!(
            found.groups.is_sorted_by(|a, b| a.cost_cents >= b.cost_cents),
            "{by}"
        );
        let groups: BTreeMap<_, _> = found
            .groups
            .into_iter()
            .map(|g| ((g.id, g.method), (g.request_count, g.cost_cents.0.0)))
            .collect();
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(k, s)| (k, (s.0, s.2))).collect();
        assert_eq!(groups, expected, "{by} {asked:?}");
    }
}

#[tokio::test]
async fn endpoints_and_latencies_equal_a_naive_recomputation() {
    let scene = Scene::start(41, 2_000).await;
    let mut rng = StdRng::seed_from_u64(42);
    for n in 0..30 {
        let person = &scene.people[n % 2];
        let asked = Asked::random(&mut rng, &scene);
        let rows = scene.rows_of(person, &asked);
        let found: TopEndpoints = scene
            .read(person, &format!("top-endpoints?{}", asked.query))
            .await;
        let mut expected: BTreeMap<(String, String), Sums> = BTreeMap::new();
        for row in &rows {
            let key = (row.endpoint.clone(), row.method.clone());
            add(expected.entry(key).or_default(), row);
        }
        assert!(
            found
                .endpoints
                .is_sorted_by(|a, b| a.request_count >= b.request_count)
        );
        for endpoint in &found.endpoints {
            let key = (endpoint.endpoint.clone(), endpoint.method.clone());
            let (requests, errors, cost) = expected.remove(&key).unwrap();
            assert_eq!(
                (endpoint.request_count, endpoint.total_cost_cents.0.0),
                (requests, cost)
            );
            assert!((endpoint.error_rate - errors as f64 / requests.max(1) as f64).abs() < 1e-5);
        }
        assert!(expected.is_empty(), "{expected:?}");
        let path = format!("latency?{}&granularity=day", asked.query);
        let found: Latency = scene.read(person, &path).await;
        assert!(is_quantile(found.overall.p95, 0.95, latencies(&rows)), "{path}");
        for point in &found.data {
            let of = |row: &&&ApiEvent| show(bucket_ms(row.timestamp, "day", Tz::UTC)) == point.timestamp;
            let rows: Vec<&ApiEvent> = rows.iter().filter(of).copied().collect();
            assert!(
                is_quantile(point.percentiles.p50, 0.5, latencies(&rows)),
                "{path} {point:?}"
            );
            let ttft = rows.iter().filter(|row| row.revision == 0 && row.ttft_ms != 0);
            let ttft = ttft.map(|row| row.ttft_ms).collect();
            assert!(
                is_quantile(point.percentiles.ttft_p99, 0.99, ttft),
                "{path} {point:?}"
            );
        }
        let ids: BTreeSet<String> = rows.iter().map(|row| row.api_id.to_string()).collect();
        let found: BTreeSet<String> = found.apis.into_iter().filter_map(|api| api.api_id).collect();
        assert_eq!(found, ids);
    }
}

#[tokio::test]
async fn names_are_those_of_now_or_the_last() {
    let endpoint = fresh_database().await;
    let at = endpoint.clone();
    let app = App::start_with(|config| config.clickhouse = Some(at)).await;
    let now = now_ms(&endpoint).await;
    app.clock.advance_ms(now - START_MS);
    let ada = app.register("ada").await;
    let make = async |route: &str, body: serde_json::Value| {
        let made = app.post(&ada.path(&format!("/{route}")), &ada.token, body).await;
        made.str("/id").to_owned()
    };
    let api = serde_json::json!({"name": "Chat", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let api = make("apis", api).await;
    let key = make("keys", serde_json::json!({"name": "ci"})).await;
    let mut row = random(5, 1, now).remove(0);
    row.workspace_id = ada.workspace_id.parse().unwrap();
    row.timestamp = now - 5_000;
    row.api_id = api.parse().unwrap();
    row.api_key_id = key.parse().unwrap();
    row.key_owner_id = ada.user_id.parse().unwrap();
    insert(&endpoint, "one", &[row]).await;
    for path in [format!("/keys/{key}"), format!("/apis/{api}")] {
        assert_eq!(app.delete(&ada.path(&path), &ada.token).await.status, 204);
        for (by, name) in [("api", "Chat"), ("key", "ci"), ("member", "ada")] {
            // The token's own workspace, without naming it.
            let answer = app
                .get(&format!("/api/analytics/costs?by={by}"), &ada.token)
                .await;
            assert_eq!(answer.str("/groups/0/name"), name, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn ca_17_what_is_not_on_the_list_is_refused_and_named() {
    let scene = Scene::start(51, 10).await;
    let ada = &scene.people[0];
    for (path, field) in [
        ("requests?start=2016-01-01T00:00:00Z", "start"),
        ("requests?granularity=second", "granularity"),
        (
            "requests?granularity=minute&start=2026-01-01T00:00:00Z&end=2026-02-01T00:00:00Z",
            "granularity",
        ),
        ("requests?start=yesterday", "start"),
        (
            "requests?start=2026-02-01T00:00:00Z&end=2026-01-01T00:00:00Z",
            "start",
        ),
        ("requests?sort=cost", "sort"),
        ("requests?apiId=1%20OR%201", "apiId"),
        ("requests?compare=next", "compare"),
        ("costs?by=workspace_id", "by"),
        ("costs?by=model)%20UNION%20ALL%20SELECT%201%20--", "by"),
        ("costs?by=tag&apiId=00000000-0000-0000-0000-000000000001", "by"),
        ("costs?tag=team", "tag"),
        ("costs?limit=1001", "limit"),
        ("top-endpoints?limit=0", "limit"),
        ("latency?keyId=1%20OR%201", "keyId"),
        ("summary?granularity=day", "granularity"),
        ("summary?model=a%00b", "model"),
    ] {
        let answer = scene.get(ada, path).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".into(), vec![field.into()]),
            "{path}"
        );
    }
    // Text of a filter is only ever text.
    for model in [
        "'%20OR%201=1%20--",
        "%5C",
        "%7Bworkspace:UUID%7D",
        "a%0Ab%09c",
        "%25",
        "?",
    ] {
        let found: Summary = scene.read(ada, &format!("summary?model={model}")).await;
        assert_eq!(found.requests.total_requests, 0, "{model}");
    }
}

#[tokio::test]
async fn without_clickhouse_the_answer_is_503_and_says_so() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let answer = app.get(&ada.path("/analytics/summary"), &ada.token).await;
    assert_eq!(answer.problem(), (503, "not_configured".into(), vec![]));
    // Nobody listens on port 1.
    let away = rateguard_control_plane::analytics::Endpoint::parse("http://127.0.0.1:1", None).unwrap();
    let app = App::start_with(|config| config.clickhouse = Some(away)).await;
    let ada = app.register("ada").await;
    let answer = app.get(&ada.path("/analytics/summary"), &ada.token).await;
    assert_eq!(answer.problem(), (503, "unavailable".into(), vec![]));
    assert!(answer.str("/detail").contains("ClickHouse"), "{answer:?}");
}
