//! The entries of `UPSTREAM_ALLOW`.

use super::Scheme;
use super::address::{Class, Network};
use std::net::IpAddr;

/// An `UPSTREAM_ALLOW` that cannot be read; names the entry at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a list of scheme://cidr[:port|:*]: {0}")]
pub struct InvalidPolicy(pub String);

/// One entry: addresses that may be reached by a scheme on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    scheme: Scheme,
    network: Network,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    One(u16),
}

impl Allowance {
    /// Reads `http://127.0.0.0/8:*`, `https://10.1.2.3`, `https://[fd00::/8]:8443`.
    pub(super) fn parse(entry: &str) -> Result<Self, InvalidPolicy> {
        Self::read(entry).ok_or_else(|| InvalidPolicy(entry.to_owned()))
    }

    fn read(entry: &str) -> Option<Self> {
        let (scheme, rest) = entry.split_once("://")?;
        let scheme = Scheme::parse(scheme)?;
        let (network, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port {
            "" => Port::One(scheme.default_port()),
            ":*" => Port::Any,
            number => Port::One(number.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?),
        };
        Some(Self {
            scheme,
            network: network.parse().ok()?,
            port,
        })
    }

    /// Its network, if it is for this scheme and port.
    pub(super) fn network_of(&self, scheme: Scheme, port: u16) -> Option<Network> {
        let is_for = self.scheme == scheme && (self.port == Port::Any || self.port == Port::One(port));
        is_for.then_some(self.network)
    }

    /// Metadata addresses only when they are named one by one: a wide network must not open them by accident.
    pub(super) fn permits(&self, scheme: Scheme, address: IpAddr, class: Class, port: u16) -> bool {
        self.network_of(scheme, port)
            .is_some_and(|network| network.contains(address))
            && (class != Class::Metadata || self.network.is_single())
    }
}
