//! Postgres goes away: polls are answered from memory, and the feed follows again when it is back.

use crate::replica::{Replica, after, eventually, filter, make_key, operator_token};
use crate::support::app::App;
use axum::http::StatusCode;
use prost::Message as _;
use sqlx::postgres::PgConnectOptions;

/// The app's database under another role's name: that role's connections can be cut and kept out.
pub(crate) async fn role(app: &App, name: &str) -> PgConnectOptions {
    for statement in [
        format!("CREATE ROLE {name} LOGIN"),
        format!("GRANT SELECT, UPDATE, DELETE, INSERT ON ALL TABLES IN SCHEMA public TO {name}"),
        format!("GRANT rateguard_tenant TO {name}"),
    ] {
        sqlx::query(&statement).execute(&app.db).await.unwrap();
    }
    app.db.connect_options().as_ref().clone().username(name)
}

/// Cuts a role's connections and lets no new ones in.
async fn shut_out(app: &App, name: &str) {
    sqlx::query(&format!("ALTER ROLE {name} NOLOGIN"))
        .execute(&app.db)
        .await
        .unwrap();
    eventually("the role is out", || async {
        let cut = sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1");
        cut.bind(name).execute(&app.db).await.unwrap().rows_affected() == 0
    })
    .await;
}

async fn let_in(app: &App, name: &str) {
    sqlx::query(&format!("ALTER ROLE {name} LOGIN"))
        .execute(&app.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn cp_09_polls_are_served_from_memory_while_postgres_is_away() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let token = operator_token(&app).await;
    let name = format!("away_{}", std::process::id());
    let replica = Replica::start_on(&app, role(&app, &name).await).await;
    let known = replica.poll(&token, filter()).await;
    shut_out(&app, &name).await;
    let first = replica.poll(&token, filter()).await;
    assert_eq!((first.full, &first.version), (true, &known.version));
    assert!(!replica.poll(&token, after(&known)).await.full);
    assert_eq!(replica.clusters(&token, "").await.0, StatusCode::OK);
    make_key(&app, &ada).await;
    assert_eq!(replica.poll(&token, after(&known)).await.keys.len(), 0);
    let_in(&app, &name).await;
    replica.caught_up(&app).await;
    assert_eq!(replica.poll(&token, after(&known)).await.keys.len(), 1);
    // Notifications work again too, not only the fallback.
    make_key(&app, &ada).await;
    replica.caught_up(&app).await;
}

#[tokio::test]
async fn before_the_first_reading_polls_are_503() {
    let app = App::start().await;
    let token = operator_token(&app).await;
    let name = format!("late_{}", std::process::id());
    let options = role(&app, &name).await;
    shut_out(&app, &name).await;
    let replica = Replica::start_unready(&app, options);
    let (status, _) = replica
        .send("/v1/config:poll", &token, filter().encode_to_vec())
        .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        replica.clusters(&token, "").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let_in(&app, &name).await;
    replica.caught_up(&app).await;
    assert!(replica.poll(&token, filter()).await.full);
}
