//! The official OpenAI and Anthropic SDKs (PyPI): only base URL and key are changed.

use crate::scene;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The Python that `./dev` put the SDKs into.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own setting, made by ./dev test"
)]
fn python() -> PathBuf {
    std::env::var("RATEGUARD_SDK_PYTHON").map(PathBuf::from).expect(
        "RATEGUARD_SDK_PYTHON names a Python with the openai and anthropic packages; ./dev test sets it",
    )
}

async fn run(script: &str, base_url: &str, key: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(script);
    let output = Command::new(python())
        .arg(script)
        .args([base_url, key])
        .output()
        .await
        .expect("python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[tokio::test]
async fn the_openai_sdk_works_streaming_and_not() {
    let (scene, key) = scene().await;
    let result = run(
        "openai_sdk.py",
        &format!("{}/proxy/openai/v1", scene.stack.gateway_url()),
        &key.secret,
    )
    .await;
    assert_eq!(result["text"], "Hello! How can I assist");
    assert_eq!(result["stream_text"], result["text"]);
    assert_eq!(result["stream_usage_seen"], false, "{result:#}");
    assert_eq!(result["asked_usage"], serde_json::json!([29]));
    // 19 in at 1 cent, 10 out at 2 cents per 1 000.
    assert_eq!(result["headers"]["x-rateguard-cost-cents"], "0.039");
    assert_eq!(result["bad_key"]["status"], 401, "{result:#}");
    assert_eq!(result["bad_key"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn the_anthropic_sdk_works_streaming_and_not() {
    let (scene, key) = scene().await;
    let result = run(
        "anthropic_sdk.py",
        &format!("{}/proxy/anthropic", scene.stack.gateway_url()),
        &key.secret,
    )
    .await;
    assert_eq!(result["text"], "Hello! How can I assist");
    assert_eq!(result["stream_text"], result["text"]);
    assert_eq!(result["stream_output_tokens"], 10);
    assert_eq!(result["headers"]["x-rateguard-cost-cents"], "0.039");
    assert_eq!(result["bad_key"]["type"], "authentication_error", "{result:#}");
}
