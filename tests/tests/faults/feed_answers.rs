//! Answers of the feed that are none, from a control plane that is there.

use crate::{eventually, governed};
use prost::Message as _;
use rateguard_tests::feed_fault::{FeedFaultServer, PollFault};
use rateguard_tests::scene::Answer;
use rateguard_tests::stack::{Link, Stack, UNKNOWN_KEY, ports};
use rateguard_wire::v1::{PollRequest, PollResponse, PollRole};
use serde_json::json;
use std::time::Duration;

/// Everything, as the control plane tells it.
async fn everything(stack: &Stack) -> Vec<u8> {
    let poll = PollRequest {
        node_id: "test".to_owned(),
        role: PollRole::Filter.into(),
        ..PollRequest::default()
    };
    let request = stack
        .client()
        .post(format!("{}/v1/config:poll", stack.console_url()))
        .bearer_auth(&stack.seed().data_plane_token)
        .header("content-type", "application/x-protobuf")
        .body(poll.encode_to_vec());
    let answer = request.send().await.expect("an answer");
    answer.bytes().await.expect("a body").to_vec()
}

/// How many answers the workers refused or could not read.
async fn turned_down(stack: &Stack) -> u64 {
    let stats = stack
        .envoy_stats("rateguard_config_(updates_refused|poll_failures)_total")
        .await;
    stats.expect("stats").values().sum()
}

#[tokio::test]
async fn cp_05_answers_that_are_none_leave_the_last_good_configuration_in_force() {
    let port = ports::free().expect("a port");
    let feed = FeedFaultServer::start(ports::loopback(port))
        .await
        .expect("the relay");
    let stack = Stack::builder()
        .console_port(port)
        .redirected(Link::EnvoyToControlPlane, feed.addr())
        .start()
        .await
        .expect("the Stack starts");
    let (scene, key) = governed(&stack).await;
    let whole = everything(&stack).await;
    let nothing = PollResponse {
        version: "0123456789abcdef.9".to_owned(),
        nonce: "9-0".to_owned(),
        full: true,
        ..PollResponse::default()
    };
    let cut = whole.get(..whole.len() - 1).expect("not empty").to_vec();
    let faults = [
        ("garbage", PollFault::Body(vec![0xff; 64].into())),
        ("an empty body", PollFault::Body(Vec::new().into())),
        ("a web page", PollFault::Body("<html>503</html>".into())),
        ("a truncated answer", PollFault::Body(cut.clone().into())),
        ("an answer that breaks off", PollFault::Broken(cut.into())),
        (
            "no workspace at all",
            PollFault::Body(nothing.encode_to_vec().into()),
        ),
        ("33 MiB of garbage", PollFault::Body(vec![0xff; 33 << 20].into())),
    ];
    for (name, fault) in faults {
        let before = turned_down(&stack).await;
        feed.set(fault);
        eventually(
            &format!("{name} is turned down"),
            Duration::from_secs(30),
            async || turned_down(&stack).await >= before + 3,
        )
        .await;
        for _ in 0..6 {
            let answer = Answer::of(scene.chat(&key)).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        }
        let url = format!("{}/proxy/openai/v1/models", stack.gateway_url());
        let stranger = Answer::of(stack.client().get(url).bearer_auth(UNKNOWN_KEY)).await;
        assert_eq!(stranger.status, 401, "{name}");
    }
    let path = format!("/keys/{}/revoke", key.id);
    let revoked = scene.rest(reqwest::Method::POST, &path, &json!({})).await;
    revoked.expect("revoked");
    feed.set(PollFault::Pass);
    eventually("the revocation arrives", Duration::from_secs(60), async || {
        Answer::of(scene.chat(&key)).await.status == 401
    })
    .await;
    scene.in_force().await.expect("the feed goes on");
}
