//! One API as an Envoy cluster, in the JSON form of `envoy.config.cluster.v3.Cluster`. Pure.

use super::guard::connect_guard;
use crate::snapshot::compile::cluster_name;
use crate::ssrf::{self, BaseUrl, Host, Scheme};
use serde_json::{Value, json};
use uuid::Uuid;

/// What Envoy calls this kind of resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// The bundle that Debian's `ca-certificates` installs.
pub const DEFAULT_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Shorter than the 60 s after which common servers close an idle connection: Envoy goes first, and no request is sent
/// into a connection that is being closed.
const CONNECTION_IDLE_TIMEOUT: &str = "50s";

/// How upstream connections are made and how many there may be: the same for every cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Until a connection stands, TLS included.
    pub connect_timeout_ms: u32,
    /// Of one API and one Envoy; beyond it requests wait.
    pub connections_max: u32,
    /// Requests that wait for a connection; beyond it 503 `circuit_open` instead of a queue without end.
    pub pending_max: u32,
    /// Requests under way; beyond it 503 `circuit_open`.
    pub requests_max: u32,
}

impl Default for Settings {
    /// Room for long completions.
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            connections_max: 4_096,
            pending_max: 4_096,
            requests_max: 16_384,
        }
    }
}

/// The cluster of an API. Connections reach only what `policy` lets them.
pub fn cluster(
    api_id: Uuid,
    base_url: &BaseUrl,
    ca_file: &str,
    settings: Settings,
    policy: &ssrf::Policy,
) -> Value {
    let guard = policy.guard(base_url);
    let mut cluster = json!({
        "@type": TYPE_URL,
        "name": cluster_name(api_id),
        "connect_timeout": seconds(settings.connect_timeout_ms),
        "load_assignment": load_assignment(api_id, base_url),
        "circuit_breakers": circuit_breakers(settings),
        "outlier_detection": outlier_detection(),
        // An ejected address is not used, however many are.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
        "upstream_connection_options": {
            "tcp_keepalive": { "keepalive_probes": 4, "keepalive_time": 60, "keepalive_interval": 15 },
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http_options(base_url.scheme(), guard.as_ref()),
        },
    });
    let Value::Object(fields) = &mut cluster else {
        return cluster;
    };
    match base_url.host() {
        Host::Address(_) => {
            fields.insert("type".to_owned(), json!("STATIC"));
        }
        Host::Name(_) => {
            fields.insert("cluster_type".to_owned(), resolved_by_name());
        }
    }
    if base_url.scheme() == Scheme::Https {
        fields.insert("transport_socket".to_owned(), tls(base_url.host(), ca_file));
    }
    cluster
}

/// What used to be STRICT_DNS, whose fields Envoy 1.40 calls deprecated: each address that the name resolves to is an
/// endpoint of its own. So the address that the guard sees is the one that is connected to (one endpoint with all
/// addresses tries the others by itself), and a bad address can be ejected while the others serve.
fn resolved_by_name() -> Value {
    json!({
        "name": "envoy.clusters.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "all_addresses_in_single_endpoint": false,
            "dns_lookup_family": "V4_PREFERRED",
            "respect_dns_ttl": true,
            "dns_refresh_rate": "30s",
            "dns_failure_refresh_rate": { "base_interval": "0.5s", "max_interval": "10s" },
        },
    })
}

