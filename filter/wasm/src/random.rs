//! Random bytes, fetched from the host in blocks: every request needs ten of them.

use crate::host;
use rateguard_filter::event::Now;
use rateguard_model::id::RequestId;

const BLOCK_BYTES: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Random {
    block: [u8; BLOCK_BYTES],
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self {
            block: [0; BLOCK_BYTES],
            used: BLOCK_BYTES,
        }
    }
}

impl Random {
    /// `None`: the host has no randomness, and nothing else will do: two workers must never make the same id.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.block.len().saturating_sub(self.used) < N {
            if !host::random(&mut self.block) {
                return None;
            }
            self.used = 0;
        }
        let bytes = self.block.get(self.used..)?.first_chunk::<N>().copied();
        self.used += N;
        bytes
    }

    pub(crate) fn request_id(&mut self, now: Now) -> Option<RequestId> {
        Some(RequestId::v7(now.0 / 1_000_000, self.take()?))
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.take().map_or(0, u32::from_le_bytes)
    }
}
