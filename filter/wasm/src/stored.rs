//! The last good snapshot in Envoy's shared data: it outlives the VM, so that a worker whose VM was reloaded does not
//! have to refuse requests until the control plane answers.
//!
//! Stored are the feed's own messages: the last full one under one name, the deltas since under another. Whoever
//! applies a delta first appends it. Deltas state absolute values, so one that was applied out of its turn is repaired
//! by whatever the feed says since the version that the list ends with.
//!
//! Every record starts with a format number and a checksum; a record that is not as expected counts as absent, so that
//! another release's can be there.

use crate::host;

const BASE: &str = "rateguard.snapshot.base";
const DELTAS: &str = "rateguard.snapshot.deltas";
/// Changes whenever the records' layout or the meaning of the feed's messages does.
const FORMAT: u32 = 1;
/// Deltas beyond this are replaced by a new full message.
const DELTA_BYTES_MAX: usize = 1024 * 1024;
const CAS_TRIES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Kept,
    /// The deltas are many: a full message should follow.
    Grown,
}

/// The messages to be applied in order; none if there is nothing usable.
pub(crate) fn restore() -> Vec<Vec<u8>> {
    let (Some(base), _) = host::shared_data(BASE) else {
        return Vec::new();
    };
    let Some(base_payload) = open(&base) else {
        return Vec::new();
    };
    let mut messages: Vec<Vec<u8>> = fields(base_payload)
        .nth(1)
        .map(<[u8]>::to_vec)
        .into_iter()
        .collect();
    let (deltas, _) = host::shared_data(DELTAS);
    if let Some(payload) = deltas.as_deref().and_then(open) {
        let mut parts = fields(payload);
        let of_base = parts.next() == Some(&checksum(base_payload).to_le_bytes()[..]);
        let _version = parts.next();
        if of_base {
            messages.extend(parts.map(<[u8]>::to_vec));
        }
    }
    messages
}

/// Stores what was just applied, unless another worker did.
pub(crate) fn store(version: &str, full: bool, message: &[u8]) -> Stored {
    if full {
        store_base(version, message)
    } else {
        append_delta(version, message)
    }
}

fn store_base(version: &str, message: &[u8]) -> Stored {
    let (current, cas) = host::shared_data(BASE);
    if head().as_deref() == Some(version.as_bytes()) && current.is_some() {
        return Stored::Kept;
    }
    let payload = join([version.as_bytes(), message]);
    let mark = checksum(&payload).to_le_bytes();
    if host::set_shared_data(BASE, &seal(&payload), cas) {
        let (_, cas) = host::shared_data(DELTAS);
        host::set_shared_data(DELTAS, &seal(&join([&mark[..], version.as_bytes()])), cas);
    }
    Stored::Kept
}

fn append_delta(version: &str, message: &[u8]) -> Stored {
    for _ in 0..CAS_TRIES {
        let (record, cas) = host::shared_data(DELTAS);
        let Some(payload) = record.as_deref().and_then(open) else {
            return Stored::Grown;
        };
        let mut parts = fields(payload);
        let (Some(mark), Some(head)) = (parts.next(), parts.next()) else {
            return Stored::Grown;
        };
        if head == version.as_bytes() {
            return Stored::Kept;
        }
        let mut next = join([mark, version.as_bytes()]);
        for part in parts.chain([message]) {
            push(&mut next, part);
        }
        if next.len() > DELTA_BYTES_MAX {
            return Stored::Grown;
        }
        if host::set_shared_data(DELTAS, &seal(&next), cas) {
            return Stored::Kept;
        }
    }
    Stored::Kept
}

/// The version that the stored messages end with.
fn head() -> Option<Vec<u8>> {
    let (record, _) = host::shared_data(DELTAS);
    fields(open(record.as_deref()?)?).nth(1).map(<[u8]>::to_vec)
}

fn seal(payload: &[u8]) -> Vec<u8> {
    [
        &FORMAT.to_le_bytes()[..],
        &checksum(payload).to_le_bytes(),
        payload,
    ]
    .concat()
}

fn open(record: &[u8]) -> Option<&[u8]> {
    let (format, rest) = record.split_first_chunk::<4>()?;
    let (sum, payload) = rest.split_first_chunk::<8>()?;
    (u32::from_le_bytes(*format) == FORMAT && u64::from_le_bytes(*sum) == checksum(payload))
        .then_some(payload)
}

fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        push(&mut bytes, part);
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
    bytes.extend_from_slice(part);
}

fn fields(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        payload = rest;
        Some(part)
    })
}

/// FNV-1a over words: the host's memory is trusted not to be hostile, only not to be half written or of another layout.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words
        .chain(rest.iter().map(|byte| u64::from(*byte)))
        .fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, |sum, word| {
            (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
