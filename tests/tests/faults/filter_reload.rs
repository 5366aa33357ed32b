//! A filter that panics: one request fails, none gets through, the worker is back at once.

use crate::{BUSY, eventually, governed};
use rateguard_tests::scene::Answer;
use rateguard_tests::stack::artifacts::repository;
use rateguard_tests::stack::{FilterBuild, Part, Stack, ports};
use std::time::Duration;

#[tokio::test]
async fn dp_06_a_panic_fails_its_own_request_and_the_snapshot_survives() {
    let stack = Stack::builder()
        .filter(FilterBuild::FaultInjection)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    // The snapshot must come back from shared data: nobody else can give one.
    stack.kill(Part::ControlPlane);
    for round in 0..4 {
        let panic = scene
            .chat(&key)
            .header("x-rateguard-test-panic", "1")
            .header("x-test-id", "dp-06");
        let answer = Answer::try_of(panic).await;
        assert!(
            answer.as_ref().map_or(true, |a| a.status >= 500),
            "round {round}: {answer:?}"
        );
        eventually("served again", Duration::from_secs(6) + BUSY, async || {
            Answer::try_of(scene.chat(&key))
                .await
                .is_ok_and(|a| a.status == 200)
        })
        .await;
    }
    assert!(
        stack.stub().log().of_test("dp-06").is_empty(),
        "a panicking request reached the upstream"
    );
    let reloads = stack.envoy_stats("wasm.*reload").await.unwrap();
    assert!(
        reloads
            .iter()
            .any(|(name, count)| name.contains("success") && *count >= 1),
        "{reloads:?}"
    );
    // A request without a key never slips through: refused, or failed by a worker whose VM is still being reloaded.
    // "Served again" may have been the other worker, so both get their time.
    let mut refused_in_a_row = 0;
    eventually("every worker refuses", Duration::from_secs(10), async || {
        let url = format!("{}/proxy/openai/v1/chat/completions", stack.gateway_url());
        let answer = Answer::of(stack.client().post(url).header("x-test-id", "dp-06")).await;
        assert!(answer.status == 401 || answer.status >= 500, "{answer:?}");
        refused_in_a_row = if answer.status == 401 {
            refused_in_a_row + 1
        } else {
            0
        };
        refused_in_a_row >= 8
    })
    .await;
    assert!(stack.stub().log().of_test("dp-06").is_empty());
}

/// The gateway's configuration with its listener twice: the second one on this port, in a VM of another name, and told
/// of a control plane that is not there.
fn with_neighbour(port: u16) -> String {
    let text = std::fs::read_to_string(repository().join("envoy/gateway.yaml")).expect("read");
    let (head, rest) = text.split_once("  listeners:\n").expect("listeners");
    let (listener, clusters) = rest.split_once("\n  clusters:\n").expect("clusters");
    let neighbour = listener
        .replacen("- name: gateway", "- name: neighbour", 1)
        .replace("${GATEWAY_PORT}", &port.to_string())
        .replace("vm_id: rateguard", "vm_id: neighbour")
        .replace(
            "\"controlPlaneCluster\": \"rateguard_control_plane\"",
            "\"controlPlaneCluster\": \"nowhere\"",
        );
    assert_ne!(neighbour, *listener);
    format!("{head}  listeners:\n{listener}\n{neighbour}\n  clusters:\n{clusters}")
}

#[tokio::test]
async fn ti_07_a_vm_of_another_name_reads_no_stored_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("two.yaml");
    let port = ports::free().expect("a port");
    std::fs::write(&config, with_neighbour(port)).expect("written");
    let stack = Stack::builder()
        .filter(FilterBuild::FaultInjection)
        .envoy_config(&config)
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    let neighbour = format!(
        "http://{}/proxy/openai/v1/chat/completions",
        ports::loopback(port)
    );
    let ask = |panic: bool| {
        let request = stack
            .client()
            .post(&neighbour)
            .bearer_auth(&key.secret)
            .header("x-test-id", "ti-07");
        if panic {
            request.header("x-rateguard-test-panic", "1")
        } else {
            request
        }
    };
    let nothing_known = async || {
        Answer::try_of(ask(false))
            .await
            .is_ok_and(|answer| (answer.status, answer.code().as_str()) == (503, "not_ready"))
    };
    eventually("the neighbour answers", Duration::from_secs(30), nothing_known).await;
    // Both VMs start anew and look for what was stored: the first finds it (dp_06), the neighbour does not.
    stack.kill(Part::ControlPlane);
    for panicking in [ask(true), scene.chat(&key).header("x-rateguard-test-panic", "1")] {
        let answer = Answer::try_of(panicking).await;
        assert!(answer.as_ref().map_or(true, |a| a.status >= 500), "{answer:?}");
    }
    eventually(
        "the first is served from what it stored",
        Duration::from_secs(10),
        async || {
            Answer::try_of(scene.chat(&key))
                .await
                .is_ok_and(|a| a.status == 200)
        },
    )
    .await;
    let mut unknown_in_a_row = 0;
    eventually(
        "the neighbour knows nothing",
        Duration::from_secs(10),
        async || {
            unknown_in_a_row = if nothing_known().await {
                unknown_in_a_row + 1
            } else {
                0
            };
            unknown_in_a_row >= 12
        },
    )
    .await;
    assert!(stack.stub().log().of_test("ti-07").is_empty());
}
