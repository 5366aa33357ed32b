//! The plugin configuration: what an operator writes into Envoy. Keys and limits never come this way.

use serde::Deserialize;

/// Parsed once per configuration; a wrong one is refused and the old one stays in force.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub mode: Mode,
    /// Data-plane token, `rgdp_` and 43 base64url characters.
    pub token: String,
    /// Envoy cluster of the limit service (HTTP/2).
    #[serde(default = "limits_cluster")]
    pub limits_cluster: String,
    /// Envoy cluster of the control plane.
    #[serde(default = "control_plane_cluster")]
    pub control_plane_cluster: String,
    /// How long a request waits for its reservation before the failure modes decide. 1..=60 000.
    #[serde(default = "reserve_timeout_ms")]
    pub reserve_timeout_ms: u32,
    /// How long a reservation lives unless it is renewed. 100..=3 600 000.
    #[serde(default = "reservation_ttl_ms")]
    pub reservation_ttl_ms: u32,
    /// How often the reservation of an outstanding answer is renewed. 50 to half the lifetime, so that one renewal may
    /// get lost.
    #[serde(default = "renew_interval_ms")]
    pub renew_interval_ms: u32,
    /// How long a configuration poll may hang while nothing changes. At most 25 000.
    #[serde(default = "poll_wait_ms")]
    pub poll_wait_ms: u32,
    /// Older snapshots answer 503 `not_ready`; absent: never.
    #[serde(default)]
    pub snapshot_max_age_ms: Option<u64>,
    /// Largest body that is read for its model and size.
    #[serde(default = "request_body_max_bytes")]
    pub request_body_max_bytes: u64,
    /// `per_connection_buffer_limit_bytes` of the listener: what can wait for a decision.
    #[serde(default = "listener_buffer_bytes")]
    pub listener_buffer_bytes: u64,
    /// Whether answers are held so that their headers tell what they cost. If not, trailer and event do.
    #[serde(default = "hold_responses")]
    pub hold_responses: bool,
    /// Longest answer that is held for the sake of its headers.
    #[serde(default = "response_hold_max_bytes")]
    pub response_hold_max_bytes: u64,
    /// Whether quota that is much asked for is reserved ahead, in blocks from which requests are admitted without a call.
    #[serde(default = "leases")]
    pub leases: bool,
    /// Whether requests that wait at the same time and meet the same quotas are reserved with one call.
    #[serde(default = "joint_reservations")]
    pub joint_reservations: bool,
    /// What passes ungoverned.
    #[serde(default)]
    pub bypass: Bypass,
}

/// Who routes: our gateway by slug, or the mesh in which the filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Gateway,
    DropIn,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bypass {
    /// Compared with `:authority` without its port, in any case.
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub path_prefixes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    #[error("the plugin configuration is not the JSON expected: {0}")]
    Json(String),
    #[error("{field} {reason}")]
    Field {
        field: &'static str,
        reason: &'static str,
    },
}

impl Config {
    /// Reads and checks everything before any of it is used.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConfig> {
        let config: Self =
            serde_json::from_slice(json).map_err(|error| InvalidConfig::Json(error.to_string()))?;
        let field = |field, reason| Err(InvalidConfig::Field { field, reason });
        if !is_token(&config.token) {
            return field(
                "token",
                "is not a data-plane token (rgdp_ and 43 base64url characters)",
            );
        }
        if config.limits_cluster.is_empty() {
            return field("limitsCluster", "is empty");
        }
        if config.control_plane_cluster.is_empty() {
            return field("controlPlaneCluster", "is empty");
        }
        if !(1..=60_000).contains(&config.reserve_timeout_ms) {
            return field("reserveTimeoutMs", "is not in 1..=60000 (0 would wait for ever)");
        }
        if !(100..=3_600_000).contains(&config.reservation_ttl_ms) {
            return field("reservationTtlMs", "is not in 100..=3600000");
        }
        if !(50..=config.reservation_ttl_ms / 2).contains(&config.renew_interval_ms) {
            return field("renewIntervalMs", "is not in 50..=reservationTtlMs/2");
        }
        if config.poll_wait_ms > 25_000 {
            return field("pollWaitMs", "is over 25000");
        }
        if config.request_body_max_bytes > config.listener_buffer_bytes {
            return field("requestBodyMaxBytes", "is over listenerBufferBytes");
        }
        if config.response_hold_max_bytes > config.listener_buffer_bytes {
            return field("responseHoldMaxBytes", "is over listenerBufferBytes");
        }
        if config
            .bypass
            .path_prefixes
            .iter()
            .any(|prefix| !prefix.starts_with('/'))
        {
            return field("bypass.pathPrefixes", "has an entry that does not start with /");
        }
        Ok(config)
    }

    /// Whether the operator exempted this request.
    pub fn bypasses(&self, host: &[u8], path: &[u8]) -> bool {
        self.bypass
            .hosts
            .iter()
            .any(|exempt| exempt.as_bytes().eq_ignore_ascii_case(without_port(host)))
            || self
                .bypass
                .path_prefixes
                .iter()
                .any(|prefix| path.starts_with(prefix.as_bytes()))
    }
}

