//! Free TCP ports on loopback.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use super::artifacts;

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

/// A port that whoever else claims ports on this account does not get, from before anything listens on it until this is
/// dropped or the process ends: two starts at the same instant would both find it free.
#[derive(Debug)]
pub struct Claim {
    port: u16,
    /// Locked. The file stays: removing it would let two processes lock two files of one name.
    _lock: File,
}

impl Claim {
    /// The claimed port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `None`: somebody listens on it, or claims it.
    fn of(port: u16, folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(format!("{port}.lock"));
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(is_free(port).then_some(Self { port, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}

/// Claims the first port from `wanted` on that is not in `taken`.
///
/// # Errors
/// None is free within a hundred, or the lock files cannot be made.
pub fn claim_from(wanted: u16, taken: &[u16]) -> Result<Claim> {
    let folder = artifacts::cache_folder().join("ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let last = wanted.saturating_add(100);
    for port in (wanted..=last).filter(|port| !taken.contains(port)) {
        if let Some(claim) = Claim::of(port, &folder)? {
            return Ok(claim);
        }
    }
    bail!("no free port between {wanted} and {last}")
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
        assert!(claim_from(taken, &[]).unwrap().port() > taken);
        assert!(claim_from(taken, &[taken + 1]).unwrap().port() > taken + 1);
    }

    #[test]
    fn a_claimed_port_is_nobody_elses_before_anything_listens_on_it() {
        let wanted = free().unwrap();
        let claims: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| claim_from(wanted, &[]))).collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap().unwrap())
                .collect()
        });
        let ports: std::collections::BTreeSet<u16> = claims.iter().map(Claim::port).collect();
        assert_eq!(ports.len(), claims.len(), "{ports:?}");
        let first = *ports.first().unwrap();
        drop(claims);
        assert_eq!(claim_from(first, &[]).unwrap().port(), first, "given back");
    }
}
