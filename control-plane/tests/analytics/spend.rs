//! What the ledger says was spent, and marks.

use crate::clickhouse_engine::fresh_database;
use crate::events::{HOUR_MS, insert, now_ms, random, workspace};
use rateguard_control_plane::analytics::spend::{Mark, Window, remember};
use rateguard_control_plane::analytics::{ApiEvent, Reader};
use rateguard_wire::v1::{BudgetSubjectKind as Kind, SpendWindow};
use uuid::Uuid;

fn window(kind: Kind, subject: &str, start_ms: i64, end_ms: i64) -> SpendWindow {
    SpendWindow {
        subject_kind: kind.into(),
        subject: subject.into(),
        start_ms,
        end_ms,
    }
}

/// The same by a pass over the rows.
fn naive(rows: &[ApiEvent], workspace_id: Uuid, window: &SpendWindow) -> i64 {
    let of_subject = |row: &ApiEvent| match window.subject_kind() {
        Kind::Workspace => true,
        Kind::Api => row.api_id.to_string() == window.subject,
        Kind::Key => row.api_key_id.to_string() == window.subject,
        _ => row
            .tags
            .iter()
            .any(|(name, value)| format!("{name}={value}") == window.subject),
    };
    let rows = rows.iter().filter(|row| row.workspace_id == workspace_id);
    let rows = rows.filter(|row| row.timestamp >= window.start_ms);
    let rows = rows.filter(|row| window.end_ms == 0 || row.timestamp < window.end_ms);
    rows.filter(|row| of_subject(row)).map(|row| row.cost_nanos).sum()
}

#[tokio::test]
async fn ev_13_what_a_window_spent_equals_a_pass_over_the_rows() {
    let endpoint = fresh_database().await;
    let now_ms = now_ms(&endpoint).await;
    let mut rows = random(71, 2_000, now_ms);
    for row in &mut rows {
        row.cost_nanos %= 1 << 40;
    }
    for (n, block) in rows.chunks(700).enumerate() {
        insert(&endpoint, &format!("spend-0-{n}"), block).await;
        // A block that comes twice is counted once.
        insert(&endpoint, &format!("spend-0-{n}"), block).await;
    }
    let reader = Reader::new(&endpoint);
    let quarter = |ms: i64| ms / 900_000 * 900_000;
    let spans = [
        (0, 0),
        (quarter(now_ms - 24 * HOUR_MS), quarter(now_ms)),
        (quarter(now_ms - 5 * HOUR_MS), 0),
        (
            quarter(now_ms - 3 * HOUR_MS),
            quarter(now_ms - 3 * HOUR_MS) + 900_000,
        ),
    ];
    for n in 0..2 {
        let example = rows
            .iter()
            .find(|row| row.workspace_id == workspace(n) && !row.tags.is_empty());
        let example = example.expect("a row with a tag");
        let tag = format!("{}={}", example.tags[0].0, example.tags[0].1);
        let (api, key) = (example.api_id.to_string(), example.api_key_id.to_string());
        let subjects = [
            (Kind::Workspace, ""),
            (Kind::Api, api.as_str()),
            (Kind::Key, key.as_str()),
            (Kind::Tag, tag.as_str()),
            (Kind::Key, "00000000-0000-0000-0000-0000000000ff"),
        ];
        let asked: Vec<SpendWindow> = subjects
            .iter()
            .flat_map(|(kind, subject)| spans.map(|(start, end)| window(*kind, subject, start, end)))
            .collect();
        let windows: Vec<Window> = asked
            .iter()
            .cloned()
            .map(|w| Window::try_from(w).unwrap())
            .collect();
        let spent = reader.spent(workspace(n), &windows).await.unwrap();
        for (window, spent) in asked.iter().zip(spent) {
            assert_eq!(spent, naive(&rows, workspace(n), window), "{window:?}");
        }
    }
}

#[tokio::test]
async fn a_mark_is_of_its_workspace() {
    let endpoint = fresh_database().await;
    let reader = Reader::new(&endpoint);
    let passed_at = u32::try_from(now_ms(&endpoint).await / 1_000).unwrap();
    let marks = [1, 2].map(|n| Mark {
        workspace_id: workspace(0),
        mark_id: Uuid::from_u128(n),
        passed_at,
    });
    remember(&endpoint, &marks).await.unwrap();
    remember(&endpoint, &marks).await.unwrap();
    for (workspace_id, mark_id, there) in [
        (workspace(0), 1, true),
        (workspace(0), 2, true),
        (workspace(0), 3, false),
        (workspace(1), 1, false),
    ] {
        let found = reader
            .has_mark(workspace_id, Uuid::from_u128(mark_id))
            .await
            .unwrap();
        assert_eq!(found, there, "{workspace_id} {mark_id}");
    }
}
