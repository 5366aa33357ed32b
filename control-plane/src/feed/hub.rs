//! The replica's image of the feed and everybody who waits for it to change.

use super::inventory::{Inventory, Seen};
use super::key_uses::{KeyUse, KeyUses};
use crate::data_plane_token::digest_of;
use crate::db::data_plane_node::Heard;
use crate::secrets::Keyring;
use crate::snapshot::image::Token;
use crate::snapshot::row::{Position, Reading};
use crate::snapshot::{Audience, Image, Problem, Role, compile};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rateguard_model::digest::Digest;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;

/// Why a data plane is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// This replica has not read the database yet.
    #[error("not ready")]
    NotReady,
    #[error("the data-plane token is missing, unknown or revoked")]
    Unknown,
}

/// A data plane whose token is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub sha256: Digest,
    pub token: Token,
}

impl Caller {
    pub fn audience(&self, role: Role) -> Audience {
        Audience {
            role,
            workspace_id: self.token.workspace_id,
        }
    }
}

/// Holds the image, wakes hanging polls, collects what they report. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    image: RwLock<Option<Image>>,
    position: watch::Sender<Option<Position>>,
    /// Encoded answers with everything, by audience, with their version: a restart brings every client at once.
    everything: Mutex<HashMap<Audience, (Position, Bytes)>>,
    inventory: Mutex<Inventory>,
    key_uses: Mutex<KeyUses>,
    /// Until when a full answer may leave out most of what a client runs, in Unix milliseconds.
    may_shrink_until_ms: AtomicI64,
}

impl Default for Hub {
    fn default() -> Self {
        Self(Arc::new(Inner {
            image: RwLock::new(None),
            position: watch::Sender::new(None),
            everything: Mutex::default(),
            inventory: Mutex::default(),
            key_uses: Mutex::default(),
            may_shrink_until_ms: AtomicI64::new(0),
        }))
    }
}

impl Hub {
    /// Where the image is; `None` before the first reading.
    pub fn position(&self) -> Option<Position> {
        *self.0.position.borrow()
    }

    /// Changes with every new position.
    pub fn subscribe(&self) -> watch::Receiver<Option<Position>> {
        self.0.position.subscribe()
    }

    /// Takes a reading in and wakes everybody. Gives the rows that could not be told.
    pub fn apply(&self, reading: Reading, keyring: &Keyring, now: DateTime<Utc>) -> Vec<Problem> {
        let Reading {
            position,
            is_full,
            floor,
            rows,
        } = reading;
        let compiled = compile(rows, keyring, now);
        {
            let mut image = self.0.image.write().unwrap_or_else(PoisonError::into_inner);
            match image.as_mut() {
                Some(image) if !is_full => image.apply(compiled.changes, position),
                Some(_) | None => {
                    let mut fresh = Image::new(position, floor);
                    fresh.apply(compiled.changes, position);
                    *image = Some(fresh);
                }
            }
        }
        self.0.position.send_replace(Some(position));
        compiled.problems
    }

    /// Whether the operator said so (`feed force-shrink`).
    pub fn may_shrink(&self, now_ms: i64) -> bool {
        now_ms < self.0.may_shrink_until_ms.load(Ordering::Relaxed)
    }

    pub fn let_shrink_until(&self, until_ms: i64) {
        self.0.may_shrink_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Checks `authorization: Bearer <data-plane token>`.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        let scheme_and_token = value.and_then(|value| value.split_once(' '));
        match (scheme_and_token, values.next()) {
            (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => self.caller(token),
            _ => Err(AuthError::Unknown),
        }
    }

    /// Looks a presented token up.
    pub fn caller(&self, token: &str) -> Result<Caller, AuthError> {
        let sha256 = digest_of(token).ok_or(AuthError::Unknown)?;
        self.caller_of(sha256)
    }

    /// Whether a caller of before is still let in: a revocation ends polls that hang.
    pub fn caller_of(&self, sha256: Digest) -> Result<Caller, AuthError> {
        self.read(|image| image.token(sha256.as_bytes()))
            .ok_or(AuthError::NotReady)?
            .map(|token| Caller { sha256, token })
            .ok_or(AuthError::Unknown)
    }

    /// Reads the image; `None` before the first reading.
    pub fn read<T>(&self, read: impl FnOnce(&Image) -> T) -> Option<T> {
        self.image().as_ref().map(read)
    }

    /// Everything that an audience sees, with the position it is of.
    pub fn everything(&self, audience: Audience) -> Option<(Position, Bytes)> {
        let mut cache = lock(&self.0.everything);
        let image = self.image();
        let image = image.as_ref()?;
        if let Some((position, bytes)) = cache.get(&audience)
            && *position == image.position()
        {
            return Some((*position, bytes.clone()));
        }
        let answer = (image.position(), Bytes::from(image.everything(audience).bytes));
        cache.retain(|_, (position, _)| *position == image.position());
        cache.insert(audience, answer.clone());
        Some(answer)
    }

    pub fn record(&self, seen: Seen<'_>) {
        lock(&self.0.inventory).record(seen);
    }

    /// Takes what data planes said since the last time.
    pub fn take_heard(&self) -> Vec<Heard> {
        lock(&self.0.inventory).take()
    }

    pub fn put_back_heard(&self, heard: Vec<Heard>) {
        lock(&self.0.inventory).put_back(heard);
    }

    /// Polls that wait for a change, Envoy's among them.
    pub fn polls_hanging(&self) -> u64 {
        self.0.position.receiver_count() as u64
    }

    /// Notes uses of keys that the audience sees.
    pub fn note_key_uses(&self, audience: Audience, uses: Vec<KeyUse>, now_ms: i64) {
        let known = self.read(|image| {
            let is_known = |(key_id, _): &KeyUse| image.has_key(audience, *key_id);
            uses.into_iter().filter(is_known).collect::<Vec<_>>()
        });
        let mut key_uses = lock(&self.0.key_uses);
        for key_use in known.unwrap_or_default() {
            key_uses.note(key_use, now_ms);
        }
    }

    pub fn take_key_uses(&self, now_ms: i64) -> Vec<KeyUse> {
        lock(&self.0.key_uses).take_due(now_ms)
    }

    pub fn put_back_key_uses(&self, uses: Vec<KeyUse>) {
        lock(&self.0.key_uses).put_back(uses);
    }

    fn image(&self) -> RwLockReadGuard<'_, Option<Image>> {
        self.0.image.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic elsewhere must not end the feed: the values behind these locks are whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
