//! Everybody comes back at once after a restart.

use crate::pages::import_keys;
use crate::replica::{DEADLINE, Replica, after, eventually, filter, hanging, make_key, operator_token};
use crate::support::app::App;
use prost::Message as _;
use rateguard_wire::v1::{PollRequest, PollResponse};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const POLLERS: usize = 500;
const KEYS: i32 = 5_000;

/// One client: a connection of its own, as every worker of every Envoy has.
async fn poll_at(address: SocketAddr, token: String, request: PollRequest) -> (PollResponse, Duration) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE * 2)
        .build()
        .unwrap();
    let started = Instant::now();
    let request = client
        .post(format!("http://{address}/v1/config:poll"))
        .bearer_auth(token)
        .header("content-type", "application/x-protobuf")
        .body(request.encode_to_vec());
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    let body = answer.bytes().await.unwrap();
    (PollResponse::decode(body).unwrap(), started.elapsed())
}

/// All at once; answers in no order.
fn poll_all(
    address: SocketAddr,
    token: &str,
    request: impl Fn(usize) -> PollRequest,
) -> JoinSet<(PollResponse, Duration)> {
    let mut polls = JoinSet::new();
    for number in 0..POLLERS {
        polls.spawn(poll_at(address, token.to_owned(), request(number)));
    }
    polls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp_08_five_hundred_pollers_return_after_a_restart() {
    let app = App::start().await;
    let ada = app.register("ada").await;
    import_keys(&app, &ada, KEYS).await;
    let token = operator_token(&app).await;

    let first = Replica::start(&app).await;
    first.caught_up(&app).await;
    let known = first.poll(&token, filter()).await;
    let of_node = |number: usize, request: PollRequest| PollRequest {
        node_id: format!("node-{number}"),
        ..request
    };
    let address = first.listen().await;
    let polls = poll_all(address, &token, |n| of_node(n, hanging(after(&known))));
    eventually("all of them hang", || async {
        first.state.feed.polls_hanging() >= POLLERS as u64
    })
    .await;
    first.stop();
    for (answer, _) in polls.join_all().await {
        assert_eq!((answer.full, &answer.version), (false, &known.version));
    }

    // One in ten is new and wants everything; the others have what there is.
    let again = Replica::start(&app).await;
    let address = again.listen().await;
    let is_new = |number: usize| number.is_multiple_of(10);
    let polls = poll_all(address, &token, |n| {
        of_node(n, if is_new(n) { filter() } else { after(&known) })
    });
    let mut times = Vec::new();
    let mut whole = 0;
    for (answer, took) in polls.join_all().await {
        let keys = answer.keys.len();
        assert_eq!(keys, if answer.full { KEYS as usize } else { 0 });
        whole += usize::from(answer.full);
        times.push(took);
    }
    assert_eq!((times.len(), whole), (POLLERS, POLLERS / 10));
    times.sort_unstable();
    println!(
        "{POLLERS} pollers, {whole} of them new, {KEYS} keys: p50 {:?}, p99 {:?}, max {:?} (goal p99 < 1 s)",
        times[POLLERS / 2],
        times[POLLERS * 99 / 100],
        times[POLLERS - 1]
    );
    assert!(times[POLLERS - 1] < DEADLINE);

    // They hang again, and one change reaches them all.
    let polls = poll_all(address, &token, |n| of_node(n, hanging(after(&known))));
    eventually("all of them hang again", || async {
        again.state.feed.polls_hanging() >= POLLERS as u64
    })
    .await;
    make_key(&app, &ada).await;
    for (answer, _) in polls.join_all().await {
        assert_eq!((answer.full, answer.keys.len()), (false, 1));
    }
}
