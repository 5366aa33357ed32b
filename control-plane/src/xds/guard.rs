//! The guard of a cluster: Envoy's RBAC as an upstream HTTP filter. It runs when the endpoint is chosen, so that what it
//! compares is the address of this request's connection, whatever the name resolved to before.

use crate::ssrf::Guard;
use crate::ssrf::address::Network;
use serde_json::{Value, json};

/// Names the refusal in `response.code_details`, by which the filter knows it.
const POLICY: &str = "rateguard_upstream_address";

/// The upstream filters of a cluster with a guard. The codec must be the last.
pub(super) fn connect_guard(guard: &Guard) -> Value {
    let mut permissions = vec![all_but(&guard.denied, &guard.allowed)];
    if !guard.metadata.is_empty() {
        permissions.push(all_but(&guard.metadata, &guard.metadata_allowed));
    }
    json!([
        {
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": {
                    "action": "DENY",
                    "policies": { POLICY: { "permissions": permissions, "principals": [{ "any": true }] } },
                },
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            },
        },
    ])
}

fn all_but(networks: &[Network], exceptions: &[Network]) -> Value {
    let any = any_of(networks);
    if exceptions.is_empty() {
        return any;
    }
    json!({ "and_rules": { "rules": [any, { "not_rule": any_of(exceptions) }] } })
}

fn any_of(networks: &[Network]) -> Value {
    let rules: Vec<Value> = networks.iter().copied().map(endpoint_in).collect();
    json!({ "or_rules": { "rules": rules } })
}

fn endpoint_in(network: Network) -> Value {
    json!({
        "matcher": {
            "name": "envoy.rbac.matchers.upstream_ip_port",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher",
                "upstream_ip": {
                    "address_prefix": network.address().to_string(),
                    "prefix_len": network.prefix_bits(),
                },
            },
        },
    })
}
