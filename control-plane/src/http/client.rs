//! Where a request comes from: address and user agent. For the session list, throttling and the audit log; nothing is
//! ever allowed because of it.

use crate::state::AppState;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

/// What is kept of a user agent.
const USER_AGENT_CHARS_MAX: usize = 200;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who is at the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// `None`: called in process.
    pub ip: Option<IpAddr>,
    /// At most 200 characters, none of them a control character; empty if none was sent.
    pub user_agent: String,
}

impl Client {
    /// The address as text; empty if unknown.
    pub fn ip_text(&self) -> String {
        self.ip.map(|ip| ip.to_string()).unwrap_or_default()
    }

    /// What one subscriber holds: the IPv4 address, or the IPv6 /64.
    pub fn network(&self) -> Option<IpAddr> {
        self.ip.map(network)
    }
}

/// The address itself for IPv4, its /64 for IPv6.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| peer.ip());
        Ok(Self {
            ip: address(&parts.headers, peer, state.config.trusted_proxy_hops),
            user_agent: user_agent(&parts.headers),
        })
    }
}

/// The peer, or the `hops`-th address from the right of `x-forwarded-for`, which that many proxies of ours appended to.
fn address(headers: &HeaderMap, peer: Option<IpAddr>, hops: usize) -> Option<IpAddr> {
    let Some(index) = hops.checked_sub(1) else {
        return peer.map(|ip| ip.to_canonical());
    };
    let forwarded: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let named: Option<IpAddr> = forwarded
        .iter()
        .rev()
        .nth(index)
        .and_then(|text| text.trim().parse().ok());
    named.or(peer).map(|ip| ip.to_canonical())
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    value
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(USER_AGENT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_what_our_own_proxies_appended_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("10.0.0.1, 198.51.100.7"));
        headers.append(FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        for (hops, expected) in [
            (0, "127.0.0.1"),
            (1, "203.0.113.9"),
            (2, "198.51.100.7"),
            (3, "10.0.0.1"),
            (4, "127.0.0.1"),
        ] {
            let found = address(&headers, Some(peer), hops);
            assert_eq!(found, expected.parse().ok(), "{hops}");
        }
        assert_eq!(address(&HeaderMap::new(), None, 0), None);
    }

    #[test]
    fn a_network_is_what_one_subscriber_holds() {
        for (ip, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(ip.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
