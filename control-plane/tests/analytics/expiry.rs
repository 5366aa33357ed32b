//! Rows go thirty days after they were received, whatever time they claim.

use crate::clickhouse_engine::fresh_database;
use crate::events::{HOUR_MS, insert, now_ms, random};
use rateguard_control_plane::analytics::{ApiEvent, Receipt};
use rateguard_wire::v1;
use std::time::{Duration, Instant};

fn event(timestamp_ms: i64, received_at_ms: i64) -> ApiEvent {
    let event = v1::RequestEvent {
        event_id: timestamp_ms.to_be_bytes().repeat(2),
        workspace_id: vec![1; 16],
        timestamp_ms,
        ..v1::RequestEvent::default()
    };
    let node_id = "envoy-1";
    ApiEvent::of(
        event,
        Receipt {
            received_at_ms,
            node_id,
        },
    )
    .unwrap()
}

#[tokio::test]
async fn ev_11_odd_timestamps_neither_expire_early_nor_stay_nor_scatter() {
    let endpoint = fresh_database().await;
    let now = now_ms(&endpoint).await;
    let odd: Vec<ApiEvent> = [0, 1, now - 400 * 24 * HOUR_MS, now + 400 * 24 * HOUR_MS, i64::MAX]
        .map(|timestamp| event(timestamp, now))
        .into();
    insert(&endpoint, "odd", &odd).await;
    let claims_the_future = event(i64::MAX - 1, now - 31 * 24 * HOUR_MS);
    insert(&endpoint, "expired", &[claims_the_future]).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let client = endpoint.client();
        client
            .query("OPTIMIZE TABLE api_events FINAL")
            .execute()
            .await
            .unwrap();
        let count: u64 = client
            .query("SELECT count() FROM api_events")
            .fetch_one()
            .await
            .unwrap();
        if count == odd.len() as u64 {
            break;
        }
        assert!(Instant::now() < deadline, "{count} rows are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let partitions = "SELECT uniqExact(partition) FROM system.parts \
                      WHERE database = currentDatabase() AND table = ? AND active";
    for table in ["api_events", "usage_minute", "usage_day", "spend_ledger"] {
        let query = endpoint.client().query(partitions).bind(table);
        let count: u64 = query.fetch_one().await.unwrap();
        assert!(count <= 2, "{table} has {count} partitions");
    }
}

#[tokio::test]
async fn ev_06_a_bill_counts_an_event_once_though_its_block_came_twice() {
    let endpoint = fresh_database().await;
    let now = now_ms(&endpoint).await;
    let rows = random(3, 400, now);
    // Under other tokens: as if another consumer had cut the topic differently.
    insert(&endpoint, "first", &rows).await;
    insert(&endpoint, "second", &rows[100..]).await;
    for n in 0..2 {
        let workspace = crate::events::workspace(n);
        let of_workspace = rows.iter().filter(|row| row.workspace_id == workspace);
        let expected: i64 = of_workspace.map(|row| row.cost_nanos).sum();
        let query = "SELECT sum(cost_nanos) FROM api_events_once(workspace_id = ?, start = ?, end = ?)";
        let billed: i64 = endpoint
            .client()
            .query(query)
            .bind(workspace.to_string())
            .bind("2020-01-01 00:00:00")
            .bind("2100-01-01 00:00:00")
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(billed, expected);
    }
}