fn is_token(token: &str) -> bool {
    token.strip_prefix("rgdp_").is_some_and(|rest| {
        rest.len() == 43
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// `host:8080` → `host`, `[::1]:8080` → `[::1]`.
pub fn without_port(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':') {
        Some(at)
            if authority
                .get(at + 1..)
                .is_some_and(|port| port.iter().all(u8::is_ascii_digit)) =>
        {
            authority.get(..at).unwrap_or(authority)
        }
        _ => authority,
    }
}

/// Without the token.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn limits_cluster() -> String {
    "rateguard_limits".to_owned()
}

fn control_plane_cluster() -> String {
    "rateguard_control_plane".to_owned()
}

fn reserve_timeout_ms() -> u32 {
    150
}

fn reservation_ttl_ms() -> u32 {
    60_000
}

fn renew_interval_ms() -> u32 {
    20_000
}

fn poll_wait_ms() -> u32 {
    25_000
}

fn request_body_max_bytes() -> u64 {
    10 * 1024 * 1024
}

fn listener_buffer_bytes() -> u64 {
    32 * 1024 * 1024
}

fn hold_responses() -> bool {
    true
}

fn response_hold_max_bytes() -> u64 {
    4 * 1024 * 1024
}

fn leases() -> bool {
    true
}

fn joint_reservations() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "rgdp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn parse(rest: &str) -> Result<Config, InvalidConfig> {
        Config::parse(format!(r#"{{"token":"{TOKEN}"{rest}}}"#).as_bytes())
    }

    #[test]
    fn only_the_token_is_required() {
        let config = parse("").expect("valid");
        assert_eq!(config.mode, Mode::Gateway);
        assert_eq!(config.reserve_timeout_ms, 150);
        assert_eq!(
            (config.reservation_ttl_ms, config.renew_interval_ms),
            (60_000, 20_000)
        );
        assert_eq!(config.request_body_max_bytes, 10_485_760);
        assert!(config.joint_reservations);
        assert!(
            !parse(r#","jointReservations":false"#)
                .expect("valid")
                .joint_reservations
        );
        assert!(config.leases && !parse(r#","leases":false"#).expect("valid").leases);
    }

    #[test]
    fn wrong_ones_are_refused() {
        for rest in [
            r#","unknown":1"#,
            r#","reserveTimeoutMs":0"#,
            r#","reserveTimeoutMs":"x""#,
            r#","pollWaitMs":25001"#,
            r#","reservationTtlMs":99"#,
            r#","reservationTtlMs":3600001"#,
            r#","reservationTtlMs":1000"#,
            r#","renewIntervalMs":30001"#,
            r#","renewIntervalMs":49"#,
            r#","mode":"proxy""#,
            r#","jointReservations":"yes""#,
            r#","limitsCluster":"""#,
            r#","bypass":{"pathPrefixes":["x"]}"#,
            r#","requestBodyMaxBytes":99999999"#,
        ] {
            assert!(parse(rest).is_err(), "{rest}");
        }
        for json in [
            "",
            "{}",
            "[]",
            "{\"token\":1}",
            "{\"token\":\"rgdp_short\"}",
            "{\"token\":\"sk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        ] {
            assert!(Config::parse(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?}", parse("").expect("valid")).contains("rgdp_"));
    }

    #[test]
    fn bypass_by_host_and_prefix() {
        let config =
            parse(r#","bypass":{"hosts":["Docs.example.com"],"pathPrefixes":["/status"]}"#).expect("valid");
        assert!(config.bypasses(b"docs.example.com:8443", b"/x"));
        assert!(config.bypasses(b"api", b"/status/1"));
        assert!(!config.bypasses(b"api", b"/x/status"));
    }
}