fn load_assignment(api_id: Uuid, base_url: &BaseUrl) -> Value {
    let address = match base_url.host() {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    json!({
        "cluster_name": cluster_name(api_id),
        "endpoints": [{
            "lb_endpoints": [{
                "endpoint": {
                    "address": { "socket_address": { "address": address, "port_value": base_url.port() } },
                },
            }],
        }],
    })
}

fn circuit_breakers(settings: Settings) -> Value {
    let Settings {
        connect_timeout_ms: _,
        connections_max,
        pending_max,
        requests_max,
    } = settings;
    json!({
        "thresholds": [{
            "priority": "DEFAULT",
            "max_connections": connections_max,
            "max_pending_requests": pending_max,
            "max_requests": requests_max,
            "max_retries": 64,
        }],
    })
}

fn seconds(ms: u32) -> String {
    format!("{}.{:03}s", ms / 1_000, ms % 1_000)
}

/// Only connections that fail count, never what the upstream answers: its errors pass unchanged. At most half of the
/// addresses are ejected at a time: Envoy counts the one that it is about to eject, so that the only address of a name
/// never is. It may fail for a moment and be well in the next; ejecting it would turn that into seconds of nothing.
fn outlier_detection() -> Value {
    json!({
        "split_external_local_origin_errors": true,
        "consecutive_local_origin_failure": 5,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_failure_percentage": 0,
        "enforcing_failure_percentage_local_origin": 0,
        "interval": "1s",
        "base_ejection_time": "2s",
        "max_ejection_time": "10s",
        "max_ejection_percent": 50,
    })
}

/// Streams have no limit here: how long an answer may take is the route's and the API's business.
fn http_options(scheme: Scheme, guard: Option<&ssrf::Guard>) -> Value {
    let http1 = json!({ "enable_trailers": true });
    let mut options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": { "idle_timeout": CONNECTION_IDLE_TIMEOUT },
    });
    let http2 = json!({
        "connection_keepalive": { "interval": "30s", "timeout": "10s", "connection_idle_interval": "20s" },
    });
    let (name, protocols) = match scheme {
        // By ALPN, which only TLS has.
        Scheme::Https => (
            "auto_config",
            json!({ "http_protocol_options": http1, "http2_protocol_options": http2 }),
        ),
        Scheme::Http => ("explicit_http_config", json!({ "http_protocol_options": http1 })),
    };
    if let Value::Object(fields) = &mut options {
        fields.insert(name.to_owned(), protocols);
        if let Some(guard) = guard {
            fields.insert("http_filters".to_owned(), connect_guard(guard));
        }
    }
    options
}

/// The certificate must be of a known authority and name the host; Envoy compares DNS names with wildcards.
fn tls(host: &Host, ca_file: &str) -> Value {
    let (san_type, name) = match host {
        Host::Name(name) => ("DNS", name.clone()),
        Host::Address(address) => ("IP_ADDRESS", address.to_string()),
    };
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
            "validation_context": {
                "trusted_ca": { "filename": ca_file },
                "match_typed_subject_alt_names": [{ "san_type": san_type, "matcher": { "exact": name } }],
            },
        },
    });
    // RFC 6066, 3: a server name is never an address.
    if let (Value::Object(fields), Host::Name(name)) = (&mut context, host) {
        fields.insert("sni".to_owned(), json!(name));
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

/// Whether a path can be put into a cluster: absolute and without surprises.
pub fn is_ca_file(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1_024 && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);

    fn of(base_url: &str) -> Value {
        let policy = "http://127.0.0.0/8:*".parse().unwrap();
        let base_url = BaseUrl::parse(base_url).unwrap();
        cluster(API, &base_url, DEFAULT_CA_FILE, Settings::default(), &policy)
    }

    /// Whatever order serde_json was built to keep: another crate of the workspace may choose.
    fn sorted(assert: impl FnOnce()) {
        let mut settings = insta::Settings::clone_current();
        settings.set_sort_maps(true);
        settings.bind(assert);
    }

    #[test]
    fn a_name_over_tls() {
        sorted(|| insta::assert_json_snapshot!(of("https://api.openai.com/v1")));
    }

    #[test]
    fn an_address_in_plain() {
        sorted(|| insta::assert_json_snapshot!(of("http://127.0.0.1:8080")));
    }

    #[test]
    fn an_address_over_tls_has_no_sni_and_an_address_to_match() {
        let tls = &of("https://[2606:4700::1111]:8443")["transport_socket"]["typed_config"];
        assert_eq!(tls.get("sni"), None);
        let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
        assert_eq!(names[0]["san_type"], "IP_ADDRESS");
        assert_eq!(names[0]["matcher"]["exact"], "2606:4700::1111");
    }

    #[test]
    fn only_absolute_paths_are_bundles() {
        assert!(is_ca_file("/etc/ssl/cert.pem"));
        for path in ["", "cert.pem", "/a\nb", &format!("/{}", "a".repeat(2_000))] {
            assert!(!is_ca_file(path), "{path}");
        }
    }
}
