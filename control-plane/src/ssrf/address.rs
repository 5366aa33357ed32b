//! What kind of network an address is in, by the IANA special-purpose registries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Who can be behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reachable over the internet; nobody's inside.
    Public,
    Unspecified,
    Loopback,
    LinkLocal,
    Private,
    /// 100.64.0.0/10, shared by carriers and some clouds' inside.
    CarrierGrade,
    /// Where clouds serve credentials to whoever asks.
    Metadata,
    Multicast,
    /// An IPv4 address in an IPv6 one, or a tunnel.
    Embedded,
    /// Documentation, benchmarks, not assigned.
    Reserved,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::CarrierGrade => "a carrier-grade NAT address",
            Self::Metadata => "a cloud metadata address",
            Self::Multicast => "a multicast address",
            Self::Embedded => "an IPv4 address inside an IPv6 one",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Metadata first: they lie in networks that come later. 168.63.129.16 is Azure's, public by its number.
const NETWORKS: &[(&str, Class)] = &[
    ("169.254.169.254/32", Class::Metadata),
    ("169.254.170.2/32", Class::Metadata),
    ("100.100.100.200/32", Class::Metadata),
    ("168.63.129.16/32", Class::Metadata),
    ("192.0.0.192/32", Class::Metadata),
    ("fd00:ec2::254/128", Class::Metadata),
    ("fd20:ce::254/128", Class::Metadata),
    ("0.0.0.0/8", Class::Unspecified),
    ("10.0.0.0/8", Class::Private),
    ("100.64.0.0/10", Class::CarrierGrade),
    ("127.0.0.0/8", Class::Loopback),
    ("169.254.0.0/16", Class::LinkLocal),
    ("172.16.0.0/12", Class::Private),
    ("192.0.0.0/24", Class::Reserved),
    ("192.0.2.0/24", Class::Reserved),
    ("192.88.99.0/24", Class::Reserved),
    ("192.168.0.0/16", Class::Private),
    ("198.18.0.0/15", Class::Reserved),
    ("198.51.100.0/24", Class::Reserved),
    ("203.0.113.0/24", Class::Reserved),
    ("224.0.0.0/4", Class::Multicast),
    ("240.0.0.0/4", Class::Reserved),
    ("::/128", Class::Unspecified),
    ("::1/128", Class::Loopback),
    ("::/96", Class::Embedded),
    ("::ffff:0:0/96", Class::Embedded),
    ("64:ff9b:1::/48", Class::Embedded),
    ("2001::/32", Class::Embedded),
    ("2002::/16", Class::Embedded),
    ("2001::/23", Class::Reserved),
    ("2001:db8::/32", Class::Reserved),
    ("3fff::/20", Class::Reserved),
    ("fc00::/7", Class::Private),
    ("fe80::/10", Class::LinkLocal),
    ("fec0::/10", Class::Private),
    ("ff00::/8", Class::Multicast),
    ("2000::/3", Class::Public),
    ("::/0", Class::Reserved),
];

/// DNS64's prefix: the IPv4 address behind it decides.
const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// What lies outside 2000::/3, the only part of IPv6 that is given out. NAT64's prefix is in it: a data plane prefers
/// IPv4, which such a name has as well.
const NOT_UNICAST_V6: [&str; 3] = ["::/3", "4000::/2", "8000::/1"];

/// All that is not public, in few networks.
pub(super) fn guarded() -> Vec<Network> {
    let listed = NETWORKS
        .iter()
        .filter(|(_, class)| !matches!(class, Class::Public))
        .filter_map(|(text, _)| text.parse::<Network>().ok());
    let outer = NOT_UNICAST_V6
        .iter()
        .filter_map(|text| text.parse::<Network>().ok());
    let all: Vec<Network> = outer
        .chain(listed.filter(|network| network.prefix_bits > 0))
        .collect();
    let is_covered = |network: &Network| {
        all.iter()
            .any(|wide| wide.prefix_bits < network.prefix_bits && wide.contains(network.address))
    };
    all.iter()
        .copied()
        .filter(|network| !is_covered(network))
        .collect()
}

/// The addresses under which clouds serve credentials.
pub(super) fn metadata() -> Vec<Network> {
    NETWORKS
        .iter()
        .filter(|(_, class)| *class == Class::Metadata)
        .filter_map(|(text, _)| text.parse().ok())
        .collect()
}

/// The class of an address; whatever no table names is public in IPv4 and reserved in IPv6.
pub fn classify(address: IpAddr) -> Class {
    if let IpAddr::V6(v6) = address
        && let Some(v4) = behind_nat64(v6)
    {
        return classify(IpAddr::V4(v4));
    }
    NETWORKS
        .iter()
        .filter_map(|(network, class)| Some((network.parse::<Network>().ok()?, class)))
        .find(|(network, _)| network.contains(address))
        .map_or(Class::Public, |(_, class)| *class)
}

fn behind_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let v4: [u8; 4] = octets.strip_prefix(&NAT64)?.try_into().ok()?;
    Some(Ipv4Addr::from(v4))
}

/// An address prefix, `10.0.0.0/8` or `fd00::/8`; without a length, one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// Text that is no address prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address prefix")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let width = width_bits(address);
        let prefix_bits = match prefix {
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().map_err(|_| InvalidNetwork)?
            }
            Some(_) => return Err(InvalidNetwork),
            None => width,
        };
        if prefix_bits > width {
            return Err(InvalidNetwork);
        }
        Ok(Self { address, prefix_bits })
    }
}

impl Network {
    /// Its first address, as it was written.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits an address has in common with it.
    pub fn prefix_bits(&self) -> u32 {
        self.prefix_bits
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits()), u128::from(other.to_bits())),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let host_bits = width_bits(self.address) - self.prefix_bits;
        // A shift by the whole width leaves nothing to differ.
        (own ^ other).checked_shr(host_bits).unwrap_or(0) == 0
    }

    /// Whether it names one address and nothing beside it.
    pub fn is_single(&self) -> bool {
        self.prefix_bits == width_bits(self.address)
    }
}

fn width_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => Ipv4Addr::BITS,
        IpAddr::V6(_) => Ipv6Addr::BITS,
    }
}

#[cfg(test)]
pub(super) fn assert_table_is_readable() {
    for (network, _) in NETWORKS {
        assert!(network.parse::<Network>().is_ok(), "{network}");
    }
}
