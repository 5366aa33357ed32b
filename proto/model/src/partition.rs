//! Partitions: whose bucket a quota counts in. Filter, limit service and control plane spell them the same way.
//!
//! Parts are joined with `:` in this order, each only where the scope asks for it: `a.<api id>` (left out when a rule
//! is shared across APIs), `k.<key id>`, `i.<client network>`. Nothing asked for: [`WORKSPACE`]. Ids are 32 hex digits
//! (no hyphens). The client network is an IPv4 address, or the first 64 bits of an IPv6 address as 16 hex digits.

use std::net::{IpAddr, Ipv6Addr};

/// One bucket for the whole workspace; what a workspace's budget uses.
pub const WORKSPACE: &str = "-";

/// Appends a part: its letter and the 32 hex digits of an id.
pub fn push_id(partition: &mut String, letter: char, id: &[u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    start_part(partition, letter);
    for byte in id {
        for digit in [byte >> 4, byte & 0x0f] {
            partition.push(HEX.get(usize::from(digit)).copied().map_or('0', char::from));
        }
    }
}

/// Appends a client's network: the address itself for IPv4 (mapped ones included), the /64 for IPv6.
pub fn push_network(partition: &mut String, address: IpAddr) {
    use std::fmt::Write as _;
    start_part(partition, 'i');
    // Writing to a String cannot fail.
    let _ = match address {
        IpAddr::V4(v4) => write!(partition, "{v4}"),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => write!(partition, "{v4}"),
            None => write!(partition, "{:016x}", network64(v6)),
        },
    };
}

fn network64(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

fn start_part(partition: &mut String, letter: char) {
    if !partition.is_empty() {
        partition.push(':');
    }
    partition.push(letter);
    partition.push('.');
}

/// The peer, or the n-th address from the right of what the peer sent as `x-forwarded-for`. Envoy appends the peer to
/// that header itself; its entry is not counted. With fewer entries than hops the leftmost counts.
pub fn client_address(peer: Option<IpAddr>, forwarded_for: &[u8], trusted_hops: u32) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return peer;
    }
    let mut entries = forwarded_for.rsplit(|byte| *byte == b',').map(address).peekable();
    if entries.peek().is_some_and(|last| last.is_some() && *last == peer) {
        entries.next();
    }
    let mut chosen = None;
    for entry in entries.take(trusted_hops as usize) {
        match entry {
            Some(address) => chosen = Some(address),
            // Left of what is no address nothing can be trusted.
            None => break,
        }
    }
    chosen.or(peer)
}

/// An address as proxies write it: bare, with a port, or in brackets.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse()
        .ok()
        .or_else(|| {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|address| address.ip())
        })
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::is_partition;

    #[test]
    fn parts_are_joined_and_allowed_in_a_redis_key() {
        let mut partition = String::new();
        push_id(&mut partition, 'a', &[0xab; 16]);
        push_id(&mut partition, 'k', &[0x01; 16]);
        push_network(&mut partition, "::ffff:192.0.2.7".parse().expect("an address"));
        assert_eq!(
            partition,
            "a.abababababababababababababababab:k.01010101010101010101010101010101:i.192.0.2.7"
        );
        assert!(is_partition(&partition));
    }

    #[test]
    fn ipv6_counts_by_its_64_bit_network() {
        let mut one = String::new();
        push_network(&mut one, "2001:db8::1".parse().expect("an address"));
        let mut other = String::new();
        push_network(&mut other, "2001:db8::2".parse().expect("an address"));
        assert_eq!(one, other);
        assert_eq!(one, "i.20010db800000000");
    }

    #[test]
    fn the_client_is_the_peer_or_a_trusted_hop_from_the_right() {
        for (peer, list, hops, expected) in [
            ("192.0.2.1", "192.0.2.1", 0, Some("192.0.2.1")),
            ("192.0.2.1", "10.0.0.9, 192.0.2.1", 0, Some("192.0.2.1")),
            ("192.0.2.1", "203.0.113.5, 192.0.2.1", 1, Some("203.0.113.5")),
            (
                "192.0.2.1",
                "6.6.6.6, 203.0.113.5, 192.0.2.1",
                1,
                Some("203.0.113.5"),
            ),
            (
                "192.0.2.1",
                "203.0.113.5, 198.51.100.2, 192.0.2.1",
                2,
                Some("203.0.113.5"),
            ),
            ("192.0.2.1", "192.0.2.1", 1, Some("192.0.2.1")),
            ("192.0.2.1", "6.6.6.6, junk, 192.0.2.1", 2, Some("192.0.2.1")),
            ("192.0.2.1", "203.0.113.5", 1, Some("203.0.113.5")),
            ("[2001:db8::1]:443", "", 0, Some("2001:db8::1")),
        ] {
            let found = client_address(address(peer.as_bytes()), list.as_bytes(), hops);
            assert_eq!(
                found,
                expected.and_then(|text| text.parse().ok()),
                "{peer} {list} {hops}"
            );
        }
    }
}
