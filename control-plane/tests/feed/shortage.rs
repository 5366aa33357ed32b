//! Postgres is there and does not do everything: no room, read-only, a pool that is used up, a connection that breaks
//! in the middle of a write. REST says 503, polls are answered, and nothing is half done.

use crate::away::role;
use crate::replica::{CONNECTIONS, Replica, after, eventually, filter, hanging, make_key, operator_token};
use crate::support::app::{App, Person};
use axum::http::{Method, StatusCode};
use rateguard_control_plane::db::transaction;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

async fn execute(app: &App, statement: &str) -> u64 {
    let done = sqlx::query(statement).execute(&app.db).await.unwrap();
    done.rows_affected()
}

/// Ends a role's connections; the next ones come under what the role is by then.
async fn cut(app: &App, name: &str) {
    execute(
        app,
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"),
    )
    .await;
}

async fn keys_at(replica: &Replica, person: &Person) -> StatusCode {
    let path = person.path("/keys");
    replica
        .rest(Method::GET, &path, &person.token, &Value::Null)
        .await
        .0
}

async fn make_key_at(replica: &Replica, person: &Person) -> (StatusCode, Value) {
    let (path, body) = (person.path("/keys"), json!({"name": "k"}));
    replica.rest(Method::POST, &path, &person.token, &body).await
}

/// Keys, audit entries, and where the feed is: a write changes all three or none.
async fn written(app: &App) -> (i64, i64, i64) {
    let counts = "SELECT (SELECT count(*) FROM api_key), (SELECT count(*) FROM audit_entry), version FROM feed_version";
    sqlx::query_as(counts).fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn cp_09_without_room_for_connections_rest_is_503_and_polls_are_answered() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let name = format!("crowded_{}", std::process::id());
    let replica = Replica::start_on(&app, role(&app, &name).await).await;
    let known = replica.poll(&token, filter()).await;
    execute(&app, &format!("ALTER ROLE {name} CONNECTION LIMIT 0")).await;
    eventually("no connection is left", || async {
        cut(&app, &name).await;
        keys_at(&replica, &ada).await == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    let before = written(&app).await;
    let (status, problem) = make_key_at(&replica, &ada).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("unavailable"))
    );
    assert_eq!(replica.poll(&token, filter()).await.version, known.version);
    assert_eq!(written(&app).await, before);
    execute(&app, &format!("ALTER ROLE {name} CONNECTION LIMIT -1")).await;
    eventually("it serves again", || async {
        make_key_at(&replica, &ada).await.0 == StatusCode::CREATED
    })
    .await;
    replica.caught_up(&app).await;
    assert_eq!(replica.poll(&token, after(&known)).await.keys.len(), 1);
}

#[tokio::test]
async fn cp_09_on_a_read_only_database_writes_are_503_and_leave_nothing() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let name = format!("standby_{}", std::process::id());
    let replica = Replica::start_on(&app, role(&app, &name).await).await;
    let known = replica.poll(&token, filter()).await;
    execute(
        &app,
        &format!("ALTER ROLE {name} SET default_transaction_read_only = on"),
    )
    .await;
    cut(&app, &name).await;
    eventually("reads go on", || async {
        keys_at(&replica, &ada).await == StatusCode::OK
    })
    .await;
    let before = written(&app).await;
    let (status, problem) = make_key_at(&replica, &ada).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(written(&app).await, before);
    // Another replica's database is the primary: its change still arrives here.
    make_key(&app, &ada).await;
    replica.caught_up(&app).await;
    assert_eq!(replica.poll(&token, after(&known)).await.keys.len(), 1);
}

#[tokio::test]
async fn cp_09_an_exhausted_pool_refuses_rest_and_holds_no_poll_back() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let known = replica.poll(&token, filter()).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(replica.state.db.acquire().await.unwrap());
    }
    let poll = tokio::spawn({
        let (replica, token, request) = (replica.clone(), token.clone(), hanging(after(&known)));
        async move { replica.poll(&token, request).await }
    });
    make_key(&app, &ada).await;
    assert_eq!(poll.await.unwrap().keys.len(), 1);
    let before = written(&app).await;
    assert_eq!(keys_at(&replica, &ada).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        make_key_at(&replica, &ada).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(written(&app).await, before);
    drop(held);
    eventually("it serves again", || async {
        keys_at(&replica, &ada).await == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn cp_09_a_write_whose_connection_breaks_leaves_nothing_behind() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let name = format!("cut_off_{}", std::process::id());
    let replica = Arc::new(Replica::start_on(&app, role(&app, &name).await).await);
    let before = written(&app).await;
    // Whoever writes waits here, in the middle of the transaction.
    let mut lock = transaction::begin(&app.db).await.unwrap();
    sqlx::query("SELECT version FROM feed_version FOR UPDATE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let ada = Arc::new(ada);
    let write = tokio::spawn({
        let (replica, ada) = (replica.clone(), ada.clone());
        async move { make_key_at(&replica, &ada).await }
    });
    eventually("the write is cut off", || async {
        let waiting = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = '{name}' AND wait_event_type = 'Lock'"
        );
        execute(&app, &waiting).await == 1
    })
    .await;
    let (status, problem) = write.await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    lock.rollback().await.unwrap();
    assert_eq!(written(&app).await, before);
    eventually("the same write goes through", || async {
        make_key_at(&replica, &ada).await.0 == StatusCode::CREATED
    })
    .await;
    let (keys, entries, version) = before;
    assert_eq!(written(&app).await, (keys + 1, entries + 1, version + 1));
}

#[tokio::test]
async fn rx_12_hanging_polls_hold_no_connection() {
    const POLLS: usize = 40;
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let replica = Arc::new(Replica::start(&app).await);
    let known = replica.poll(&token, filter()).await;
    let mut polls = JoinSet::new();
    for _ in 0..POLLS {
        let (replica, token, request) = (replica.clone(), token.clone(), hanging(after(&known)));
        polls.spawn(async move { replica.poll(&token, request).await });
    }
    eventually("all of them hang", || async {
        replica.state.feed.polls_hanging() >= POLLS as u64
    })
    .await;
    // The background may use one for a moment.
    eventually("every connection is free", || async {
        replica.state.db.num_idle() == replica.state.db.size() as usize
    })
    .await;
    assert_eq!(keys_at(&replica, &ada).await, StatusCode::OK);
    assert_eq!(make_key_at(&replica, &ada).await.0, StatusCode::CREATED);
    for answer in polls.join_all().await {
        assert_eq!(answer.keys.len(), 1);
    }
}
