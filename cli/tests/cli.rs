//! The program against a real control plane on Postgres.

#[expect(dead_code, reason = "the control plane's own tests use all of it")]
#[path = "../../control-plane/tests/support/postgres.rs"]
mod postgres;

use rateguard_control_plane::clock::SystemClock;
use rateguard_control_plane::config::Config;
use rateguard_control_plane::entropy::SystemEntropy;
use rateguard_control_plane::http;
use rateguard_control_plane::state::{AppState, Sources};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;

const EMAIL: &str = "ann@example.com";
const PASSWORD: &str = "correct horse";

/// A control plane with one person, and a home folder for the program.
struct Scene {
    url: String,
    home: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

impl Scene {
    async fn start() -> Self {
        let (db, database_url) = postgres::fresh_database().await;
        let (stop, shutdown) = watch::channel(false);
        let sources = Sources {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            shutdown,
        };
        let state = AppState::new(Config::for_testing(&database_url), db, sources);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = http::router(state).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let body = serde_json::json!({"email": EMAIL, "password": PASSWORD, "name": "Ann"});
        let answer = reqwest::Client::new()
            .post(format!("{url}/api/auth/register"))
            .json(&body)
            .send();
        assert_eq!(answer.await.unwrap().status(), 201);
        Self {
            url,
            home: tempfile::tempdir().unwrap(),
            _stop: stop,
        }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[], "").await
    }

    async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rateguard"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("RATEGUARD_URL", &self.url)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    }

    async fn log_in(&self) {
        let arguments = ["login", "--email", EMAIL, "--password-stdin"];
        let output = self.run_with(&arguments, &[], PASSWORD).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// What a command prints when it succeeds.
    async fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its exit code and what it complains.
    async fn complains(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments).await;
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }

    fn credentials(&self) -> std::path::PathBuf {
        self.home.path().join(".config/rateguard/credentials.json")
    }
}

#[tokio::test]
async fn a_sign_in_is_remembered_privately_and_ends() {
    let scene = Scene::start().await;
    assert_eq!(scene.complains(&["keys"]).await.0, 3, "nobody is signed in");
    let wrong = scene
        .run_with(
            &["login", "--email", EMAIL, "--password-stdin"],
            &[],
            "wrong horse\n",
        )
        .await;
    assert_eq!(wrong.status.code(), Some(3), "{wrong:?}");
    scene.log_in().await;
    let mode = std::fs::metadata(scene.credentials())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let me = scene.says(&["whoami"]).await;
    assert!(me.contains(EMAIL) && me.contains("OWNER"), "{me}");
    // The session's token is never sent to another address.
    let elsewhere = [("RATEGUARD_URL", "http://127.0.0.1:1")];
    let other = scene.run_with(&["whoami"], &elsewhere, "").await;
    assert_eq!(other.status.code(), Some(3), "{other:?}");
    scene.says(&["logout"]).await;
    assert!(!scene.credentials().exists());
    assert_eq!(scene.complains(&["whoami"]).await.0, 3);
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let text = std::fs::read_to_string(scene.credentials()).unwrap();
    let mut stored: Value = serde_json::from_str(&text).unwrap();
    let cookie = stored["refreshCookie"].clone();
    stored["token"] = "stale".into();
    std::fs::write(scene.credentials(), stored.to_string()).unwrap();
    assert!(scene.says(&["whoami"]).await.contains(EMAIL));
    let text = std::fs::read_to_string(scene.credentials()).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    assert_ne!(stored["token"], "stale");
    assert_ne!(stored["refreshCookie"], cookie, "it was rotated");
}

