//! The filter in an Envoy with routes and clusters of its own (`envoy/drop-in.yaml`): a second Envoy beside the Stack's.

use crate::{bare_scene, stack, stub};
use rateguard_tests::scene::{Answer, Key, Scene, chat_body};
use rateguard_tests::stack::artifacts::{FilterBuild, filter_wasm, repository};
use rateguard_tests::stack::envoy::{self, Placeholders};
use rateguard_tests::stack::process::Process;
use rateguard_tests::stack::{UNKNOWN_KEY, ports, wait};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// What the mesh calls the upstream, and the API's one entry in `hosts`.
const HOST: &str = "llm.mesh.internal";

/// An Envoy of somebody else's, with the filter in it.
struct Mesh {
    address: SocketAddr,
    admin: SocketAddr,
    /// Ends with the test.
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Mesh {
    /// `change` may rewrite the configuration before its placeholders are filled.
    async fn start(change: impl FnOnce(String) -> String) -> Self {
        let stack = stack().await;
        let folder = tempfile::tempdir().expect("a folder");
        let free = || ports::loopback(ports::free().expect("a port"));
        let (address, admin) = (free(), free());
        let (limits, control_plane) = (stack.addresses().limits, stack.addresses().control_plane);
        let upstream = stub(stack).addr();
        let values = Placeholders::from([
            ("GATEWAY_ADDRESS", address.ip().to_string()),
            ("GATEWAY_PORT", address.port().to_string()),
            ("ADMIN_PORT", admin.port().to_string()),
            (
                "FILTER_WASM",
                filter_wasm(FilterBuild::Plain)
                    .expect("the filter")
                    .display()
                    .to_string(),
            ),
            ("LIMITS_HOST", limits.ip().to_string()),
            ("LIMITS_PORT", limits.port().to_string()),
            ("CONTROL_PLANE_HOST", control_plane.ip().to_string()),
            ("CONTROL_PLANE_PORT", control_plane.port().to_string()),
            ("DATA_PLANE_TOKEN", stack.seed().data_plane_token.clone()),
            ("RESERVE_TIMEOUT_MS", "5000".to_owned()),
            ("NODE_ID", format!("mesh-{}", address.port())),
            ("API_HOST", HOST.to_owned()),
            ("UPSTREAM_HOST", upstream.ip().to_string()),
            ("UPSTREAM_PORT", upstream.port().to_string()),
        ]);
        let template = std::fs::read_to_string(repository().join("envoy/drop-in.yaml")).expect("read");
        let config = folder.path().join("drop-in.yaml");
        let rendered = envoy::render(&change(template), &values).expect("rendered");
        std::fs::write(&config, rendered).expect("written");
        let mut process = envoy::start(&config, &folder.path().join("envoy.log"), 2).expect("started");
        // The readiness of a drop-in: a key that nobody has is refused, by every worker, through the real listener.
        let mut refused_in_a_row = 0;
        wait::ready(&mut process, Duration::from_secs(60), async || {
            let answer = Answer::try_of(request(address, HOST).bearer_auth(UNKNOWN_KEY)).await?;
            refused_in_a_row = if answer.status == 401 {
                refused_in_a_row + 1
            } else {
                0
            };
            anyhow::ensure!(refused_in_a_row >= 12, "{} {}", answer.status, answer.text);
            Ok(())
        })
        .await
        .expect("the mesh's Envoy refuses wrong keys");
        Self {
            address,
            admin,
            _process: process,
            _folder: folder,
        }
    }

    fn chat(&self, key: &Key, stream: bool) -> RequestBuilder {
        request(self.address, HOST)
            .bearer_auth(&key.secret)
            .json(&chat_body(stream))
    }

    /// Waits until every worker of this Envoy knows the key: the Stack's gateway may be quicker.
    async fn knows(&self, key: &Key) {
        let mut in_a_row = 0;
        wait::until("the key is in force", Duration::from_secs(10), async || {
            let request = request(self.address, "nobody.mesh.internal").bearer_auth(&key.secret);
            let answer = Answer::try_of(request).await?;
            in_a_row = if answer.status == 404 { in_a_row + 1 } else { 0 };
            anyhow::ensure!(in_a_row >= 16, "{} {}", answer.status, answer.text);
            Ok(())
        })
        .await
        .expect("in force");
    }
}

fn request(address: SocketAddr, host: &str) -> RequestBuilder {
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .expect("a client");
    client
        .post(format!("http://{address}/v1/chat/completions?x=1"))
        .header("host", host)
}

/// A workspace whose only API has the mesh's host, and another base URL than the mesh's route: the mesh's counts.
async fn governed() -> (Mesh, Scene<'static>, Key) {
    let scene = Scene::new(stack().await).await.unwrap();
    scene
        .api(json!({
            "name": "LLM", "slug": "llm", "hosts": [HOST], "baseUrl": "http://127.0.0.1:9/elsewhere", "authType": "BEARER",
            "credential": "sk-upstream-canary", "costModel": {"type": "PER_TOKEN", "models": [
                {"model": "gpt-*", "inputCostPer1kTokens": "1", "outputCostPer1kTokens": "2"},
            ]},
        }))
        .await
        .unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    let mesh = Mesh::start(|unchanged| unchanged).await;
    mesh.knows(&key).await;
    (mesh, scene, key)
}

async fn spent(scene: &Scene<'_>, cents: Value) {
    wait::until("it is charged", Duration::from_secs(10), async || {
        let costs = scene.costs().await?;
        anyhow::ensure!(
            costs["reservedCents"] == json!(0) && costs["currentSpendCents"] == cents,
            "{costs}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_mesh_keeps_its_routes_and_gets_keys_credentials_prices_and_limits() {
    let (mesh, scene, key) = governed().await;
    let with_usage = |request: RequestBuilder| request.header("x-stub-usage", "prompt=1000,completion=500");

    let held = Answer::of(with_usage(mesh.chat(&key, false)).header("x-test-id", "drop-in")).await;
    assert_eq!(held.status, 200, "{}", held.text);
    assert_eq!(held.header("x-rateguard-cost-cents"), "2", "{:#?}", held.headers);
    assert_eq!(held.header("x-rateguard-tokens-output"), "500");
    assert_eq!(held.header("x-rateguard-budget-used"), "2");
    let received = stub(stack().await).log().of_test("drop-in").pop().unwrap();
    assert_eq!(
        received.target, "/v1/chat/completions?x=1",
        "the mesh's path, whatever the API's base URL"
    );
    assert_eq!(
        received.header("authorization"),
        Some("Bearer sk-upstream-canary")
    );
    assert_eq!(received.header("host"), Some(HOST));
    assert_eq!(received.request_id(), Some(held.header("x-rateguard-request-id")));
    assert_eq!(received.header("x-rateguard-cluster"), None);
    spent(&scene, json!(2)).await;

    let streamed = Answer::of(with_usage(mesh.chat(&key, true))).await;
    assert!(streamed.text.ends_with("data: [DONE]\n\n"), "{}", streamed.text);
    spent(&scene, json!(4)).await;

    let url = format!("http://{}/stats?filter=cluster.llm.upstream_rq_total", mesh.admin);
    let stats = Answer::of(stack().await.client().get(url)).await.text;
    assert_eq!(
        stats.trim(),
        "cluster.llm.upstream_rq_total: 2",
        "by the mesh's own cluster"
    );
}

#[tokio::test]
async fn a_mesh_refuses_what_the_gateway_would() {
    let (mesh, scene, key) = governed().await;
    let code = |answer: &Answer| (answer.status, answer.code());
    let invalid = (401, "invalid_api_key".to_owned());
    let body = chat_body(false);
    let keyless = request(mesh.address, HOST)
        .json(&body)
        .header("x-test-id", "mesh-refused");
    assert_eq!(code(&Answer::of(keyless).await), invalid);
    // A slug means nothing here, and a host that no API has is not let through to the mesh's routes.
    let not_found = (404, "api_not_found".to_owned());
    for host in ["nobody.mesh.internal", "127.0.0.1"] {
        let unknown = request(mesh.address, host).bearer_auth(&key.secret).json(&body);
        assert_eq!(code(&Answer::of(unknown).await), not_found, "{host}");
    }
    // Another workspace's key does not open this workspace's host.
    let stranger = bare_scene().await;
    let foreign = stranger.key(json!({})).await.unwrap();
    mesh.knows(&foreign).await;
    assert_eq!(code(&Answer::of(mesh.chat(&foreign, false)).await), not_found);
    // A client cannot exempt itself, nor choose a route of the mesh.
    let pushy = request(mesh.address, HOST)
        .json(&body)
        .header("x-rateguard-cluster", "rateguard_control_plane");
    assert_eq!(code(&Answer::of(pushy).await), invalid);
    let exempt = Answer::of(request(mesh.address, "status.mesh.internal")).await;
    assert_eq!((exempt.status, exempt.text.as_str()), (200, "up"));

    scene.hard_budget(json!(0.001)).await.unwrap();
    wait::until("the budget is in force", Duration::from_secs(10), async || {
        let answer = Answer::try_of(mesh.chat(&key, false).header("x-test-id", "mesh-budget")).await?;
        anyhow::ensure!(
            code(&answer) == (402, "budget_exceeded".to_owned()),
            "{}",
            answer.text
        );
        Ok(())
    })
    .await
    .unwrap();
    assert!(stub(stack().await).log().of_test("mesh-refused").is_empty());
}

#[tokio::test]
async fn a_mesh_that_cannot_set_the_flag_governs_what_needs_no_body() {
    let scene = Scene::new(stack().await).await.unwrap();
    scene
        .api(json!({
            "name": "Flat", "slug": "flat", "hosts": [HOST], "baseUrl": stub(stack().await).url(), "authType": "BEARER",
            "credential": "sk-upstream-canary", "costModel": {"type": "PER_REQUEST", "costCentsPerRequest": "3"},
        }))
        .await
        .unwrap();
    // Tokens are counted afterwards, from the answer: such an answer would be held for its headers.
    scene
        .rule(json!({
            "algorithm": "TOKEN_BUCKET", "unit": "OUTPUT_TOKENS", "bucketSize": 100_000, "refillRate": "1",
            "scopes": [{"type": "PER_KEY"}], "endpoint": "/v1/models",
        }))
        .await
        .unwrap();
    scene.hard_budget(json!(1000)).await.unwrap();
    let key = scene.key(json!({})).await.unwrap();
    let without_flag = |text: String| {
        let changed = text
            .replace(
                "allow_on_headers_stop_iteration: true",
                "allow_on_headers_stop_iteration: false",
            )
            .replace(
                r#""mode": "drop_in","#,
                r#""mode": "drop_in", "holdResponses": false,"#,
            );
        assert_eq!(changed.matches("holdResponses").count(), 1);
        changed
    };
    let mesh = Mesh::start(without_flag).await;
    mesh.knows(&key).await;
    let client = stack().await.client();
    let things = client
        .get(format!("http://{}/v1/models", mesh.address))
        .header("host", HOST)
        .bearer_auth(&key.secret);
    let answer = Answer::of(things.header("x-test-id", "no-flag")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_ne!(answer.header("x-rateguard-request-id"), "");
    assert_ne!(answer.header("x-ratelimit-remaining"), "");
    let received = stub(stack().await).log().of_test("no-flag").pop().unwrap();
    assert_eq!(
        received.header("authorization"),
        Some("Bearer sk-upstream-canary")
    );
    spent(&scene, json!(3)).await;
}
