//! Where an API's requests go, and with what credential.

use super::super::error::Faults;
use crate::db::api::Api;
use crate::ssrf::BaseUrl;
use crate::state::AppState;
use rateguard_api::name::AuthType;

const HOSTS_MAX: usize = 20;
const HOST_BYTES_MAX: usize = 253;
const CREDENTIAL_BYTES_MAX: usize = 8192;
const HEADER_NAME_BYTES_MAX: usize = 64;

/// Headers that Envoy, HTTP or we own: none of them may carry a credential.
const OWNED_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Checks a new base URL; true if it names another place than the one that the stored credential is for.
pub(super) async fn base_url(faults: &mut Faults, state: &AppState, api: &mut Api, text: &str) -> bool {
    let checked = match state.ssrf.check_url(text).await {
        Ok(checked) => checked,
        Err(refused) => {
            faults.invalid("baseUrl", refused.to_string());
            return false;
        }
    };
    let place = |url: &BaseUrl| (url.scheme(), url.authority());
    let moved = !BaseUrl::parse(&api.base_url).is_ok_and(|old| place(&old) == place(&checked));
    text.clone_into(&mut api.base_url);
    moved
}

/// Checks the names that a mesh knows the API by: lower case, each once.
pub(super) fn hosts(faults: &mut Faults, texts: &[String]) -> Vec<String> {
    if texts.len() > HOSTS_MAX {
        faults.invalid("hosts", "must have at most 20 entries");
    }
    let mut hosts: Vec<String> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let host = text.to_ascii_lowercase();
        if !is_host(&host) {
            faults.invalid(
                format!("hosts[{index}]"),
                "must be a host name, optionally with a port",
            );
        } else if hosts.contains(&host) {
            faults.invalid(format!("hosts[{index}]"), "is there twice");
        } else {
            hosts.push(host);
        }
    }
    hosts
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0));
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES_MAX && port_ok && name.split('.').all(label_ok)
}

/// What a body says about the credential. Absent fields are `None`.
#[expect(clippy::option_option, reason = "absent and null are two things in a PATCH")]
pub(super) struct AuthChange {
    pub auth_type: Option<AuthType>,
    pub header_name: Option<Option<String>>,
    pub credential: Option<Option<String>>,
    /// The base URL names another place.
    pub moved: bool,
}

/// What becomes of the stored credential.
pub(super) enum CredentialChange {
    Keep,
    Clear,
    Set(String),
}

/// Checks auth type, header name and credential together, and puts the first two into the API.
pub(super) fn auth(faults: &mut Faults, api: &mut Api, change: AuthChange) -> CredentialChange {
    let AuthChange {
        auth_type,
        header_name,
        credential,
        moved,
    } = change;
    let old_type = api.auth_type;
    api.auth_type = auth_type.unwrap_or(old_type);
    match header_name {
        Some(name) => api.auth_header_name = name.map(|name| name.to_ascii_lowercase()),
        None if api.auth_type != old_type => api.auth_header_name = None,
        None => {}
    }
    check_header_name(faults, api);
    if api.auth_type == AuthType::None {
        if credential.flatten().is_some() {
            faults.invalid("credential", "does not belong to the auth type NONE");
        }
        return CredentialChange::Clear;
    }
    match credential {
        Some(Some(plain)) => {
            check_credential(faults, api.auth_type, &plain);
            CredentialChange::Set(plain)
        }
        Some(None) => {
            faults.invalid(
                "credential",
                format!("is needed by the auth type {}", api.auth_type),
            );
            CredentialChange::Clear
        }
        None if api.credential.is_none() => {
            faults.invalid(
                "credential",
                format!("is needed by the auth type {}", api.auth_type),
            );
            CredentialChange::Keep
        }
        None if moved => {
            faults.invalid(
                "credential",
                "must be entered again: it was stored for another host",
            );
            CredentialChange::Keep
        }
        None if api.auth_type != old_type => {
            faults.invalid(
                "credential",
                "must be entered again: it was stored for another auth type",
            );
            CredentialChange::Keep
        }
        None => CredentialChange::Keep,
    }
}

fn check_header_name(faults: &mut Faults, api: &mut Api) {
    if api.auth_type != AuthType::ApiKeyHeader {
        if api.auth_header_name.take().is_some_and(|name| !name.is_empty()) {
            faults.invalid("authHeaderName", "belongs to the auth type API_KEY_HEADER only");
        }
        return;
    }
    let Some(name) = api.auth_header_name.as_deref() else {
        faults.invalid("authHeaderName", "is needed by the auth type API_KEY_HEADER");
        return;
    };
    let is_token = (1..=HEADER_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_owned = OWNED_HEADERS.contains(&name)
        || ["x-rateguard-", "x-envoy-", "x-forwarded-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if !is_token {
        faults.invalid("authHeaderName", "must be 1 to 64 of a-z, 0-9 and -");
    } else if is_owned {
        faults.invalid("authHeaderName", "is a header that cannot carry a credential");
    }
}

fn check_credential(faults: &mut Faults, auth_type: AuthType, plain: &str) {
    let bytes = plain.as_bytes();
    if bytes.is_empty() || bytes.len() > CREDENTIAL_BYTES_MAX {
        faults.invalid("credential", "must have 1 to 8192 bytes");
        return;
    }
    let visible = bytes.iter().all(u8::is_ascii_graphic);
    let printable = bytes.iter().all(|b| (0x20..0x7f).contains(b)) && plain.trim() == plain;
    match auth_type {
        AuthType::Bearer if !visible => faults.invalid("credential", "must be visible ASCII characters"),
        AuthType::ApiKeyHeader if !printable => {
            faults.invalid(
                "credential",
                "must be printable ASCII characters without blanks around",
            );
        }
        AuthType::Basic if plain.chars().any(char::is_control) || !plain.contains(':') => {
            faults.invalid("credential", "must be user:password");
        }
        AuthType::None | AuthType::Bearer | AuthType::ApiKeyHeader | AuthType::Basic => {}
    }
}
