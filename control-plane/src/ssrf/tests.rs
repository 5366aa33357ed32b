use super::*;

fn names() -> BTreeMap<String, Vec<IpAddr>> {
    [
        ("api.openai.com", vec!["104.18.6.192", "2606:4700::6812:6c0"]),
        ("half.example.com", vec!["104.18.6.192", "10.0.0.1"]),
        ("inside.example.com", vec!["10.0.0.1"]),
        ("mapped.example.com", vec!["::ffff:10.0.0.1"]),
        ("nat64-public.example.com", vec!["64:ff9b::6812:6c0"]),
        ("nat64-private.example.com", vec!["64:ff9b::a00:1"]),
        ("localhost", vec!["127.0.0.1", "::1"]),
        ("redis", vec!["10.0.0.7"]),
    ]
    .into_iter()
    .map(|(name, addresses)| {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        (name.to_owned(), addresses)
    })
    .collect()
}

fn policy(allow: &str) -> Policy {
    allow.parse::<Policy>().unwrap().with_names(names())
}

#[tokio::test]
async fn ca_05_base_urls_that_lead_inside_or_can_be_read_in_two_ways_are_refused() {
    let policy = policy("");
    for base_url in [
        "",
        "api.openai.com",
        "http://",
        "https://",
        "https:///v1",
        "https://:443/",
        "ftp://api.openai.com",
        "file:///etc/passwd",
        "gopher://api.openai.com",
        "javascript:alert(1)",
        "http://api.openai.com",
        "https://user@api.openai.com",
        "https://user:password@api.openai.com",
        "https://api.openai.com@127.0.0.1/",
        "https://api.openai.com?x=1",
        "https://api.openai.com/#x",
        "https://api.openai.com\\@127.0.0.1/",
        "https://api.openai.com /",
        "https://api.openai.com\r\nx: y",
        "https://127.0.0.1",
        "http://127.0.0.1:8080",
        "https://localhost",
        "https://[::1]",
        "https://[::]",
        "https://0.0.0.0",
        "https://0",
        "https://2130706433",
        "https://134744072",
        "https://0x7f.1",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://127.0.0.1.",
        "https://[::ffff:10.0.0.1]",
        "https://[::ffff:8.8.8.8]",
        "https://[64:ff9b::a00:1]",
        "https://[2002:a00:1::]",
        "https://[fe80::1%25eth0]",
        "https://[fe80::1]",
        "https://[fd12:3456::1]",
        "https://[fd00:ec2::254]",
        "https://[ff02::1]",
        "https://169.254.169.254",
        "https://169.254.169.254/latest/meta-data",
        "https://168.63.129.16",
        "https://100.100.100.200",
        "https://metadata.google.internal",
        "https://metadata",
        "https://10.1.2.3",
        "https://172.16.0.1",
        "https://172.31.255.255",
        "https://192.168.1.1",
        "https://100.64.0.1",
        "https://100.127.255.254",
        "https://192.0.2.1",
        "https://198.18.0.1",
        "https://224.0.0.1",
        "https://255.255.255.255",
        "https://api.openai.com.",
        "https://api..openai.com",
        "https://-api.openai.com",
        "https://bücher.example.com",
        "https://api.openai.com\u{3002}example.com",
        "https://ⓛocalhost",
        "https://%31%32%37.0.0.1",
        "https://api%2eopenai.com",
        "https://api.openai.com:6379",
        "https://api.openai.com:22",
        "https://api.openai.com:0",
        "https://api.openai.com:65536",
        "https://api.openai.com:",
        "https://api.openai.com:0443",
        "https://api.openai.com/../admin",
        "https://api.openai.com/%2e%2e/admin",
        "https://api.openai.com/v1/%2fadmin",
        "https://half.example.com",
        "https://inside.example.com",
        "https://mapped.example.com",
        "https://nat64-private.example.com",
        "https://nobody.example.com",
        "https://redis:6379",
    ] {
        let checked = policy.check_url(base_url).await;
        assert!(checked.is_err(), "{base_url} passed: {checked:?}");
    }
}

#[tokio::test]
async fn public_https_passes_and_is_taken_apart() {
    let policy = policy("");
    for (base_url, authority, base_path) in [
        ("https://api.openai.com", "api.openai.com", ""),
        ("https://api.openai.com/", "api.openai.com", ""),
        ("HTTPS://API.OpenAI.com:443/v1/", "api.openai.com", "/v1"),
        ("https://api.openai.com:8443/a//b", "api.openai.com:8443", "/a//b"),
        ("https://8.8.8.8", "8.8.8.8", ""),
        ("https://[2606:4700::1111]:8443", "[2606:4700::1111]:8443", ""),
        ("https://nat64-public.example.com", "nat64-public.example.com", ""),
    ] {
        let checked = policy.check_url(base_url).await.unwrap();
        assert_eq!(checked.authority(), authority);
        assert_eq!(checked.base_path(), base_path);
        assert_eq!(checked.scheme(), Scheme::Https);
    }
}

#[tokio::test]
async fn the_operator_allows_scheme_network_and_port() {
    let policy = policy("http://127.0.0.0/8:*, http://[::1]:*, https://10.0.0.0/24, http://10.0.0.0/24:8080");
    for base_url in [
        "http://127.0.0.1:6379",
        "http://127.9.9.9",
        "http://localhost:8080/stub",
        "https://10.0.0.9",
        "https://inside.example.com",
        "https://half.example.com",
        "http://10.0.0.9:8080",
    ] {
        policy.check_url(base_url).await.unwrap();
    }
    for base_url in [
        "https://127.0.0.1",
        "https://10.0.0.9:8443",
        "https://10.0.1.9",
        "http://10.0.0.9",
        "http://api.openai.com",
    ] {
        let checked = policy.check_url(base_url).await;
        assert!(checked.is_err(), "{base_url} passed");
    }
}

#[tokio::test]
async fn a_wide_network_does_not_open_metadata() {
    let metadata = "http://169.254.169.254";
    let wide = policy("http://0.0.0.0/0:*").check_url(metadata).await;
    assert_eq!(wide, Err(Refused::Address(Class::Metadata)));
    policy("http://169.254.169.254")
        .check_url(metadata)
        .await
        .unwrap();
}

#[test]
fn unreadable_allow_lists_are_refused() {
    for entry in [
        "10.0.0.0/8",
        "ftp://10.0.0.0/8",
        "http://10.0.0.0/33",
        "http://10.0.0.0/+8",
        "http://10.0.0/8",
        "http://10.0.0.0/8:",
        "http://10.0.0.0/8:0",
        "http://10.0.0.0/8:99999",
        "http://[fd00::/8",
        "http://fd00::/8",
        "http://example.com",
    ] {
        let error = format!("http://127.0.0.1,{entry}").parse::<Policy>().unwrap_err();
        assert_eq!(error, InvalidPolicy(entry.to_owned()));
    }
}

#[test]
fn every_network_of_the_table_can_be_read() {
    use std::net::Ipv4Addr;
    assert_eq!(
        address::classify(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Class::Loopback
    );
    for (text, class) in [
        ("8.8.8.8", Class::Public),
        ("0.1.2.3", Class::Unspecified),
        ("172.32.0.1", Class::Public),
        ("100.128.0.1", Class::Public),
        ("2606:4700::1", Class::Public),
        ("4000::1", Class::Reserved),
        ("febf::1", Class::LinkLocal),
        ("2001:db8::1", Class::Reserved),
        ("2001:0:1::", Class::Embedded),
    ] {
        assert_eq!(address::classify(text.parse().unwrap()), class, "{text}");
    }
    address::assert_table_is_readable();
}
