use super::*;

fn subject<'a>(peer: &str, forwarded_for: &'a str) -> Subject<'a> {
    Subject {
        key_id: KeyId::from_bytes([1; 16]),
        method: b"GET",
        path: b"/",
        peer: address(peer.as_bytes()),
        forwarded_for: Some(forwarded_for.as_bytes()),
    }
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
        let found = client_address(&subject(peer, list), hops);
        assert_eq!(
            found,
            expected.and_then(|text| text.parse().ok()),
            "{peer} {list} {hops}"
        );
    }
}

#[test]
fn names_are_safe_in_structured_fields() {
    assert_eq!(quoted("per key"), "\"per key\"");
    assert_eq!(quoted("a\"b\\c\r\nü"), "\"a\\\"b\\\\c???\"");
}
