//! The catalogue and a workspace's own prices.

use crate::support::app::App;
use axum::http::StatusCode;
use rateguard_control_plane::prices;
use serde_json::{Value, json};

#[tokio::test]
async fn an_api_follows_the_catalogue_and_the_workspaces_own_prices() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bundled = app.get(&ada.path("/prices/catalogue"), &ada.token).await.body;
    let entries = bundled["entries"].as_array().unwrap();
    let mini = entries
        .iter()
        .find(|entry| entry["model"] == "gpt-4o-mini*")
        .unwrap();
    assert_eq!(mini["prices"]["inputCostPer1kTokens"], 0.015);
    assert_eq!(mini["prices"]["cachedInputCostPer1kTokens"], 0.0075);
    assert!(mini["source"].is_string() && mini["asOf"].is_string());

    let api = json!({"name": "OpenAI", "baseUrl": "https://api.openai.test", "authType": "NONE",
                     "costModel": {"type": "CATALOGUE"}});
    let api = app.post(&ada.path("/apis"), &ada.token, api).await;
    assert_eq!(api.status, StatusCode::CREATED, "{api:?}");
    assert_eq!(api.body["costModel"], json!({"type": "CATALOGUE"}));
    let path = ada.path(&format!("/apis/{}", api.str("/id")));
    let stored = || async {
        let text: String = sqlx::query_scalar("SELECT cost_model::text FROM api")
            .fetch_one(&app.db)
            .await
            .unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let first = stored().await;
    assert_eq!(
        first["type"], "PER_TOKEN",
        "the data plane prices it as any other"
    );
    assert_eq!(first["models"].as_array().unwrap().len(), entries.len());

    let (feed, _) = app.feed().await;
    let own = json!({"model": "gpt-4o-mini*", "prices": {"inputCostPer1kTokens": 0.01, "outputCostPer1kTokens": 0.04}});
    let own = app.post(&ada.path("/prices"), &ada.token, own).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    let second = stored().await;
    assert_eq!(second["models"][0]["prices"]["input"], 100_000, "{second}");
    let shown = app.get(&path, &ada.token).await.body;
    assert_ne!(shown["priceVersion"], api.body["priceVersion"]);
    let (feed_after, _) = app.feed().await;
    assert_eq!(feed_after, feed + 1);
    let fed: i64 = sqlx::query_scalar("SELECT feed_version FROM api")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(fed, feed_after, "the data planes hear of it");

    let twice =
        json!({"model": "gpt-4o-mini*", "prices": {"inputCostPer1kTokens": 1, "outputCostPer1kTokens": 1}});
    let twice = app.post(&ada.path("/prices"), &ada.token, twice).await;
    assert_eq!(twice.problem(), (409, "conflict".into(), vec!["model".into()]));
    let price = ada.path(&format!("/prices/{}", own.str("/id")));
    let dearer = json!({"prices": {"inputCostPer1kTokens": 0.02, "outputCostPer1kTokens": 0.08}});
    assert_eq!(app.patch(&price, &ada.token, dearer).await.status, StatusCode::OK);
    assert_eq!(stored().await["models"][0]["prices"]["input"], 200_000);
    assert_eq!(
        app.delete(&price, &ada.token).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(stored().await, first);
    assert_eq!(
        app.get(&path, &ada.token).await.body["priceVersion"],
        api.body["priceVersion"]
    );

    let renamed = app.patch(&path, &ada.token, json!({"name": "Renamed"})).await;
    assert_eq!(
        renamed.body["costModel"],
        json!({"type": "CATALOGUE"}),
        "{renamed:?}"
    );
    let own_model = json!({"costModel": {"type": "PER_REQUEST", "costCentsPerRequest": 1}});
    assert_eq!(
        app.patch(&path, &ada.token, own_model).await.body["costModel"]["type"],
        "PER_REQUEST"
    );
}

#[tokio::test]
async fn a_newer_program_brings_its_catalogue_and_an_older_one_changes_nothing_back() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let api = json!({"name": "OpenAI", "baseUrl": "https://api.openai.test", "authType": "NONE",
                     "costModel": {"type": "CATALOGUE"}});
    assert_eq!(
        app.post(&ada.path("/apis"), &ada.token, api).await.status,
        StatusCode::CREATED
    );
    let state = || async {
        sqlx::query_as::<_, (String, String, i64)>(
            "SELECT catalogue_version, price_version, feed_version FROM api",
        )
        .fetch_one(&app.db)
        .await
        .unwrap()
    };
    let made = state().await;
    assert_eq!(made.0, prices::catalogue().version);
    let old =
        "UPDATE api SET catalogue_version = '2000-01-01', price_version = 'prices-old', cost_model = '{}'";
    sqlx::query(old).execute(&app.db).await.unwrap();
    prices::adopt_catalogue(&app.state).await.unwrap();
    let adopted = state().await;
    assert_eq!((&adopted.0, &adopted.1), (&made.0, &made.1));
    assert!(adopted.2 > made.2, "the data planes hear of it");
    sqlx::query("UPDATE api SET catalogue_version = '2999-01-01'")
        .execute(&app.db)
        .await
        .unwrap();
    prices::adopt_catalogue(&app.state).await.unwrap();
    assert_eq!(state().await.0, "2999-01-01");
}
