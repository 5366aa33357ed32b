//! Keys by the digest of their secret. A data plane may hold a hundred thousand, in every worker: the common kind, with
//! one secret and no restriction, takes a row of 64 bytes and two entries of an index, 80 bytes in all.

use super::DigestHasher;
use hashbrown::HashTable;
use rateguard_model::digest::Digest;
use rateguard_model::id::{KeyId, UserId, WorkspaceId};
use rateguard_model::resource::{Key, KeySecret, KeyState};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::rc::Rc;

/// Rows are kept in blocks, so that growing never copies those that are there.
const BLOCK_ROWS: usize = 1_024;
/// In place of an end for keys that have none.
const NEVER_MS: i64 = i64::MAX;

#[derive(Default)]
pub(super) struct Keys {
    rows: Rows,
    /// Those with two secrets, restrictions or tags.
    rich: HashMap<KeyId, Rc<Key>>,
    rich_digests: HashMap<Digest, Rc<Key>, BuildHasherDefault<DigestHasher>>,
}

#[derive(Default)]
struct Rows {
    blocks: Vec<Vec<Row>>,
    free: Vec<u32>,
    by_digest: HashTable<u32>,
    by_id: HashTable<u32>,
    holders: Vec<Holder>,
    holder_numbers: BTreeMap<Holder, u32>,
}

#[derive(Clone, Copy)]
struct Row {
    digest: Digest,
    id: KeyId,
    expires_at_ms: i64,
    holder: u32,
}

/// What many keys have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    workspace_id: WorkspaceId,
    owner_id: Option<UserId>,
    state: u8,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.len())
    }
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.rows.by_id.len() + self.rich.len()
    }

    pub(super) fn by_digest(&self, digest: &Digest) -> Option<Rc<Key>> {
        self.rows
            .find(digest)
            .map(Rc::new)
            .or_else(|| self.rich_digests.get(digest).cloned())
    }

    pub(super) fn insert(&mut self, key: Key) {
        self.remove(&key.id);
        if let Some((row, holder)) = common(&key) {
            self.rows.insert(row, holder);
            return;
        }
        let key = Rc::new(key);
        for secret in &key.secrets {
            self.rich_digests.insert(secret.digest, Rc::clone(&key));
        }
        self.rich.insert(key.id, key);
    }

    /// The workspace of the key that was there.
    pub(super) fn remove(&mut self, id: &KeyId) -> Option<WorkspaceId> {
        if let Some(old) = self.rich.remove(id) {
            for secret in &old.secrets {
                self.rich_digests.remove(&secret.digest);
            }
            return Some(old.workspace_id);
        }
        self.rows.remove(id)
    }

    pub(super) fn workspace_of(&self, id: &KeyId) -> Option<WorkspaceId> {
        let rich = self.rich.get(id).map(|key| key.workspace_id);
        rich.or_else(|| self.rows.holder_of(id).map(|holder| holder.workspace_id))
    }

    pub(super) fn count_by_workspace(&self) -> BTreeMap<WorkspaceId, usize> {
        let mut counts = BTreeMap::new();
        for number in &self.rows.by_id {
            let holder = self
                .rows
                .row(*number)
                .and_then(|row| self.rows.holders.get(row.holder as usize));
            if let Some(holder) = holder {
                *counts.entry(holder.workspace_id).or_default() += 1;
            }
        }
        for key in self.rich.values() {
            *counts.entry(key.workspace_id).or_default() += 1;
        }
        counts
    }
}

/// The row of a key of the common kind.
fn common(key: &Key) -> Option<(Row, Holder)> {
    let Key {
        id,
        workspace_id,
        state,
        secrets,
        expires_at_ms,
        allowed_api_ids,
        allowed_models,
        tags,
        owner_id,
    } = key;
    let [
        KeySecret {
            digest,
            not_after_ms: None,
        },
    ] = secrets.as_slice()
    else {
        return None;
    };
    let is_plain = allowed_api_ids.is_empty() && allowed_models.is_empty() && tags.is_empty();
    let holder = Holder {
        workspace_id: *workspace_id,
        owner_id: *owner_id,
        state: match state {
            KeyState::Active => 0,
            KeyState::Suspended => 1,
            KeyState::Revoked => 2,
        },
    };
    let row = Row {
        digest: *digest,
        id: *id,
        expires_at_ms: expires_at_ms.unwrap_or(NEVER_MS),
        holder: 0,
    };
    (is_plain && *expires_at_ms != Some(NEVER_MS)).then_some((row, holder))
}

