//! `seed`: makes the demo once, and its secrets when they are gone.

use crate::replica::{Replica, filter};
use crate::support::app::App;
use rateguard_control_plane::config::{Config, Registration};
use rateguard_control_plane::entropy::SystemEntropy;
use rateguard_control_plane::seed::{self, SeedArgs};
use rateguard_control_plane::state::{AppState, Sources};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

const STUB: &str = "http://127.0.0.1:9";
const ALLOW: &str = "http://127.0.0.0/8:*";

async fn run(app: &App, allow: &str, stub_url: &str, out: &Path) -> anyhow::Result<()> {
    let mut config = Config::for_testing("postgres://unused");
    config.upstream_allow = allow.parse().unwrap();
    config.registration = Registration::Closed;
    let (_stop, shutdown) = watch::channel(false);
    let sources = Sources {
        clock: app.clock.clone(),
        entropy: Arc::new(SystemEntropy),
        shutdown,
    };
    let args = SeedArgs {
        stub_url: stub_url.into(),
        out: out.into(),
    };
    seed::run(AppState::new(config, app.db.clone(), sources), args).await
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn counts(app: &App) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in [
        "app_user",
        "workspace",
        "api",
        "rule",
        "budget",
        "api_key",
        "data_plane_token",
    ] {
        let count = format!("SELECT count(*) FROM {table}");
        counts.push(sqlx::query_scalar(&count).fetch_one(&app.db).await.unwrap());
    }
    counts
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_a_lost_file_brings_new_secrets() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo.json");
    run(&app, ALLOW, STUB, &out).await.unwrap();
    let first = read(&out);
    assert_eq!(
        std::fs::metadata(&out).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(counts(&app).await, [1, 1, 2, 2, 1, 1, 1]);
    for field in [
        "email",
        "password",
        "workspaceId",
        "apiKey",
        "apiKeyId",
        "dataPlaneToken",
    ] {
        assert!(first[field].is_string(), "{field}");
    }
    assert!(first["apis"]["openai"].is_string() && first["apis"]["anthropic"].is_string());

    run(&app, ALLOW, STUB, &out).await.unwrap();
    assert_eq!(
        (read(&out), counts(&app).await),
        (first.clone(), vec![1, 1, 2, 2, 1, 1, 1])
    );

    std::fs::remove_file(&out).unwrap();
    run(&app, ALLOW, "http://127.0.0.1:10", &out).await.unwrap();
    let second = read(&out);
    assert_eq!(counts(&app).await, [1, 1, 2, 2, 1, 2, 2]);
    assert_ne!(second["apiKey"], first["apiKey"]);
    assert_ne!(second["dataPlaneToken"], first["dataPlaneToken"]);
    assert_eq!(
        (&second["apis"], &second["workspaceId"]),
        (&first["apis"], &first["workspaceId"])
    );

    let replica = Replica::start(&app).await;
    let told = replica
        .poll(second["dataPlaneToken"].as_str().unwrap(), filter())
        .await;
    assert_eq!(told.workspaces[0].slug, "demo");
    assert_eq!(
        (
            told.apis.len(),
            told.keys.len(),
            told.rules.len(),
            told.budgets.len()
        ),
        (2, 2, 2, 1)
    );
    assert!(
        told.apis
            .iter()
            .all(|api| api.authority == "127.0.0.1:10" && api.is_active),
        "{:?}",
        told.apis
    );
}

#[tokio::test]
async fn without_upstream_allow_the_error_says_what_to_set() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo.json");
    let error = run(&app, "", STUB, &out).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("UPSTREAM_ALLOW=http://127.0.0.0/8:*"),
        "{error:#}"
    );
    assert!(!out.exists());
}
