//! What goes upstream: the path, the headers, the credential (SPEC 1.2).

use super::Call;
use crate::base64;
use crate::config::Mode;
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

/// A bypassed request's headers: only what could steer our own routes is taken out.
pub(super) fn without_internal(headers: &HeaderBlock) -> HeaderBlock {
    let kept: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !name.starts_with(INTERNAL))
        .collect();
    HeaderBlock::build(&kept)
}

/// The headers that go upstream instead of the client's.
pub(super) fn headers(call: &Call, client: &HeaderBlock, body_changed: bool, mode: Mode) -> HeaderBlock {
    let api = &*call.policy.api;
    let credential = credential(&api.auth);
    let metered = api.usage_format != UsageFormat::None;
    let id = call.id.to_string();
    let timeout = api.timeout_ms.to_string();
    let gateway = mode == Mode::Gateway;
    let mut out: Vec<(&[u8], &[u8])> = Vec::with_capacity(32);
    for (name, value) in client.iter() {
        match name {
            b":path" => out.push((name, call.path.as_bytes())),
            b":authority" if gateway => out.push((name, api.authority.as_bytes())),
            b":scheme" if gateway => out.push((name, api.scheme.as_bytes())),
            b"x-request-id" => {}
            b"accept-encoding" if metered => {}
            b"content-length" if body_changed => {}
            b"cookie" if gateway && !api.forward_cookies => {}
            _ if drops(name, value, api, gateway) => {}
            _ => out.push((name, value)),
        }
    }
    if let Some((name, value)) = &credential {
        out.push((name.as_bytes(), value.as_bytes()));
    }
    if metered {
        out.push((b"accept-encoding", b"identity"));
    }
    out.push((b"x-request-id", id.as_bytes()));
    out.push((b"x-envoy-upstream-rq-per-try-timeout-ms", timeout.as_bytes()));
    if gateway {
        out.push((b"x-rateguard-cluster", api.cluster.as_bytes()));
    }
    HeaderBlock::build(&out)
}

fn drops(name: &[u8], value: &[u8], api: &Api, gateway: bool) -> bool {
    if name.starts_with(INTERNAL) || HOP_BY_HOP.contains(&name) {
        return true;
    }
    if identify::credential_index(name).is_some() {
        return api.auth != UpstreamAuth::None || identify::header_candidate(name, value).is_some();
    }
    if let UpstreamAuth::ApiKeyHeader { header_name, .. } = &api.auth
        && name == header_name.as_bytes()
    {
        return true;
    }
    // Envoy finds no route without x-forwarded-proto; the gateway's route takes it out afterwards.
    gateway
        && name != b"x-forwarded-proto"
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
