//! API keys: shown once, suspended, revoked, rotated, deleted.

use crate::support::app::{App, START_MS};
use axum::http::StatusCode;
use rateguard_model::api_key::ApiKey;
use rateguard_model::digest::Digest;
use serde_json::{Value, json};

async fn digests(app: &App) -> Vec<Vec<u8>> {
    sqlx::query_scalar("SELECT sha256 FROM api_key_secret ORDER BY created_at")
        .fetch_all(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn au_14_a_key_is_shown_once_and_stored_as_its_hash() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let body =
        json!({"name": "CI", "environment": "test", "tags": {"team": "core"}, "allowedModels": ["gpt-*"]});
    let made = app.post(&ada.path("/keys"), &ada.token, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let text = made.str("/key").to_owned();
    assert!(ApiKey::parse(text.as_bytes()).is_ok(), "{text}");
    assert!(text.starts_with("rg_test_"));
    assert_eq!(made.str("/prefix"), &text[..12]);
    assert_eq!(made.str("/status"), "active");
    assert_eq!(made.str("/ownerId"), ada.user_id);
    assert_eq!(
        digests(&app).await,
        [Digest::of(text.as_bytes()).as_bytes().to_vec()]
    );

    let path = ada.path(&format!("/keys/{}", made.str("/id")));
    for answer in [
        app.get(&path, &ada.token).await,
        app.get(&ada.path("/keys"), &ada.token).await,
    ] {
        assert!(!answer.body.to_string().contains(&text[12..]), "{answer:?}");
    }
    let dump: String = sqlx::query_scalar("SELECT string_agg(api_key::text, '') FROM api_key")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(!dump.contains(&text[12..]));
}

#[tokio::test]
async fn suspending_can_be_undone_revoking_cannot() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    let path = ada.path(&format!("/keys/{}", made.str("/id")));
    let (before, _) = app.feed().await;
    let off = app.patch(&path, &ada.token, json!({"isActive": false})).await;
    assert_eq!(off.str("/status"), "suspended");
    let on = app.patch(&path, &ada.token, json!({"isActive": true})).await;
    assert_eq!(on.str("/status"), "active");
    let revoked = app.post(&format!("{path}/revoke"), &ada.token, Value::Null).await;
    assert_eq!(
        (revoked.status, revoked.str("/status")),
        (StatusCode::OK, "revoked")
    );
    assert_eq!(app.feed().await.0, before + 3);
    let twice = app.post(&format!("{path}/revoke"), &ada.token, Value::Null).await;
    assert_eq!(twice.body, revoked.body);
    assert_eq!(app.feed().await.0, before + 3);
    for change in [json!({"isActive": true}), json!({"name": "other"})] {
        assert_eq!(
            app.patch(&path, &ada.token, change).await.status,
            StatusCode::CONFLICT
        );
    }
    assert_eq!(
        app.post(&format!("{path}/rotate"), &ada.token, Value::Null)
            .await
            .status,
        StatusCode::CONFLICT
    );
    assert_eq!(app.delete(&path, &ada.token).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&path, &ada.token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.get(&ada.path("/keys"), &ada.token).await.body["data"],
        json!([])
    );
    assert_eq!(app.feed().await, (before + 4, 1));
    let name: String = sqlx::query_scalar("SELECT name FROM api_key")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(name, "k", "history keeps its name");
}

#[tokio::test]
async fn rotation_keeps_the_id_and_ends_the_old_secret_when_asked() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let made = app
        .post(&ada.path("/keys"), &ada.token, json!({"name": "k"}))
        .await;
    let rotate = ada.path(&format!("/keys/{}/rotate", made.str("/id")));
    let overlapping = app.post(&rotate, &ada.token, json!({"overlapSeconds": 60})).await;
    assert_eq!(overlapping.status, StatusCode::OK, "{overlapping:?}");
    assert_eq!(overlapping.str("/id"), made.str("/id"));
    assert_ne!(overlapping.str("/key"), made.str("/key"));
    let ends: Vec<Option<i64>> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM not_after) * 1000)::bigint FROM api_key_secret ORDER BY not_after NULLS LAST",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(ends, [Some(START_MS + 60_000), None]);
    let at_once = app.post(&rotate, &ada.token, Value::Null).await;
    assert_eq!(
        digests(&app).await,
        [Digest::of(at_once.str("/key").as_bytes()).as_bytes().to_vec()]
    );
    let long = app
        .post(&rotate, &ada.token, json!({"overlapSeconds": 2_592_001}))
        .await;
    assert_eq!(
        long.problem(),
        (422, "invalid".into(), vec!["overlapSeconds".into()])
    );
}

#[tokio::test]
async fn bad_keys_name_the_field() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let bob = app.register("bob").await;
    let api = json!({"name": "x", "baseUrl": "https://api.openai.test", "authType": "NONE"});
    let foreign = app.post(&bob.path("/apis"), &bob.token, api).await;
    let nothing = "00000000-0000-7000-8000-000000000000";
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "k", "environment": "prod"}), "environment"),
        (json!({"name": "k", "expiresAt": "tomorrow"}), "expiresAt"),
        (
            json!({"name": "k", "expiresAt": "2020-01-01T00:00:00Z"}),
            "expiresAt",
        ),
        (json!({"name": "k", "allowedApiIds": ["x"]}), "allowedApiIds[0]"),
        (json!({"name": "k", "allowedApiIds": [nothing]}), "allowedApiIds"),
        (
            json!({"name": "k", "allowedApiIds": [foreign.body["id"]]}),
            "allowedApiIds",
        ),
        (json!({"name": "k", "allowedModels": [""]}), "allowedModels[0]"),
        (json!({"name": "k", "tags": {"a b": "x"}}), "tags"),
        (json!({"name": "k", "tags": {"a": "x,y"}}), "tags.a"),
        (json!({"name": "k", "tags": {"a": 1}}), "tags.a"),
        (json!({"name": "k", "key": "rg_live_x"}), "key"),
        (json!({"name": "k", "isActive": true}), "isActive"),
    ] {
        let answer = app.post(&ada.path("/keys"), &ada.token, body.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned(), vec![field.to_owned()]),
            "{body}"
        );
    }
    let expiring = json!({"name": "k", "expiresAt": "2030-01-01T00:00:00+01:00"});
    let made = app.post(&ada.path("/keys"), &ada.token, expiring).await;
    assert_eq!(made.str("/expiresAt"), "2029-12-31T23:00:00.000Z");
    let path = ada.path(&format!("/keys/{}", made.str("/id")));
    assert_eq!(
        app.patch(&path, &ada.token, json!({"expiresAt": null}))
            .await
            .body["expiresAt"],
        Value::Null
    );
}