#[tokio::test]
async fn things_are_made_listed_changed_and_removed() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let id = scene
        .says(&[
            "-o",
            "json",
            "keys",
            "create",
            "name=ci",
            "environment=test",
            "tags.team=search",
        ])
        .await;
    let made: Value = serde_json::from_str(&id).unwrap();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with("rg_test_"), "{made}");
    let list = scene.says(&["keys"]).await;
    let mut lines = list.lines();
    assert!(lines.next().unwrap().starts_with("ID "), "{list}");
    assert!(lines.next().unwrap().contains("ci"), "{list}");
    assert!(!list.contains(key), "{list}");
    assert_eq!(scene.says(&["-q", "keys", "list"]).await.trim(), id);
    scene
        .says(&["keys", "update", id, "name=deploy", "expiresAt:=null"])
        .await;
    let shown = scene.says(&["keys", "show", id]).await;
    assert!(shown.contains("deploy"), "{shown}");
    let rotated = scene
        .says(&["-q", "keys", "rotate", id, "--overlap-seconds", "60"])
        .await;
    assert!(
        rotated.starts_with("rg_test_") && rotated.trim() != key,
        "{rotated}"
    );
    scene.says(&["keys", "revoke", id]).await;
    assert!(scene.says(&["keys", "show", id]).await.contains("revoked"));

    let body = r#"{"name":"60 a minute","scopes":[{"type":"PER_KEY"}],"algorithm":"SLIDING_WINDOW","windowMs":60000}"#;
    let rule = scene
        .says(&["-q", "rules", "create", "--data", body, "limit:=60"])
        .await;
    assert!(scene.says(&["rules"]).await.contains("60 a minute"));
    scene.says(&["rules", "delete", rule.trim()]).await;
    assert!(!scene.says(&["rules"]).await.contains("60 a minute"));

    let budget = scene
        .says(&["-o", "json", "budget", "--monthly-cents", "12.0000001"])
        .await;
    assert!(budget.contains("12.0000001"), "{budget}");
    let raw = scene
        .says(&["api", "GET", "/api/workspaces/{workspace}/keys"])
        .await;
    assert!(serde_json::from_str::<Value>(&raw).unwrap()["data"].is_array());
}

/// The cells of a table's line.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect()
}

#[tokio::test]
async fn budgets_and_costs_show_what_they_are_of() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let key = scene
        .says(&[
            "-q",
            "-o",
            "json",
            "keys",
            "create",
            "name=ci",
            "environment=live",
        ])
        .await;
    assert!(key.starts_with("rg_live_"), "{key}");
    let key = scene.says(&["-q", "keys"]).await;
    let key = key.trim();
    let subject = format!("subject.id={key}");
    let daily = scene
        .says(&[
            "-q",
            "budgets",
            "create",
            "name=ci a day",
            "subject.type=KEY",
            &subject,
            "window=DAY",
            "limitCents=250.5",
            "autoShutoff:=true",
        ])
        .await;
    let listed = scene.says(&["budgets"]).await;
    let lines: Vec<_> = listed.lines().map(cells).collect();
    assert_eq!(
        lines,
        [
            vec!["ID", "NAME", "OF", "SUBJECT", "WINDOW", "LIMIT CENTS", "SHUTOFF"],
            vec![daily.trim(), "ci a day", "KEY", key, "DAY", "250.5", "true"],
        ],
        "{listed}"
    );
    scene
        .says(&["budgets", "update", daily.trim(), "limitCents=300"])
        .await;
    let shown = scene.says(&["budgets", "show", daily.trim()]).await;
    assert!(shown.contains("300"), "{shown}");
    scene
        .says(&["budget", "--monthly-cents", "1000", "--auto-shutoff", "false"])
        .await;

    // This control plane has no limit service, which alone knows what was spent.
    let (code, said) = scene.complains(&["costs"]).await;
    assert!(code == 1 && said.contains("limit service"), "{code} {said}");

    scene.says(&["budgets", "delete", daily.trim()]).await;
    scene.says(&["budget", "--monthly-cents", "none"]).await;
    assert_eq!(scene.says(&["budgets"]).await.lines().count(), 1);
    let costs = scene.says(&["costs"]).await;
    assert!(
        costs.contains("currentSpendCents") && !costs.contains("budgets"),
        "{costs}"
    );
    assert_eq!(scene.says(&["budget"]).await, costs);
}

#[tokio::test]
async fn rules_are_tried_without_a_request_and_a_reset_says_what_is_missing() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let api = r#"{"name":"Mine","slug":"mine","baseUrl":"https://1.1.1.1/v1","authType":"NONE"}"#;
    scene.says(&["apis", "create", "--data", api]).await;
    let body = r#"{"name":"gets","methods":["GET"],"scopes":[{"type":"PER_IP"}],"algorithm":"SLIDING_WINDOW","windowMs":60000,"limit":60}"#;
    let rule = scene.says(&["-q", "rules", "create", "--data", body]).await;
    for (method, matches) in [("GET", "true"), ("POST", "false")] {
        let method = format!("method={method}");
        let said = scene
            .says(&[
                "rules",
                "test",
                "path=/proxy/mine/models",
                &method,
                "ip=192.0.2.1",
            ])
            .await;
        let line = said.lines().find(|line| line.contains("gets")).unwrap();
        assert_eq!(cells(line)[..3], [matches, "gets", "enforce"], "{said}");
        assert!(said.contains("/v1/models"), "{said}");
    }
    // This control plane has no limit service: the reset reaches it and tells so.
    let (code, said) = scene
        .complains(&["rules", "reset", rule.trim(), "--subject", "192.0.2.1"])
        .await;
    assert!(code == 1 && said.contains("limit service"), "{code} {said}");
}

