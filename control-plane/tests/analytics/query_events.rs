//! The log of requests, exports and the live tail.

use crate::clickhouse_engine::fresh_database;
use crate::events::{HOUR_MS, insert, now_ms, random};
use crate::query::{Scene, show};
use crate::support::app::{App, START_MS};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt as _;
use rateguard_api::analytics::Event;
use rateguard_api::list::List;
use rateguard_control_plane::analytics::ApiEvent;
use rateguard_control_plane::http;
use std::time::Duration;
use tower::ServiceExt as _;

type Ids = Vec<(String, u8)>;

fn ids<'a>(rows: impl IntoIterator<Item = &'a ApiEvent>) -> Ids {
    let mut ids: Ids = rows
        .into_iter()
        .map(|row| (row.event_id.to_string(), row.revision))
        .collect();
    ids.sort();
    ids
}

/// All pages of a list.
async fn walk(scene: &Scene, person: usize, query: &str) -> Vec<Event> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let path = format!("events?{query}{cursor}");
        let page: List<Event> = scene.read(&scene.people[person], &path).await;
        all.extend(page.data);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
    panic!("the list does not end");
}

type Is = fn(&ApiEvent) -> bool;

#[tokio::test]
async fn ti_03_pages_walk_every_event_of_the_workspace_once() {
    let scene = Scene::start(61, 700).await;
    let range = format!("start={}", show(scene.now_ms - 60 * HOUR_MS));
    let filters: [(&str, Is); 8] = [
        ("", |_| true),
        ("&status=4xx", |row| (400..500).contains(&row.status_code)),
        ("&status=none", |row| row.status_code == 0),
        ("&errorType=rate_limited", |row| row.error_type == "rate_limited"),
        ("&minLatencyMs=500", |row| row.latency_ms >= 500),
        ("&shadow=true", |row| row.shadow),
        ("&endpoint=/v1/files/%7Bid%7D", |row| {
            row.endpoint == "/v1/files/{id}"
        }),
        ("&model=gpt-4o&status=2xx", |row| {
            row.model == "gpt-4o" && (200..300).contains(&row.status_code)
        }),
    ];
    for person in 0..2 {
        let workspace_id = scene.people[person].workspace_id.clone();
        for (filter, is) in filters {
            let found = walk(&scene, person, &format!("{range}{filter}&limit=37")).await;
            assert!(found.is_sorted_by(|a, b| a.timestamp >= b.timestamp), "{filter}");
            let mut seen: Ids = found
                .into_iter()
                .map(|event| (event.id, event.revision))
                .collect();
            seen.sort();
            let of = |row: &&ApiEvent| row.workspace_id.to_string() == workspace_id && is(row);
            assert_eq!(seen, ids(scene.rows.iter().filter(of)), "{filter}");
        }
    }
    for (query, field) in [
        ("cursor=AAAA", "cursor"),
        ("status=6xx", "status"),
        ("minLatencyMs=-1", "minLatencyMs"),
        ("limit=201", "limit"),
    ] {
        let answer = scene.get(&scene.people[0], &format!("events?{query}")).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".into(), vec![field.into()]),
            "{query}"
        );
    }
}

#[tokio::test]
async fn ev_06_an_export_has_every_event_once_and_adds_up_to_the_bill() {
    let scene = Scene::start(71, 600).await;
    // The same rows again, under another token.
    let endpoint = scene.app.state.config.clickhouse.clone().unwrap();
    insert(&endpoint, "again", &scene.rows[..300]).await;
    let ada = &scene.people[0];
    let of = |row: &&ApiEvent| row.workspace_id.to_string() == ada.workspace_id;
    let expected: Vec<&ApiEvent> = scene.rows.iter().filter(of).collect();
    let nanos: i64 = expected.iter().map(|row| row.cost_nanos).sum();
    let start = show(scene.now_ms - 60 * HOUR_MS);
    for (format, id, revision, cost, places) in [
        ("csv", "id", "revision", "cost_cents", 7),
        ("focus", "x_EventId", "x_EventRevision", "BilledCost", 9),
    ] {
        let answer = scene
            .get(ada, &format!("export?format={format}&start={start}"))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
        let text = answer.body.as_str().unwrap();
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap();
        let mut seen = Ids::new();
        let mut sum = 0;
        for line in lines {
            let fields = fields(line);
            assert_eq!(fields.len(), names.len(), "{line}");
            seen.push((
                fields[place(id)].clone(),
                fields[place(revision)].parse().unwrap(),
            ));
            sum += rateguard_api::decimal::parse_fixed(&fields[place(cost)], places).unwrap();
        }
        seen.sort();
        assert_eq!(seen, ids(expected.iter().copied()), "{format}");
        assert_eq!(sum, nanos, "{format}");
    }
    let old = show(scene.now_ms - 31 * 24 * HOUR_MS);
    let answer = scene.get(ada, &format!("export?start={old}")).await;
    assert_eq!(answer.problem(), (422, "invalid".into(), vec!["start".into()]));
}

/// A line's fields; none of the test's has a line break.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

#[tokio::test]
async fn the_tail_shows_what_comes_in_and_ends_with_the_program() {
    let endpoint = fresh_database().await;
    let at = endpoint.clone();
    let app = App::start_with(|config| config.clickhouse = Some(at)).await;
    let now = now_ms(&endpoint).await;
    app.clock.advance_ms(now - START_MS);
    let ada = app.register("ada").await;
    let mut rows = random(81, 4, now);
    for (n, row) in rows.iter_mut().enumerate() {
        row.workspace_id = ada.workspace_id.parse().unwrap();
        row.event_id = uuid::Uuid::from_u128(n as u128 + 1);
        row.revision = 0;
        row.timestamp = now;
        row.received_at = now;
        row.status_code = 200;
    }
    rows[0].received_at = now - 3_600_000;
    rows[1].workspace_id = uuid::Uuid::from_u128(99);
    rows[2].status_code = 500;
    let request = Request::get(ada.path("/analytics/tail?status=2xx"))
        .header(header::AUTHORIZATION, format!("Bearer {}", ada.token))
        .body(Body::empty())
        .unwrap();
    let response = http::router(app.state.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    insert(&endpoint, "one", &rows).await;
    let mut seen = String::new();
    let expected = rows[3].event_id.to_string();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !seen.contains(&expected) {
            seen.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
        }
    })
    .await
    .unwrap();
    assert!(seen.contains("event: request"), "{seen}");
    for other in &rows[..3] {
        assert!(!seen.contains(&other.event_id.to_string()), "{seen}");
    }
    drop(app);
    let rest = tokio::time::timeout(Duration::from_secs(20), stream.collect::<Vec<_>>());
    assert!(rest.await.is_ok(), "the stream does not end");
}
