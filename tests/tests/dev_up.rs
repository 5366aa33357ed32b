//! `rateguard-dev`, as `./dev up`, `status` and `down` call it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rateguard_tests::stack::artifacts::{FilterBuild, filter_wasm, programs};
use rateguard_tests::stack::folder::Folder;
use rateguard_tests::stack::wait;

fn dev(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rateguard-dev"));
    command.arg("--home").arg(home).args(arguments);
    // Built by the caller, under whose name the supervisor finds them.
    command
        .env("RATEGUARD_BUILT", "1")
        .env("RATEGUARD_FILTER_WASM", filter_wasm(FilterBuild::Plain).unwrap());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn variables(home: &Path) -> BTreeMap<String, String> {
    let file = std::fs::read_to_string(home.join("stack.env")).unwrap();
    file.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn recorded_pids(home: &Path) -> Vec<i32> {
    let file = std::fs::read_to_string(home.join("pids")).unwrap();
    file.lines()
        .filter_map(|line| line.split('\t').nth(1)?.parse().ok())
        .collect()
}

fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Ends what `up` started even when an assertion fails.
struct Home(Folder);

impl Home {
    fn path(&self) -> &Path {
        self.0.root()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = dev(self.path(), &["down"]);
    }
}

/// The printed `curl`, at once: `up` waits until what was spent is known.
async fn governed_request_succeeds(variables: &BTreeMap<String, String>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/proxy/openai/v1/chat/completions", variables["GATEWAY_URL"]);
    let body =
        serde_json::json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]});
    let mut tries = 0;
    loop {
        let request = client
            .post(&url)
            .bearer_auth(&variables["DEMO_API_KEY"])
            .json(&body);
        let answer = request.send().await.unwrap();
        tries += 1;
        // A busy machine can miss the 100 ms that Redis has. Spend that is not known takes a second at least.
        if tries == 3 || !answer.headers().contains_key("x-rateguard-degraded") {
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn up_serves_down_stops_and_data_stays() {
    programs().unwrap();
    let home = Home(Folder::temporary().unwrap());

    let up = dev(home.path(), &["up"]);
    assert!(up.status.success(), "{}", text(&up));
    let first = variables(home.path());
    assert!(
        text(&up).contains(&first["DEMO_API_KEY"]) && text(&up).contains("curl -i"),
        "{}",
        text(&up)
    );
    governed_request_succeeds(&first).await;
    let status = dev(home.path(), &["status"]);
    assert!(status.status.success(), "{}", text(&status));

    let again = dev(home.path(), &["up"]);
    assert!(
        again.status.success() && text(&again).contains("already running"),
        "{}",
        text(&again)
    );

    let pids = recorded_pids(home.path());
    assert_eq!(pids.len(), 7, "supervisor and six parts");
    let down = dev(home.path(), &["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!pids.iter().any(|pid| runs(*pid)), "something outlived `down`");
    assert!(!dev(home.path(), &["status"]).status.success());

    let up = dev(home.path(), &["up"]);
    assert!(up.status.success(), "{}", text(&up));
    let second = variables(home.path());
    assert_eq!(first["DEMO_WORKSPACE_ID"], second["DEMO_WORKSPACE_ID"]);
    assert_eq!(first["DEMO_API_KEY"], second["DEMO_API_KEY"]);
    governed_request_succeeds(&second).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_part_ends_with_a_killed_supervisor() {
    programs().unwrap();
    let home = Home(Folder::temporary().unwrap());
    let up = dev(home.path(), &["up"]);
    assert!(up.status.success(), "{}", text(&up));
    let pids = recorded_pids(home.path());
    let killed = Command::new("kill")
        .args(["-9", &pids[0].to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    wait::until("every part to end", Duration::from_secs(20), async || {
        anyhow::ensure!(!pids.iter().any(|pid| runs(*pid)), "something still runs");
        Ok(())
    })
    .await
    .unwrap();
    let down = dev(home.path(), &["down"]);
    assert!(text(&down).contains("Nothing is running"), "{}", text(&down));
}
