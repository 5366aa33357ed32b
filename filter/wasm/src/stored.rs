//! The last good snapshot in Envoy's shared data: it outlives the VM, so that a worker whose VM was reloaded does not
//! have to refuse requests until the control plane answers.
//!
//! Stored are the feed's own messages: the pages of the last full update, each under a name of its own, and the deltas
//! since under another. One worker writes the pages, because pages of two workers do not fit together; what it writes
//! counts when all is there. A delta is appended by whoever applies it first, if it follows what is stored.
//!
//! Every record starts with a format number and a checksum; a record that is not as expected counts as absent, so that
//! another release's can be there.

use crate::host;
use rateguard_filter::event::Now;

const BASE: &str = "rateguard.snapshot.base";
const DELTAS: &str = "rateguard.snapshot.deltas";
/// Which worker writes pages, and since when.
const WRITER: &str = "rateguard.snapshot.writer";
/// Changes whenever the records' layout or the meaning of the feed's messages does.
const FORMAT: u32 = 2;
/// Deltas beyond this are replaced by a new full message.
const DELTA_BYTES_MAX: usize = 1024 * 1024;
const CAS_TRIES: usize = 4;
/// A writer that is not done by then is gone.
const WRITING_MS_MAX: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Kept,
    /// The deltas are many: a full message should follow.
    Grown,
}

/// What names the pages: version, generation, count.
struct Base {
    payload: Vec<u8>,
    generation: u8,
    count: u32,
}

fn base() -> (Option<Base>, Option<u32>) {
    let (record, cas) = host::shared_data(BASE);
    let found = record.as_deref().and_then(open).and_then(|payload| {
        let mut parts = fields(payload).skip(1);
        let generation = *parts.next()?.first()?;
        let count = u32::from_le_bytes(parts.next()?.try_into().ok()?);
        Some(Base {
            payload: payload.to_vec(),
            generation,
            count,
        })
    });
    (found, cas)
}

/// Pages of two full updates lie side by side: the one that counts, and the one that is being written.
fn page_name(generation: u8, number: u32) -> String {
    format!("rateguard.snapshot.page.{generation}.{number}")
}

/// The messages to be applied in order; none if there is nothing usable.
pub(crate) fn restore() -> Vec<Vec<u8>> {
    let (Some(base), _) = base() else {
        return Vec::new();
    };
    let page = |number| {
        let (record, _) = host::shared_data(&page_name(base.generation, number));
        record.as_deref().and_then(open).map(<[u8]>::to_vec)
    };
    let Some(mut messages) = (0..base.count).map(page).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let (deltas, _) = host::shared_data(DELTAS);
    if let Some(payload) = deltas.as_deref().and_then(open) {
        let mut parts = fields(payload);
        let of_base = parts.next() == Some(&checksum(&base.payload).to_le_bytes()[..]);
        let _version = parts.next();
        if of_base {
            messages.extend(parts.map(<[u8]>::to_vec));
        }
    }
    messages
}

/// The pages of one full update as this worker stores them, unless another worker does.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The generation that is being written, if this worker writes.
    generation: Option<u8>,
    count: u32,
}

impl Pages {
    /// Stores the next page; the first one begins anew.
    pub(crate) fn add(&mut self, worker_id: u64, version: &str, continues: bool, message: &[u8], now: Now) {
        if !continues {
            let is_stored = head().as_deref() == Some(version.as_bytes());
            self.count = 0;
            self.generation = (!is_stored && claim(worker_id, now)).then(|| {
                let (base, _) = base();
                base.map_or(0, |base| base.generation ^ 1)
            });
        }
        if continues && !is_writer(worker_id) {
            self.generation = None;
        }
        if let Some(generation) = self.generation {
            host::set_shared_data(&page_name(generation, self.count), &seal(message), None);
            self.count = self.count.saturating_add(1);
        }
    }

    /// All pages are there: from now on they count.
    pub(crate) fn finish(&mut self, worker_id: u64, version: &str) {
        let Some(generation) = self.generation.take().filter(|_| is_writer(worker_id)) else {
            return;
        };
        let (old, cas) = base();
        let payload = join([version.as_bytes(), &[generation], &self.count.to_le_bytes()]);
        let mark = checksum(&payload).to_le_bytes();
        if host::set_shared_data(BASE, &seal(&payload), cas) {
            let (_, cas) = host::shared_data(DELTAS);
            host::set_shared_data(DELTAS, &seal(&join([&mark[..], version.as_bytes()])), cas);
            for (old, number) in old
                .iter()
                .flat_map(|old| (0..old.count).map(move |number| (old, number)))
            {
                host::set_shared_data(&page_name(old.generation, number), &[], None);
            }
        }
        host::set_shared_data(WRITER, &[], None);
    }
}

/// Two that claim at the same moment, when there is no record to compare with, may both think they did.
fn is_writer(worker_id: u64) -> bool {
    let (record, _) = host::shared_data(WRITER);
    record.is_some_and(|record| record.starts_with(&worker_id.to_le_bytes()))
}

/// Whether this worker may write pages.
fn claim(worker_id: u64, now: Now) -> bool {
    let (record, cas) = host::shared_data(WRITER);
    let claimed = record.as_deref().and_then(|record| {
        let (id, since) = record.split_first_chunk::<8>()?;
        Some((
            u64::from_le_bytes(*id),
            i64::from_le_bytes(since.try_into().ok()?),
        ))
    });
    let is_free = claimed
        .is_none_or(|(id, since)| id == worker_id || now.unix_ms().saturating_sub(since) > WRITING_MS_MAX);
    let own = [worker_id.to_le_bytes(), now.unix_ms().to_le_bytes()].concat();
    is_free && host::set_shared_data(WRITER, &own, cas)
}

/// Stores the delta that led from one version to another, if it follows what is stored.
pub(crate) fn append(from: &str, version: &str, message: &[u8]) -> Stored {
    for _ in 0..CAS_TRIES {
        let (record, cas) = host::shared_data(DELTAS);
        let Some(payload) = record.as_deref().and_then(open) else {
            return Stored::Grown;
        };
        let mut parts = fields(payload);
        let (Some(mark), Some(head)) = (parts.next(), parts.next()) else {
            return Stored::Grown;
        };
        if head != from.as_bytes() {
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
