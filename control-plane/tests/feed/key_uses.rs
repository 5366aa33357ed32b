//! `lastUsedAt`: reported by polls, written in batches.

use crate::replica::{Replica, filter, make_key, operator_token, own_token};
use crate::support::app::{App, Person, START_MS};
use rateguard_control_plane::feed::sync::flush_key_uses;
use rateguard_wire::v1::{KeyUse, PollRequest};
use serde_json::Value;

const MINUTE: i64 = START_MS / 60_000;

async fn last_used(app: &App, person: &Person, key: &str) -> Value {
    let path = person.path(&format!("/keys/{key}"));
    app.get(&path, &person.token).await.body["lastUsedAt"].clone()
}

fn uses(key: &str, minute: i64) -> PollRequest {
    let key_id = key.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec();
    PollRequest {
        key_uses: vec![KeyUse { key_id, minute }],
        ..filter()
    }
}

#[tokio::test]
async fn uses_are_written_forwards_only_and_are_no_change_of_the_feed() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let key = make_key(&app, &ada).await;
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let before = app.feed().await;
    replica.poll(&token, uses(&key, MINUTE)).await;
    flush_key_uses(&replica.state).await;
    assert_eq!(last_used(&app, &ada, &key).await, "2026-06-15T12:00:00.000Z");
    app.clock.advance_ms(60_000);
    replica.poll(&token, uses(&key, MINUTE - 5)).await;
    flush_key_uses(&replica.state).await;
    assert_eq!(last_used(&app, &ada, &key).await, "2026-06-15T12:00:00.000Z");
    assert_eq!(app.feed().await, before);
}

#[tokio::test]
async fn nobody_reports_uses_of_another_workspaces_keys() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let key = make_key(&app, &ada).await;
    let (token, _) = own_token(&app, &bob).await;
    let replica = Replica::start(&app).await;
    replica.poll(&token, uses(&key, MINUTE)).await;
    flush_key_uses(&replica.state).await;
    assert_eq!(last_used(&app, &ada, &key).await, Value::Null);
}
