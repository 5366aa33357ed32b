//! Which upstream addresses may be reached: nothing private unless the operator allows it (`UPSTREAM_ALLOW`).
//!
//! A base URL is checked when it is written: its spelling ([`BaseUrl`]), then every address that its host resolves
//! to ([`address`]). The addresses that Envoy resolves later are checked by Envoy, with what [`connect`] gives it.

pub mod address;
mod allow;
mod base_url;
mod connect;

pub use allow::InvalidPolicy;
pub use base_url::{BaseUrl, Host, InvalidBaseUrl, Scheme};
pub use connect::Guard;

use address::Class;
use allow::Allowance;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// How long a host name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ports where something else than HTTP listens, which a POST could drive: mail, shells, databases, caches.
const REFUSED_PORTS: &[u16] = &[
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
    109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 138, 139, 143, 161, 162, 179, 389, 427, 445, 465, 512,
    513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 873, 989, 990, 993, 995, 1433,
    1521, 1719, 1720, 1723, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061,
    5432, 5672, 5900, 5984, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 7000, 9042,
    9092, 9200, 9300, 10080, 10250, 11211, 15672, 26379, 27017, 27018,
];

/// Names under which clouds serve credentials to whoever asks.
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
];

/// What the operator allows beyond public addresses over https, and how names are resolved.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    allow: Vec<Allowance>,
    resolver: Resolver,
}

/// Where the addresses of a name come from.
#[derive(Debug, Clone, Default)]
enum Resolver {
    /// The operating system's resolver.
    #[default]
    System,
    /// A table; for tests.
    Fixed(BTreeMap<String, Vec<IpAddr>>),
}

impl FromStr for Policy {
    type Err = InvalidPolicy;

    /// A comma list of `scheme://cidr[:port|:*]`; without a port, the scheme's own.
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self {
            allow: entries.map(Allowance::parse).collect::<Result<_, _>>()?,
            resolver: Resolver::System,
        })
    }
}

/// Why a base URL is refused; `Display` is shown to the user beside the field `baseUrl`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Spelling(#[from] InvalidBaseUrl),
    #[error("the host does not resolve")]
    Unresolved,
    #[error("the host is {0}; the operator can allow it with UPSTREAM_ALLOW")]
    Address(Class),
    #[error(
        "plain http would show the credential on the way; use https, or let the operator allow it with UPSTREAM_ALLOW"
    )]
    PlainHttp,
    #[error("port {0} belongs to another protocol; the operator can allow it with UPSTREAM_ALLOW")]
    Port(u16),
}

impl Policy {
    /// Resolves names from a table instead of asking the operating system.
    #[must_use]
    pub fn with_names(mut self, names: BTreeMap<String, Vec<IpAddr>>) -> Self {
        self.resolver = Resolver::Fixed(names);
        self
    }

    /// Checks a base URL as the user typed it: form, scheme and port, then every address that its host resolves to.
    /// The text matters: parsers of URLs quietly turn `2130706433` into 127.0.0.1.
    pub async fn check_url(&self, base_url: &str) -> Result<BaseUrl, Refused> {
        let base_url = BaseUrl::parse(base_url)?;
        let addresses = match base_url.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) if METADATA_NAMES.contains(&name.as_str()) => {
                return Err(Refused::Address(Class::Metadata));
            }
            Host::Name(name) => self.resolver.resolve(name).await,
        };
        if addresses.is_empty() {
            return Err(Refused::Unresolved);
        }
        for address in addresses {
            self.check_address(&base_url, address)?;
        }
        Ok(base_url)
    }

    fn check_address(&self, base_url: &BaseUrl, address: IpAddr) -> Result<(), Refused> {
        let (scheme, port) = (base_url.scheme(), base_url.port());
        let class = address::classify(address);
        if self
            .allow
            .iter()
            .any(|allowance| allowance.permits(scheme, address, class, port))
        {
            return Ok(());
        }
        match class {
            Class::Public if scheme == Scheme::Http => Err(Refused::PlainHttp),
            Class::Public if REFUSED_PORTS.contains(&port) => Err(Refused::Port(port)),
            Class::Public => Ok(()),
            other => Err(Refused::Address(other)),
        }
    }
}

impl Resolver {
    async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        match self {
            Self::Fixed(names) => names.get(name).cloned().unwrap_or_default(),
            Self::System => {
                let lookup = tokio::net::lookup_host((name, 0));
                match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
                    Ok(Ok(found)) => found.map(|socket| socket.ip()).collect(),
                    Ok(Err(_)) | Err(_) => Vec::new(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