impl Rows {
    fn row(&self, number: u32) -> Option<&Row> {
        let number = number as usize;
        self.blocks.get(number / BLOCK_ROWS)?.get(number % BLOCK_ROWS)
    }

    fn find(&self, digest: &Digest) -> Option<Key> {
        let is_it = |number: &u32| self.row(*number).is_some_and(|row| row.digest == *digest);
        let number = self.by_digest.find(hash(digest.as_bytes()), is_it)?;
        let row = self.row(*number)?;
        let holder = self.holders.get(row.holder as usize)?;
        Some(Key {
            id: row.id,
            workspace_id: holder.workspace_id,
            state: match holder.state {
                0 => KeyState::Active,
                1 => KeyState::Suspended,
                _ => KeyState::Revoked,
            },
            secrets: vec![KeySecret {
                digest: row.digest,
                not_after_ms: None,
            }],
            expires_at_ms: (row.expires_at_ms != NEVER_MS).then_some(row.expires_at_ms),
            allowed_api_ids: Vec::new(),
            allowed_models: Vec::new(),
            tags: Vec::new(),
            owner_id: holder.owner_id,
        })
    }

    fn holder_of(&self, id: &KeyId) -> Option<&Holder> {
        let is_it = |number: &u32| self.row(*number).is_some_and(|row| row.id == *id);
        let number = self.by_id.find(hash(id.as_bytes()), is_it)?;
        self.holders.get(self.row(*number)?.holder as usize)
    }

    fn insert(&mut self, row: Row, holder: Holder) {
        let next = self.holders.len() as u32;
        let holder = *self.holder_numbers.entry(holder).or_insert_with(|| {
            self.holders.push(holder);
            next
        });
        let row = Row { holder, ..row };
        let number = self.place(row);
        let Self {
            blocks,
            by_digest,
            by_id,
            ..
        } = self;
        let at = |number: &u32| {
            let number = *number as usize;
            blocks
                .get(number / BLOCK_ROWS)
                .and_then(|block| block.get(number % BLOCK_ROWS))
        };
        by_digest.insert_unique(hash(row.digest.as_bytes()), number, |other| {
            at(other).map_or(0, |row| hash(row.digest.as_bytes()))
        });
        by_id.insert_unique(hash(row.id.as_bytes()), number, |other| {
            at(other).map_or(0, |row| hash(row.id.as_bytes()))
        });
    }

    fn place(&mut self, row: Row) -> u32 {
        if let Some(number) = self.free.pop() {
            let place = number as usize;
            let block = self.blocks.get_mut(place / BLOCK_ROWS);
            if let Some(old) = block.and_then(|block| block.get_mut(place % BLOCK_ROWS)) {
                *old = row;
                return number;
            }
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS));
        }
        let before = (self.blocks.len().saturating_sub(1)) * BLOCK_ROWS;
        let number = before + self.blocks.last().map_or(0, Vec::len);
        if let Some(block) = self.blocks.last_mut() {
            block.push(row);
        }
        number as u32
    }

    fn remove(&mut self, id: &KeyId) -> Option<WorkspaceId> {
        let Self {
            blocks,
            free,
            by_digest,
            by_id,
            holders,
            ..
        } = self;
        let at = |number: &u32| {
            let number = *number as usize;
            blocks
                .get(number / BLOCK_ROWS)
                .and_then(|block| block.get(number % BLOCK_ROWS))
        };
        let is_it = |number: &u32| at(number).is_some_and(|row| row.id == *id);
        let (number, _) = by_id.find_entry(hash(id.as_bytes()), is_it).ok()?.remove();
        let row = *at(&number)?;
        if let Ok(entry) = by_digest.find_entry(hash(row.digest.as_bytes()), |other| *other == number) {
            entry.remove();
        }
        free.push(number);
        holders.get(row.holder as usize).map(|holder| holder.workspace_id)
    }
}

/// Digests are hashes already, and ids end in random bytes: eight bytes of either, mixed once.
fn hash(bytes: &[u8]) -> u64 {
    let last = bytes.last_chunk::<8>().copied().unwrap_or_default();
    u64::from_le_bytes(last).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
