//! The spelling of a base URL: `scheme://host[:port][/path]` and nothing that two readers could understand in two ways.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest base URL in bytes.
const LEN_MAX: usize = 2_048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Lower case, no trailing dot.
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Why a text is no base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    #[error("must start with https:// or http://")]
    Scheme,
    #[error("is longer than 2048 bytes")]
    TooLong,
    #[error(
        "has a space, a backslash or a character outside ASCII; write international names in their xn-- form"
    )]
    Character,
    #[error("must not contain a user name or password; set the credential instead")]
    UserInfo,
    #[error("must not have a query or a fragment")]
    QueryOrFragment,
    #[error("has no host")]
    NoHost,
    #[error("has a host that is not a plain name or address")]
    Host,
    #[error("must not end its host with a dot")]
    TrailingDot,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    #[error("has a path with dot segments or encoded ones")]
    Path,
}

/// A base URL of which every part has one reading. Says nothing about where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    base_path: String,
}

impl BaseUrl {
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        if text.len() > LEN_MAX {
            return Err(InvalidBaseUrl::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(InvalidBaseUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidBaseUrl::Scheme)?;
        let scheme = Scheme::parse(&scheme.to_ascii_lowercase()).ok_or(InvalidBaseUrl::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(InvalidBaseUrl::QueryOrFragment);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(InvalidBaseUrl::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let host = parse_host(host)?;
        let port = port.map_or(Ok(scheme.default_port()), parse_port)?;
        let base_path = parse_path(path)?;
        let base_url = Self {
            scheme,
            host,
            port,
            base_path,
        };
        base_url.agrees_with_url_standard(text)?;
        Ok(base_url)
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Without a trailing slash; empty for none.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// `host[:port]`, the port only when it is not the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A second opinion: whoever reads the URL by the WHATWG standard must see the same host and port.
    fn agrees_with_url_standard(&self, text: &str) -> Result<(), InvalidBaseUrl> {
        let url = url::Url::parse(text).map_err(|_| InvalidBaseUrl::Host)?;
        let same_host = match (&self.host, url.host()) {
            (Host::Name(own), Some(url::Host::Domain(other))) => own == other,
            (Host::Address(IpAddr::V4(own)), Some(url::Host::Ipv4(other))) => *own == other,
            (Host::Address(IpAddr::V6(own)), Some(url::Host::Ipv6(other))) => *own == other,
            _ => false,
        };
        if same_host && url.port_or_known_default() == Some(self.port) {
            Ok(())
        } else {
            Err(InvalidBaseUrl::Host)
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidBaseUrl> {
    if authority.is_empty() {
        return Err(InvalidBaseUrl::NoHost);
    }
    let host_end = if authority.starts_with('[') {
        authority.find(']').ok_or(InvalidBaseUrl::Host)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    match authority.split_at(host_end) {
        ("", _) => Err(InvalidBaseUrl::NoHost),
        (host, "") => Ok((host, None)),
        (host, port) => Ok((host, Some(port.strip_prefix(':').ok_or(InvalidBaseUrl::Host)?))),
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidBaseUrl> {
    let is_number = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| is_number)
        .ok_or(InvalidBaseUrl::Port)
}

fn parse_host(text: &str) -> Result<Host, InvalidBaseUrl> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| InvalidBaseUrl::Host)?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    if text.ends_with('.') {
        return Err(InvalidBaseUrl::TrailingDot);
    }
    let name = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(InvalidBaseUrl::Host);
    }
    // `0x7f.1`, `2130706433` and `127.1` are addresses to inet_aton, and no name of a host ends in a number.
    let ends_in_number = name.rsplit('.').next().is_some_and(|last| {
        let digits = last.strip_prefix("0x");
        last.bytes().all(|b| b.is_ascii_digit())
            || digits.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    if ends_in_number {
        return Err(InvalidBaseUrl::Host);
    }
    Ok(Host::Name(name))
}

/// Refuses what a proxy on the way could resolve to another path.
fn parse_path(path: &str) -> Result<String, InvalidBaseUrl> {
    let is_dots = |segment: &str| {
        let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
        decoded == "." || decoded == ".."
    };
    let lower = path.to_ascii_lowercase();
    let hidden = ["%00", "%2f", "%5c", "%0d", "%0a"]
        .iter()
        .any(|code| lower.contains(code));
    if hidden || path.split('/').any(is_dots) {
        return Err(InvalidBaseUrl::Path);
    }
    Ok(path.trim_end_matches('/').to_owned())
}
