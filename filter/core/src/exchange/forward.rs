//! What goes upstream: the path, the headers, the credential (SPEC 1.2).

use super::Call;
use crate::base64;
use crate::config::Mode;
use crate::edits::{HeaderEdits, Op};
use crate::headers::HeaderBlock;
use crate::identify;
use crate::path;
use crate::policy::Policy;
use rateguard_model::resource::{Api, UpstreamAuth};
use rateguard_model::usage::UsageFormat;
use std::rc::Rc;

/// Headers of ours start so; a client's are dropped, so that it can choose nothing by them.
const INTERNAL: &[u8] = b"x-rateguard-";

/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&[u8]; 9] = [
    b"te",
    b"trailer",
    b"upgrade",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"proxy-authenticate",
    b"proxy-authorization",
];

/// The API a request is for, and what of its path belongs to the API.
pub(super) struct Target<'a> {
    pub(super) policy: &'a Rc<Policy>,
    pub(super) rest: &'a [u8],
    /// Whether `rest` starts below the base URL's path; by host it contains it already.
    pub(super) below_base: bool,
}

/// The path that goes upstream, and its length without the query.
pub(super) fn upstream_path(target: &Target<'_>, query: &[u8]) -> (String, usize) {
    let query = path::without_candidates(query);
    let base = if target.below_base {
        target.policy.api.base_path.as_str()
    } else {
        ""
    };
    let joined = path::join(base, target.rest, &query);
    let text = String::from_utf8(joined)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let length = text.find('?').unwrap_or(text.len());
    (text, length)
}

/// What is taken out of a bypassed request: only what could steer our own routes.
pub(super) fn without_internal(headers: &HeaderBlock) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for (name, _) in headers.iter().filter(|(name, _)| name.starts_with(INTERNAL)) {
        edits.remove(name);
    }
    edits
}

/// What has to change in the client's headers before they go upstream.
pub(super) fn headers(call: &Call, client: &HeaderBlock, body_changed: bool, mode: Mode) -> HeaderEdits {
    let api = &*call.policy.api;
    let credential = credential(&api.auth);
    let metered = api.usage_format != UsageFormat::None;
    let gateway = mode == Mode::Gateway;
    let mut edits = HeaderEdits::with_capacity(12);
    let (mut has_credential, mut has_encoding, mut has_id, mut has_timeout) = (false, false, false, false);
    for (name, value) in client {
        match name {
            b":path" if value != call.path.as_bytes() => edits.set(true, name, call.path.as_bytes()),
            b":authority" if gateway => edits.set(true, name, api.authority.as_bytes()),
            b":scheme" if gateway && value != api.scheme.as_bytes() => {
                edits.set(true, name, api.scheme.as_bytes());
            }
            b"x-request-id" => has_id = true,
            b"x-envoy-upstream-rq-per-try-timeout-ms" => has_timeout = true,
            b"accept-encoding" if metered => has_encoding = true,
            b"content-length" if body_changed => edits.remove(name),
            b"cookie" if gateway && !api.forward_cookies => edits.remove(name),
            _ if credential
                .as_ref()
                .is_some_and(|(ours, _)| ours.as_bytes() == name) =>
            {
                has_credential = true;
            }
            _ if drops(name, value, api, gateway) => edits.remove(name),
            _ => {}
        }
    }
    if let Some((name, value)) = &credential {
        edits.set(has_credential, name.as_bytes(), value.as_bytes());
    }
    if metered {
        edits.set(has_encoding, b"accept-encoding", b"identity");
    }
    edits.set(has_id, b"x-request-id", call.id.to_string().as_bytes());
    let timeout = api.timeout_ms.to_string();
    edits.set(
        has_timeout,
        b"x-envoy-upstream-rq-per-try-timeout-ms",
        timeout.as_bytes(),
    );
    if gateway {
        // A client's own went out above, as every header of ours.
        edits.push(Op::Add, b"x-rateguard-cluster", api.cluster.as_bytes());
    }
    edits
}

fn drops(name: &[u8], value: &[u8], api: &Api, gateway: bool) -> bool {
    if name.starts_with(INTERNAL) || HOP_BY_HOP.contains(&name) {
        return true;
    }
    if identify::credential_index(name).is_some() {
        return api.auth != UpstreamAuth::None || identify::header_candidate(name, value).is_some();
    }
    // Envoy itself adds these two, and finds no route without the second: the gateway's route takes them out.
    gateway
        && !matches!(name, b"x-forwarded-for" | b"x-forwarded-proto")
        && (name.starts_with(b"x-forwarded-")
            || name.starts_with(b"x-envoy-")
            || matches!(name, b"forwarded" | b"via" | b"x-real-ip"))
}

fn credential(auth: &UpstreamAuth) -> Option<(&str, String)> {
    match auth {
        UpstreamAuth::None => None,
        UpstreamAuth::Bearer { token } => Some(("authorization", format!("Bearer {token}"))),
        UpstreamAuth::ApiKeyHeader { header_name, value } => Some((header_name, value.clone())),
        UpstreamAuth::Basic { user_password } => Some((
            "authorization",
            format!("Basic {}", base64::encode(user_password.as_bytes())),
        )),
    }
}
