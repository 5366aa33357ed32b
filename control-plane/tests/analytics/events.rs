//! Random events, and inserting them.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rateguard_control_plane::analytics::row::INSERT_SETTINGS;
use rateguard_control_plane::analytics::{ApiEvent, Endpoint, Receipt, TABLE};
use rateguard_wire::v1;
use uuid::Uuid;

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The engine's clock, which is what its tables expire by.
pub(crate) async fn now_ms(endpoint: &Endpoint) -> i64 {
    let query = endpoint
        .server_client()
        .query("SELECT toUnixTimestamp64Milli(now64(3))");
    query.fetch_one::<i64>().await.unwrap()
}

/// The ids of the workspaces that random events are of.
pub(crate) fn workspace(n: u8) -> Uuid {
    Uuid::from_bytes([n + 1; 16])
}

/// Events of two workspaces within the two days before `now_ms`, a tenth of them late settlements of others. Few
/// values per field, so that they meet in the same buckets.
pub(crate) fn random(seed: u64, count: usize, now_ms: i64) -> Vec<ApiEvent> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rows: Vec<ApiEvent> = Vec::with_capacity(count);
    while rows.len() < count {
        let received_at_ms = now_ms - rng.random_range(0..24 * HOUR_MS);
        let receipt = Receipt {
            received_at_ms,
            node_id: "envoy-1",
        };
        let mut event = request(&mut rng, received_at_ms);
        if rng.random_ratio(1, 10)
            && let Some(first) = rows.get(rng.random_range(0..rows.len().max(1)))
            && first.revision == 0
            && !rows
                .iter()
                .any(|row| row.event_id == first.event_id && row.revision == 1)
        {
            event.event_id = first.event_id.as_bytes().to_vec();
            event.revision = 1;
            event.cost_nanos = -rng.random_range(0..1_000_000_000);
            event.units = -rng.random_range(0..3);
        }
        rows.push(ApiEvent::of(event, receipt).unwrap());
    }
    rows
}

fn request(rng: &mut StdRng, received_at_ms: i64) -> v1::RequestEvent {
    let one_of = |rng: &mut StdRng, values: &[&str]| values[rng.random_range(0..values.len())].to_owned();
    let id = |rng: &mut StdRng, kind: u8, count: u8| vec![kind * 16 + rng.random_range(0..count); 16];
    let mut tags = std::collections::BTreeMap::new();
    for name in ["team", "feature"] {
        if rng.random() {
            tags.insert(name.to_owned(), one_of(rng, &["a", "b=c", "ü\0'\\"]));
        }
    }
    v1::RequestEvent {
        event_id: rng.random::<[u8; 16]>().to_vec(),
        timestamp_ms: received_at_ms - rng.random_range(0..20 * HOUR_MS),
        workspace_id: workspace(rng.random_range(0..2)).as_bytes().to_vec(),
        api_key_id: id(rng, 2, 3),
        api_id: id(rng, 3, 2),
        key_owner_id: if rng.random() { id(rng, 4, 2) } else { Vec::new() },
        endpoint: one_of(rng, &["/v1/chat/completions", "/v1/files/{id}"]),
        method: one_of(rng, &["POST", "GET"]),
        model: one_of(rng, &["gpt-4o", "claude", ""]),
        status_code: [0, 200, 200, 404, 429, 500][rng.random_range(0..6)],
        error_type: one_of(rng, &["", "", "rate_limited"]),
        // Heavy-tailed, as latencies are.
        latency_ms: f64::exp(rng.random_range(0.0..12.0)) as u32,
        upstream_latency_ms: rng.random_range(0..2_000),
        ttft_ms: rng.random_range(0..3) * 100,
        request_bytes: rng.random_range(0..1 << 40),
        response_bytes: rng.random_range(0..1 << 40),
        cost_nanos: rng.random_range(0..1 << 50),
        tokens: Some(v1::TokenUsage {
            fresh_input: rng.random_range(0..1 << 40),
            cache_read: rng.random_range(0..9),
            cache_write_5m: rng.random_range(0..9),
            cache_write_1h: rng.random_range(0..9),
            output_text: rng.random_range(0..9_999),
            reasoning: rng.random_range(0..9),
            audio_in: rng.random_range(0..9),
            audio_out: rng.random_range(0..9),
        }),
        units: rng.random_range(0..9),
        usage_source: rng.random_range(0..5),
        price_version: "7".into(),
        cache_hit: rng.random(),
        rate_limited: rng.random(),
        budget_exceeded: rng.random(),
        shadow: rng.random(),
        degraded: rng.random(),
        stream: rng.random(),
        tags,
        ..v1::RequestEvent::default()
    }
}

/// Inserts rows as the consumer does: one block under one token.
pub(crate) async fn insert(endpoint: &Endpoint, token: &str, rows: &[ApiEvent]) {
    let mut insert = endpoint.client().insert::<ApiEvent>(TABLE).await.unwrap();
    for (name, value) in INSERT_SETTINGS {
        insert = insert.with_setting(name, value);
    }
    insert = insert.with_setting("insert_deduplication_token", token);
    for row in rows {
        insert.write(row).await.unwrap();
    }
    insert.end().await.unwrap();
}
