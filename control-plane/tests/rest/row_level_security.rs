//! TI-10: what a query of a request can see in Postgres when it forgets to say of which workspace.

use crate::support::app::{App, Person};
use axum::http::StatusCode;
use rateguard_control_plane::db::{tenant, transaction};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Postgres, Transaction};
use std::future::Future as _;
use std::task::{Context, Waker};
use uuid::Uuid;

/// Two workspaces with the same things in each.
async fn two_workspaces() -> (App, [Person; 2]) {
    let app = App::start().await;
    let people = [app.register("ada").await, app.register("bob").await];
    for person in &people {
        let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
        let rule = json!({"name": "r", "scopes": [{"type": "PER_KEY"}], "algorithm": "SLIDING_WINDOW",
                          "limit": 1, "windowMs": 1000});
        for (route, body) in [
            ("/apis", api),
            ("/keys", json!({"name": "k"})),
            ("/rules", rule),
            ("/budgets", json!({"name": "b", "limitCents": 1})),
            (
                "/prices",
                json!({"model": "m", "prices": {"inputCostPer1kTokens": 1, "outputCostPer1kTokens": 1}}),
            ),
            (
                "/invitations",
                json!({"email": "eve@example.com", "role": "VIEWER"}),
            ),
            ("/access-tokens", json!({"name": "t"})),
            ("/data-planes", json!({"name": "d"})),
        ] {
            let made = app.post(&person.path(route), &person.token, body).await;
            assert_eq!(made.status, StatusCode::CREATED, "{route} {made:?}");
        }
    }
    (app, people)
}

async fn tables(app: &App, sql: &str) -> Vec<String> {
    let mut tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&app.db).await.unwrap();
    tables.sort();
    tables
}

const PROTECTED: &str = "SELECT tablename::text FROM pg_policies WHERE schemaname = 'public'";

async fn rows(tx: &mut Transaction<'_, Postgres>, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(&sql).fetch_one(&mut **tx).await.unwrap()
}

#[tokio::test]
async fn ti_10_a_request_without_a_workspace_sees_no_row() {
    let (app, [ada, _]) = two_workspaces().await;
    let protected = tables(&app, PROTECTED).await;
    assert!(protected.len() >= 14, "{protected:?}");
    let mut filled = 0;
    for table in &protected {
        let mut everything = transaction::begin(&app.db).await.unwrap();
        let all = rows(&mut everything, table).await;
        let as_nobody = "BEGIN; SET LOCAL ROLE rateguard_tenant";
        let mut nobody = transaction::begin_with(&app.db, as_nobody).await.unwrap();
        assert_eq!(rows(&mut nobody, table).await, 0, "{table}");
        let mut ours = tenant::begin(&app.db, ada.workspace_id.parse().unwrap())
            .await
            .unwrap();
        let ours = rows(&mut ours, table).await;
        let mut of_none = tenant::begin(&app.db, Uuid::from_u128(7)).await.unwrap();
        assert_eq!(rows(&mut of_none, table).await, 0, "{table}");
        if all > 0 {
            filled += 1;
            assert_eq!(ours * 2, all, "{table}");
        }
    }
    assert!(filled >= 10, "only {filled} tables had rows");
}

#[tokio::test]
async fn ti_10_every_table_that_knows_workspaces_is_behind_the_wall() {
    let app = App::start().await;
    let with_workspace = "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'workspace_id'
           AND has_table_privilege('rateguard_tenant', c.oid, 'SELECT, INSERT, UPDATE, DELETE')";
    let reached = tables(&app, with_workspace).await;
    assert!(reached.len() >= 10, "{reached:?}");
    let protected = tables(&app, PROTECTED).await;
    for table in reached {
        assert!(protected.contains(&table), "{table} has no policy");
    }
}

#[tokio::test]
async fn ti_10_writes_without_a_where_stay_in_the_workspace() {
    let (app, [ada, bob]) = two_workspaces().await;
    let ours: Uuid = ada.workspace_id.parse().unwrap();
    let theirs: Uuid = bob.workspace_id.parse().unwrap();
    let mut tx = tenant::begin(&app.db, ours).await.unwrap();
    for sql in [
        "UPDATE api_key SET name = 'mine'",
        "DELETE FROM rule",
        "UPDATE api SET slug = 'mine'",
    ] {
        let done = sqlx::query(sql).execute(&mut *tx).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{sql}");
    }
    tx.commit().await.unwrap();
    let keys = app.get(&bob.path("/keys"), &bob.token).await;
    assert_eq!(keys.str("/data/0/name"), "k");

    let moved = "UPDATE api_key SET workspace_id = $1";
    let planted = "INSERT INTO membership (workspace_id, user_id, role, created_at)
                   SELECT $1, id, 'OWNER', now() FROM app_user WHERE email LIKE 'ada%'";
    for sql in [moved, planted] {
        let mut tx = tenant::begin(&app.db, ours).await.unwrap();
        let error = sqlx::query(sql).bind(theirs).execute(&mut *tx).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("row-level security"), "{sql}: {text}");
    }
}

#[tokio::test]
async fn ti_10_a_request_reads_no_password_session_or_reset() {
    let (app, [ada, _]) = two_workspaces().await;
    for sql in [
        "SELECT password_hash FROM app_user",
        "SELECT * FROM session",
        "SELECT * FROM password_reset",
        "SELECT * FROM login_failure",
        "UPDATE audit_entry SET action = 'x'",
        "UPDATE app_user SET name = 'x'",
    ] {
        let mut tx = tenant::begin(&app.db, ada.workspace_id.parse().unwrap())
            .await
            .unwrap();
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn ti_10_a_transaction_given_up_while_it_begins_leaves_no_role_behind() {
    let (app, [ada, _]) = two_workspaces().await;
    let ours: Uuid = ada.workspace_id.parse().unwrap();
    let alone = PgPoolOptions::new()
        .max_connections(1)
        .connect_with((*app.db.connect_options()).clone())
        .await
        .unwrap();
    for polls in 0..20 {
        let mut begin = Box::pin(tenant::begin(&alone, ours));
        for _ in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            if begin.as_mut().poll(&mut context).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begin);
        let ask = async |sql: &'static str| {
            let answer: Option<String> = sqlx::query_scalar(sql).fetch_one(&alone).await.unwrap();
            answer.unwrap_or_default()
        };
        assert_ne!(
            ask("SELECT current_user::text").await,
            "rateguard_tenant",
            "after {polls} polls"
        );
        assert_eq!(
            ask("SELECT current_setting('rateguard.workspace', true)").await,
            "",
            "after {polls} polls"
        );
        // Forgotten with its transaction, which is this statement's alone unless one was left open.
        ask("SELECT set_config('rateguard.probe', 'open', true)").await;
        assert_eq!(
            ask("SELECT current_setting('rateguard.probe', true)").await,
            "",
            "after {polls} polls"
        );
    }
}
