//! One API as an Envoy cluster, in the JSON form of `envoy.config.cluster.v3.Cluster`. Pure.

use crate::snapshot::compile::cluster_name;
use crate::ssrf::{BaseUrl, Host, Scheme};
use serde_json::{Value, json};
use uuid::Uuid;

/// What Envoy calls this kind of resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// The bundle that Debian's `ca-certificates` installs.
pub const DEFAULT_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

const CONNECT_TIMEOUT: &str = "5s";
/// Shorter than the 60 s after which common servers close an idle connection: Envoy goes first, and no request is sent
/// into a connection that is being closed.
const CONNECTION_IDLE_TIMEOUT: &str = "50s";

/// The cluster of an API.
pub fn cluster(api_id: Uuid, base_url: &BaseUrl, ca_file: &str) -> Value {
    let mut cluster = json!({
        "@type": TYPE_URL,
        "name": cluster_name(api_id),
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": load_assignment(api_id, base_url),
        "circuit_breakers": circuit_breakers(),
        "outlier_detection": outlier_detection(),
        // An ejected host is not used, although it is the only one: a down upstream fails fast as circuit_open.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
        "upstream_connection_options": {
            "tcp_keepalive": { "keepalive_probes": 4, "keepalive_time": 60, "keepalive_interval": 15 },
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http_options(base_url.scheme()),
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

/// What used to be LOGICAL_DNS, whose fields Envoy 1.40 calls deprecated: one host, connected to at whatever the name
/// resolves to when a connection is made; connections to earlier addresses stay.
fn resolved_by_name() -> Value {
    json!({
        "name": "envoy.clusters.dns",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
            "all_addresses_in_single_endpoint": true,
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

/// Room for long completions; beyond it 503 `circuit_open` instead of a queue without end.
fn circuit_breakers() -> Value {
    json!({
        "thresholds": [{
            "priority": "DEFAULT",
            "max_connections": 4096,
            "max_pending_requests": 4096,
            "max_requests": 16384,
            "max_retries": 64,
        }],
    })
}

/// Only connections that fail count, never what the upstream answers: its errors pass unchanged.
fn outlier_detection() -> Value {
    json!({
        "split_external_local_origin_errors": true,
        "consecutive_local_origin_failure": 20,
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
        "max_ejection_percent": 100,
    })
}

/// Streams have no limit here: how long an answer may take is the route's and the API's business.
fn http_options(scheme: Scheme) -> Value {
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
        cluster(API, &BaseUrl::parse(base_url).unwrap(), DEFAULT_CA_FILE)
    }

    #[test]
    fn a_name_over_tls() {
        insta::assert_json_snapshot!(of("https://api.openai.com/v1"));
    }

    #[test]
    fn an_address_in_plain() {
        insta::assert_json_snapshot!(of("http://127.0.0.1:8080"));
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