#[tokio::test]
async fn a_data_plane_token_is_shown_once_and_ends() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let token = scene.says(&["-q", "data-planes", "create", "berlin"]).await;
    assert!(token.starts_with("rgdp_"), "{token}");
    let listed = scene.says(&["data-planes"]).await;
    assert!(
        listed.contains("berlin") && !listed.contains(token.trim()),
        "{listed}"
    );
    let id = scene.says(&["-q", "data-planes", "list"]).await;
    scene.says(&["data-planes", "revoke", id.trim()]).await;
    let (code, _) = scene.complains(&["data-planes", "revoke", id.trim()]).await;
    assert_eq!(code, 1, "it has ended");
}

#[tokio::test]
async fn workspaces_are_chosen_by_slug() {
    let scene = Scene::start().await;
    scene.log_in().await;
    scene
        .says(&["keys", "create", "name=first", "environment=live"])
        .await;
    let made = scene
        .says(&["-o", "json", "workspaces", "create", "name=Second place"])
        .await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let slug = made["slug"].as_str().unwrap();
    assert!(scene.says(&["workspaces"]).await.contains(slug));
    let said = scene.says(&["workspaces", "use", slug]).await;
    assert!(said.contains(slug), "{said}");
    assert!(
        !scene.says(&["keys"]).await.contains("first"),
        "the other workspace's"
    );
    assert!(scene.says(&["whoami"]).await.contains(slug));
    let (code, said) = scene.complains(&["workspaces", "use", "elsewhere"]).await;
    assert!(code == 2 && said.contains("elsewhere"), "{code} {said}");
}

#[tokio::test]
async fn a_personal_access_token_signs_in_from_standard_input() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let made = scene
        .says(&[
            "api",
            "POST",
            "/api/workspaces/{workspace}/access-tokens",
            "--data",
            r#"{"name":"ci","role":"VIEWER"}"#,
        ])
        .await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    scene.says(&["logout"]).await;
    let wrong = scene
        .run_with(&["login", "--token-stdin"], &[], &format!("{token}x\n"))
        .await;
    assert_eq!(wrong.status.code(), Some(3), "{wrong:?}");
    assert!(
        !scene.credentials().exists(),
        "what was refused is not remembered"
    );
    let output = scene
        .run_with(&["login", "--token-stdin"], &[], &format!("{token}\n"))
        .await;
    assert!(output.status.success(), "{output:?}");
    assert!(!format!("{output:?}").contains(token));
    scene.says(&["keys"]).await;
    let (code, said) = scene
        .complains(&["keys", "create", "name=ci", "environment=live"])
        .await;
    assert_eq!(code, 1, "a viewer makes nothing: {said}");
}

#[tokio::test]
async fn a_refusal_names_the_field_and_the_exit_code_its_kind() {
    let scene = Scene::start().await;
    scene.log_in().await;
    let (code, said) = scene
        .complains(&["keys", "create", "name=ci", "environment=prod"])
        .await;
    assert!(code == 1 && said.contains("environment"), "{code} {said}");
    let (code, said) = scene.complains(&["keys", "create", "name:=ci"]).await;
    assert!(code == 2 && said.contains("not JSON"), "{code} {said}");
    let (code, said) = scene.complains(&["keys", "show", "../../auth/me"]).await;
    assert!(code == 2 && said.contains("not an id"), "{code} {said}");
    let (code, _) = scene
        .complains(&["keys", "show", "01900000-0000-7000-8000-000000000000"])
        .await;
    assert_eq!(code, 1);
    let (code, said) = scene.complains(&["--workspace", "nobody's", "keys"]).await;
    assert!(code == 2 && said.contains("nobody's"), "{code} {said}");
    let away = [
        ("RATEGUARD_URL", "http://127.0.0.1:1"),
        ("RATEGUARD_TOKEN", "canary"),
    ];
    let output = scene.run_with(&["keys"], &away, "").await;
    assert_eq!(output.status.code(), Some(4));
    assert!(!String::from_utf8(output.stderr).unwrap().contains("canary"));
}

#[tokio::test]
async fn completion_needs_neither_home_nor_network() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rateguard"));
    let output = command
        .args(["completion", "bash"])
        .env_clear()
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("_rateguard"));
}
