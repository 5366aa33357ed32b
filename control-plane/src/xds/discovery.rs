//! The polling itself: Envoy's DiscoveryRequest and DiscoveryResponse as JSON.

use super::cluster::{DEFAULT_CA_FILE, TYPE_URL, cluster, is_ca_file};
use super::recent::{EnvoyId, Recent};
use crate::entropy;
use crate::feed::{AuthError, Caller};
use crate::snapshot::{Audience, Role};
use crate::state::AppState;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;

/// Longest that an answer is held back; Envoy gives up after its `request_timeout` of 30 s.
const WAIT_MAX: Duration = Duration::from_secs(24);
const NODE_ID_BYTES_MAX: usize = 256;

/// Envoy writes proto field names; other implementations write JSON names. What is not read here is ignored: Envoy adds
/// fields with every release.
#[derive(Deserialize)]
struct DiscoveryRequest {
    #[serde(default, alias = "versionInfo")]
    version_info: String,
    node: Node,
    #[serde(default, alias = "typeUrl")]
    type_url: String,
    #[serde(default, alias = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    id: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    rateguard: NodeSettings,
}

#[derive(Default, Deserialize)]
struct NodeSettings {
    #[serde(default)]
    token: String,
    #[serde(default, rename = "caFile")]
    ca_file: Option<String>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
}

/// Why clusters are not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum DiscoveryError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("the body is not a DiscoveryRequest with a node")]
    NotARequest,
    #[error("{0}")]
    Invalid(&'static str),
}

impl IntoResponse for DiscoveryError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Auth(AuthError::NotReady) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Auth(AuthError::Unknown) => StatusCode::UNAUTHORIZED,
            Self::NotARequest | Self::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        let problem = json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        (status, Json(problem)).into_response()
    }
}

/// What an Envoy asks, checked.
struct Asked {
    caller: Caller,
    audience: Audience,
    envoy: EnvoyId,
    running: String,
    ca_file: String,
}

/// All clusters of an audience, and a name for exactly these.
struct Clusters {
    resources: Vec<Value>,
    version: String,
}

pub(super) async fn clusters(
    State(state): State<AppState>,
    Extension(recent): Extension<Recent>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match answer(&state, &recent, body).await {
        Ok(response) => response.into_response(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "clusters were asked for in vain"
            );
            error.into_response()
        }
    }
}

async fn answer(
    state: &AppState,
    recent: &Recent,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, DiscoveryError> {
    let body = body.map_err(|_| DiscoveryError::NotARequest)?;
    let request = serde_json::from_slice(&body).map_err(|_| DiscoveryError::NotARequest)?;
    let asked = accept(state, request)?;
    recent.heard(&asked.envoy, &asked.running);
    let deadline = Instant::now() + WAIT_MAX;
    let mut positions = state.feed.subscribe();
    let mut shutdown = state.shutdown.clone();
    loop {
        positions.borrow_and_update();
        state.feed.caller_of(asked.caller.sha256)?;
        let clusters = compile(state, &asked)?;
        let is_late = Instant::now() >= deadline || *shutdown.borrow();
        let is_new = clusters.version != asked.running;
        let held_until = recent.held_until(&asked.envoy, &clusters.version, &asked.running);
        let is_held = held_until.is_some_and(|until| Instant::now() < until);
        if is_late || (is_new && !is_held) {
            if is_new {
                recent.record(&asked.envoy, &clusters.version, &asked.running, Instant::now());
            }
            return Ok(respond(state, clusters));
        }
        let wake = held_until
            .filter(|_| is_new)
            .map_or(deadline, |until| until.min(deadline));
        let seen = clusters_version(state)?;
        // Most changes of the feed are no business of Envoy's.
        let moved = positions.wait_for(|_| clusters_version(state).is_ok_and(|version| version != seen));
        tokio::select! {
            _ = moved => {}
            () = revoked(state, &asked) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

/// Ends when the token is no longer in force.
async fn revoked(state: &AppState, asked: &Asked) {
    let mut positions = state.feed.subscribe();
    while state.feed.caller_of(asked.caller.sha256).is_ok() {
        if positions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn accept(state: &AppState, request: DiscoveryRequest) -> Result<Asked, DiscoveryError> {
    let DiscoveryRequest {
        version_info,
        node,
        type_url,
        error_detail,
    } = request;
    if !type_url.is_empty() && type_url != TYPE_URL {
        return Err(DiscoveryError::Invalid("only clusters are served here"));
    }
    if node.id.len() > NODE_ID_BYTES_MAX {
        return Err(DiscoveryError::Invalid("node.id is longer than 256 bytes"));
    }
    let NodeSettings { token, ca_file } = node.metadata.rateguard;
    let caller = state.feed.caller(&token)?;
    let ca_file = ca_file.unwrap_or_else(|| DEFAULT_CA_FILE.to_owned());
    if !is_ca_file(&ca_file) {
        return Err(DiscoveryError::Invalid(
            "node.metadata.rateguard.caFile is not an absolute path",
        ));
    }
    if let Some(error) = error_detail {
        tracing::warn!(node.id, reason = error.message, "Envoy refused its clusters");
    }
    Ok(Asked {
        caller,
        audience: caller.audience(Role::Filter),
        envoy: (caller.token.id, node.id),
        running: version_info,
        ca_file,
    })
}

fn clusters_version(state: &AppState) -> Result<i64, DiscoveryError> {
    let version = state.feed.read(crate::snapshot::Image::clusters_version);
    version.ok_or(DiscoveryError::Auth(AuthError::NotReady))
}

/// The version is a hash of what is answered: the same on every replica, and unmoved by what Envoy does not see.
fn compile(state: &AppState, asked: &Asked) -> Result<Clusters, DiscoveryError> {
    let resources = state.feed.read(|image| {
        let apis = image.base_urls(asked.audience);
        apis.map(|(id, base_url)| cluster(id, base_url, &asked.ca_file, state.config.upstream, &state.ssrf))
            .collect::<Vec<_>>()
    });
    let resources = resources.ok_or(DiscoveryError::Auth(AuthError::NotReady))?;
    let mut hash = Sha256::new();
    for resource in &resources {
        hash.update(resource.to_string());
    }
    let version = hash
        .finalize()
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Ok(Clusters { resources, version })
}

fn respond(state: &AppState, clusters: Clusters) -> Json<Value> {
    let Clusters { resources, version } = clusters;
    let nonce = u64::from_be_bytes(entropy::random_bytes(state.entropy.as_ref()));
    Json(json!({
        "version_info": version,
        "resources": resources,
        "type_url": TYPE_URL,
        "nonce": format!("{nonce:016x}"),
    }))
}
