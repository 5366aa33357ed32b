//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below the range that kernels give to outgoing connections, so that nobody takes the port of a part that a test
/// has stopped for a while.
const FIRST: u16 = 18_000;
const COUNT: u32 = 12_000;

/// A port that nothing listens on.
///
/// Test processes that run at the same time start searching at different places; a port is not handed out twice
/// within one process before the range is used up.
///
/// # Errors
/// The whole range is taken.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(131);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(offset)?;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", u32::from(FIRST) + COUNT)
}

/// The first free port from `wanted` on that is not in `taken`.
///
/// # Errors
/// None within a hundred.
pub fn free_from(wanted: u16, taken: &[u16]) -> Result<u16> {
    let last = wanted.saturating_add(100);
    match (wanted..=last).find(|port| !taken.contains(port) && is_free(*port)) {
        Some(port) => Ok(port),
        None => bail!("no free port between {wanted} and {last}"),
    }
}

/// Whether nothing listens on a loopback port.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

/// 127.0.0.1 at a port.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let ports = [free().unwrap(), free().unwrap(), free().unwrap()];
        assert!(ports[0] != ports[1] && ports[1] != ports[2]);
        for port in ports {
            TcpListener::bind(loopback(port)).unwrap();
        }
    }

    #[test]
    fn a_taken_port_gives_way_to_the_next() {
        let listener = TcpListener::bind(loopback(free().unwrap())).unwrap();
        let taken = listener.local_addr().unwrap().port();
        assert!(free_from(taken, &[]).unwrap() > taken);
        assert!(free_from(taken, &[taken + 1]).unwrap() > taken + 1);
    }
}
