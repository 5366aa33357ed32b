//! The same rules once more, for the address that a data plane really connects to.
//!
//! A name can resolve to a public address when it is checked and to a private one when it is used (DNS rebinding). The
//! check at write time cannot see that; so each cluster carries what its connections may not reach, and Envoy compares
//! the address of the chosen endpoint with it, request by request.

use super::address::{Class, Network, classify, guarded, metadata};
use super::{BaseUrl, Host, Policy, REFUSED_PORTS, Scheme};

/// What connections of one upstream may not reach: all of `denied` but `allowed`, and all of `metadata` but
/// `metadata_allowed`. Empty lists deny nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    pub denied: Vec<Network>,
    /// What the operator allows for this scheme and port.
    pub allowed: Vec<Network>,
    /// Only where a wide network of `allowed` would open it by accident.
    pub metadata: Vec<Network>,
    pub metadata_allowed: Vec<Network>,
}

impl Policy {
    /// What Envoy has to refuse for an upstream. `None`: nothing, since its address is spelled out and in order.
    pub fn guard(&self, base_url: &BaseUrl) -> Option<Guard> {
        if let Host::Address(address) = base_url.host()
            && self.check_address(base_url, *address).is_ok()
        {
            return None;
        }
        let (scheme, port) = (base_url.scheme(), base_url.port());
        let of_this = self
            .allow
            .iter()
            .filter_map(|entry| entry.network_of(scheme, port));
        let allowed: Vec<Network> = of_this.collect();
        // Without TLS, or on another protocol's port, public addresses need the operator's word as well.
        let needs_word = scheme == Scheme::Http || REFUSED_PORTS.contains(&port);
        let denied = if needs_word { everything() } else { guarded() };
        let is_opened = |network: &Network| {
            let opens = |wide: &Network| !wide.is_single() && wide.contains(network.address());
            allowed.iter().any(opens)
        };
        let is_named =
            |network: &Network| network.is_single() && classify(network.address()) == Class::Metadata;
        Some(Guard {
            denied,
            metadata: metadata().into_iter().filter(is_opened).collect(),
            metadata_allowed: allowed.iter().copied().filter(is_named).collect(),
            allowed,
        })
    }
}

fn everything() -> Vec<Network> {
    ["0.0.0.0/0", "::/0"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    /// As Envoy reads it.
    fn refuses(guard: &Guard, address: IpAddr) -> bool {
        let any = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        (any(&guard.denied) && !any(&guard.allowed))
            || (any(&guard.metadata) && !any(&guard.metadata_allowed))
    }

    /// Both sides of every border that the table of classes has, and addresses that are known for what they are.
    const PROBES: &[&str] = &[
        "0.0.0.0",
        "1.1.1.1",
        "9.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "100.127.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.16",
        "168.63.129.17",
        "169.253.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "169.255.0.0",
        "172.15.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "172.32.0.0",
        "192.0.0.192",
        "192.0.1.0",
        "192.0.2.1",
        "192.0.3.0",
        "192.88.99.1",
        "192.167.255.255",
        "192.168.0.1",
        "192.169.0.0",
        "198.17.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.20.0.0",
        "198.51.100.1",
        "203.0.113.1",
        "203.0.114.0",
        "223.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "104.18.6.192",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "1fff:ffff::1",
        "2000::1",
        "2001::1",
        "2001:1ff::1",
        "2001:200::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2003::1",
        "2606:4700::1111",
        "3fff::1",
        "3fff:fff::1",
        "3fff:1000::1",
        "4000::1",
        "5f00::1",
        "8000::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    fn policy(allow: &str) -> Policy {
        allow.parse().unwrap()
    }

    #[test]
    fn ca_06_at_connect_time_the_same_addresses_are_refused_as_at_write_time() {
        let allows = [
            "",
            "https://10.0.0.0/8",
            "https://10.0.0.0/8:8443,http://0.0.0.0/0:*,https://[fd00::/8]:*",
            "https://169.254.0.0/16:*,https://[::/0]",
            "https://169.254.169.254:*,http://169.254.0.0/16",
            "http://127.0.0.0/8:*,https://100.64.0.0/10",
        ];
        let urls = [
            "https://h.example",
            "https://h.example:8443",
            "https://h.example:6379",
            "http://h.example",
            "http://h.example:8080",
        ];
        for allow in allows {
            let policy = policy(allow);
            for url in urls.map(|url| BaseUrl::parse(url).unwrap()) {
                let guard = policy.guard(&url).unwrap();
                for address in PROBES.iter().map(|probe| probe.parse().unwrap()) {
                    let at_write = policy.check_address(&url, address).is_err();
                    assert_eq!(refuses(&guard, address), at_write, "{allow:?} {url:?} {address}");
                }
            }
        }
    }

    #[test]
    fn an_address_that_is_in_order_needs_no_guard_and_another_is_shut() {
        let allowed = BaseUrl::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(policy("http://127.0.0.0/8:*").guard(&allowed), None);
        // Allowed when it was written, no longer now.
        let guard = policy("").guard(&allowed).unwrap();
        assert!(refuses(&guard, "127.0.0.1".parse().unwrap()));
    }
}
