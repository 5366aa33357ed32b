//! The master key changes while replicas serve, and what is sealed for one row opens in no other.

use crate::replica::{Replica, filter, made, make_api, operator_token};
use crate::support::app::{App, Person};
use crate::support::postgres;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rateguard_control_plane::config::{Config, EncryptionKeys};
use rateguard_wire::v1::{self, upstream_auth::Kind};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::process::Command;

const OLD: [u8; 32] = [7; 32];
const NEW: [u8; 32] = [8; 32];
const API_COUNT: usize = 30;

fn keys(current: [u8; 32], previous: &[[u8; 32]]) -> EncryptionKeys {
    EncryptionKeys {
        current,
        previous: previous.to_vec(),
    }
}

async fn replica(app: &App, keys: EncryptionKeys) -> Replica {
    let mut config = Config::for_testing("postgres://unused");
    config.encryption_keys = keys;
    let options = app.db.connect_options().as_ref().clone();
    let replica = Replica::start_configured(app, options, config);
    replica.caught_up(app).await;
    replica
}

/// `rateguard-control-plane rotate-master-key` with these keys.
async fn rotate(app: &App, current: [u8; 32], previous: &[[u8; 32]]) -> (bool, String) {
    let previous: Vec<String> = previous.iter().map(|key| STANDARD.encode(key)).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_rateguard-control-plane"))
        .env_clear()
        .arg("rotate-master-key")
        .env("RATEGUARD_ENV", "development")
        .env("DATABASE_URL", postgres::url_of(&app.db))
        .env("ENCRYPTION_KEY", STANDARD.encode(current))
        .env("ENCRYPTION_KEY_PREVIOUS", previous.join(","))
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

async fn key_ids(app: &App) -> BTreeMap<String, i64> {
    let counts: Vec<(String, i64)> =
        sqlx::query_as("SELECT credential_key_id, count(*) FROM api WHERE credential IS NOT NULL GROUP BY 1")
            .fetch_all(&app.db)
            .await
            .unwrap();
    counts.into_iter().collect()
}

fn credential(api: &v1::Api) -> Option<String> {
    match api.auth.clone()?.kind? {
        Kind::Bearer(token) => Some(token),
        _ => None,
    }
}

/// Reads, writes and polls until told to stop; gives how many of each there were.
async fn work(app: &App, ada: &Person, replica: &Replica, token: &str, stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) || rounds == 0 {
        let listed = app.get(&ada.path("/apis"), &ada.token).await;
        assert_eq!(listed.status, StatusCode::OK);
        let apis = listed.body["data"].as_array().unwrap();
        let id = apis[rounds % apis.len()]["id"].as_str().unwrap().to_owned();
        let body = json!({"credential": format!("sk-written-{rounds}")});
        let changed = app
            .patch(&ada.path(&format!("/apis/{id}")), &ada.token, body)
            .await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        replica.caught_up(app).await;
        let told = replica.poll(token, filter()).await;
        for api in &told.apis {
            let plain = credential(api).expect("every API keeps its credential");
            assert!(api.is_active && plain.starts_with("sk-"), "{plain}");
        }
        rounds += 1;
    }
    rounds
}

#[tokio::test]
async fn ro_11_the_master_key_changes_while_everything_serves() {
    // A replica that already seals with the new key beside one that still seals with the old: both open both.
    let app = Arc::new(App::start_with(|config| config.encryption_keys = keys(OLD, &[NEW])).await);
    let ada = Arc::new(app.register("ada").await);
    for n in 0..API_COUNT {
        make_api(&app, &ada, &format!("api-{n}")).await;
    }
    let token = operator_token(&app).await;
    let replica = replica(&app, keys(NEW, &[OLD])).await;
    let [old_id] = key_ids(&app)
        .await
        .into_keys()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let stop = AtomicBool::new(false);
    let rotation = async {
        let outcome = rotate(&app, NEW, &[OLD]).await;
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (rounds, (ended_well, said)) = tokio::join!(work(&app, &ada, &replica, &token, &stop), rotation);
    assert!(ended_well && said.contains("encrypted anew"), "{said}");
    assert!(rounds > 0);
    // What the replica with the old key wrote after the first command had passed it: the second takes it.
    let (ended_well, said) = rotate(&app, NEW, &[OLD]).await;
    assert!(ended_well, "{said}");
    let ids = key_ids(&app).await;
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(!ids.contains_key(&old_id));
    // The old key can go.
    let fresh = self::replica(&app, keys(NEW, &[])).await;
    let told = fresh.poll(&token, filter()).await;
    assert_eq!(
        told.apis.iter().filter(|api| credential(api).is_some()).count(),
        API_COUNT
    );
}

#[tokio::test]
async fn a_rotation_without_the_old_key_says_so_and_changes_nothing() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let api = make_api(&app, &ada, "openai").await;
    let before = key_ids(&app).await;
    let (ended_well, said) = rotate(&app, NEW, &[]).await;
    assert!(!ended_well && said.contains(&api), "{said}");
    assert_eq!(key_ids(&app).await, before);
}

#[tokio::test]
async fn ti_05_a_credential_moved_to_another_workspaces_row_opens_nowhere() {
    let app = App::start().await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    let same = |credential: &str| {
        json!({"name": "same", "slug": "same", "baseUrl": "https://api.openai.test/v1", "authType": "BEARER",
               "credential": credential})
    };
    let [of_ada, of_bob] = [
        made(&app, &ada, "/apis", same("sk-of-ada")).await,
        made(&app, &bob, "/apis", same("sk-of-bob")).await,
    ];
    let token = operator_token(&app).await;
    let replica = Replica::start(&app).await;
    let by_owner = |told: &v1::PollResponse| -> BTreeMap<Vec<u8>, Option<String>> {
        let owned = |api: &v1::Api| {
            (
                api.workspace_id.clone(),
                credential(api).filter(|_| api.is_active),
            )
        };
        told.apis.iter().map(owned).collect()
    };
    let told = by_owner(&replica.poll(&token, filter()).await);
    let bytes = |id: &str| id.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec();
    assert_eq!(told[&bytes(&ada.workspace_id)].as_deref(), Some("sk-of-ada"));
    assert_eq!(told[&bytes(&bob.workspace_id)].as_deref(), Some("sk-of-bob"));
    // As an intruder in the database would: each row gets the other's ciphertext.
    let swap = "WITH v AS (UPDATE feed_version SET version = version + 1 RETURNING version)
                UPDATE api a SET credential = b.credential, feed_version = (SELECT version FROM v)
                FROM api b WHERE a.id <> b.id AND a.id = ANY ($1) AND b.id = ANY ($1)";
    let ids: Vec<uuid::Uuid> = [&of_ada, &of_bob].map(|id| id.parse().unwrap()).to_vec();
    sqlx::query(swap).bind(&ids).execute(&app.db).await.unwrap();
    replica.caught_up(&app).await;
    let told = by_owner(&replica.poll(&token, filter()).await);
    assert_eq!(told.values().flatten().count(), 0, "{told:?}");
    let (ended_well, said) = rotate(&app, NEW, &[OLD]).await;
    assert!(!ended_well, "{said}");
}
