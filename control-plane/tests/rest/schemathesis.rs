//! Schemathesis (PyPI) drives every operation of the OpenAPI document against the program: no 500, no status and no
//! media type that the document does not name.

use crate::support::app::App;
use rateguard_control_plane::http;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;

/// The whole run.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Operations that are left out, each with its reason.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "deleteWorkspace",
        "would take the workspace away from under the others",
    ),
    ("showCosts", "503 without a limit service; costs.rs has one"),
    ("showOwnCosts", "503 without a limit service"),
    ("resetRule", "503 without a limit service"),
];

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own setting, made by ./dev test"
)]
fn program() -> String {
    std::env::var("RATEGUARD_SCHEMATHESIS")
        .expect("RATEGUARD_SCHEMATHESIS names the schemathesis program; ./dev test sets it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of RATEGUARD_SCHEMATHESIS; ./dev test runs it"]
async fn ca_11_schemathesis_finds_no_500_and_nothing_undocumented() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = http::router(app.state.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("schemathesis.toml");
    let parameters = format!("[parameters]\n\"path.workspace_id\" = \"{}\"\n", ada.workspace_id);
    std::fs::write(&config, parameters).unwrap();
    let mut run = Command::new(program());
    run.arg("--config-file")
        .arg(&config)
        .arg("run")
        .arg(format!("http://{address}/api/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {}", ada.token)])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance",
        ])
        .args([
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "20",
            "--seed",
            "7",
            // Python 3.11 parses sources in one thread at a time, or fails with an error of its own.
            "--workers",
            "1",
        ])
        // No time budget: fuzzing would be repeated until it is spent.
        .args([
            "--no-shrink",
            "--continue-on-failure",
            "--no-color",
            "--warnings",
            "off",
        ])
        .args(["--generation-database", "none", "--request-timeout", "30"]);
    for (operation, _) in LEFT_OUT {
        run.args(["--exclude-operation-id", operation]);
    }
    run.current_dir(&folder).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, run.output())
        .await
        .unwrap()
        .unwrap();
    server.abort();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It did drive the operations, with a session that held.
    assert!(said.contains("No issues found"), "{said}");
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_entry")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(entries > 20, "only {entries} writes succeeded: {said}");
}
