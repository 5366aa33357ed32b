//! Upstream credentials at rest: AES-256-GCM, stored as `iv:authTag:ciphertext`, each base64 (SPEC 1.2).
//!
//! The additional data is workspace id, API id and key id, so that a stored credential can neither be moved to
//! another row nor be opened under another key's name. Nothing here shows a secret in its `Debug`.

pub mod rotation;

use crate::config::EncryptionKeys;
use crate::entropy::{self, Entropy};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// Bytes of an IV: the 96 bits that GCM is made for.
const IV_BYTES: usize = 12;
/// Bytes of GCM's authentication tag.
const TAG_BYTES: usize = 16;

/// A credential as its row keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Column `credential`: `iv:authTag:ciphertext`, each base64.
    pub text: String,
    /// Column `credential_key_id`: the key that sealed it.
    pub key_id: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {})", self.key_id)
    }
}

/// A credential that cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The cipher refuses only above 64 GiB.
    #[error("the credential cannot be encrypted")]
    Seal,
    #[error("the credential was sealed with key {0}, which is not configured")]
    UnknownKey(String),
    #[error("the stored credential is not of the form iv:authTag:ciphertext")]
    Malformed,
    #[error("the stored credential does not belong to this row, or was changed")]
    NotAuthentic,
}

struct Member {
    id: String,
    cipher: Aes256Gcm,
}

/// The encryption keys: the current one seals, every one opens.
pub struct Keyring {
    current: Member,
    older: Vec<Member>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Keyring(current {}, {} older)",
            self.current.id,
            self.older.len()
        )
    }
}

impl Keyring {
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            current: Member::new(&key),
            older: Vec::new(),
        }
    }

    /// The keys of the configuration.
    pub fn of(keys: &EncryptionKeys) -> Self {
        let previous = keys.previous.iter().copied();
        previous.fold(Self::new(keys.current), Self::with_older)
    }

    /// Names the key that seals.
    pub fn current_id(&self) -> &str {
        &self.current.id
    }

    /// Adds a key that was current before: it opens, and never seals again.
    #[must_use]
    pub fn with_older(mut self, key: [u8; 32]) -> Self {
        self.older.push(Member::new(&key));
        self
    }

    /// Encrypts an API's credential under the current key and a fresh random IV.
    pub fn seal(
        &self,
        workspace_id: Uuid,
        api_id: Uuid,
        plain: &str,
        entropy: &dyn Entropy,
    ) -> Result<Sealed, SecretError> {
        let iv: [u8; IV_BYTES] = entropy::random_bytes(entropy);
        let aad = additional_data(workspace_id, api_id, &self.current.id);
        let payload = Payload {
            msg: plain.as_bytes(),
            aad: &aad,
        };
        let sealed = self
            .current
            .cipher
            .encrypt(Nonce::from_slice(&iv), payload)
            .map_err(|_| SecretError::Seal)?;
        let tag_at = sealed.len().checked_sub(TAG_BYTES).ok_or(SecretError::Seal)?;
        let (ciphertext, tag) = sealed.split_at(tag_at);
        let [iv, tag, ciphertext] = [iv.as_slice(), tag, ciphertext].map(|part| STANDARD.encode(part));
        Ok(Sealed {
            text: format!("{iv}:{tag}:{ciphertext}"),
            key_id: self.current.id.clone(),
        })
    }

    /// Decrypts a row's credential with the key that it names. The text must not be logged.
    pub fn open(&self, workspace_id: Uuid, api_id: Uuid, sealed: &Sealed) -> Result<String, SecretError> {
        let member = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|member| member.id == sealed.key_id)
            .ok_or_else(|| SecretError::UnknownKey(sealed.key_id.clone()))?;
        let (iv, message) = split(&sealed.text).ok_or(SecretError::Malformed)?;
        let aad = additional_data(workspace_id, api_id, &member.id);
        let payload = Payload {
            msg: &message,
            aad: &aad,
        };
        let plain = member
            .cipher
            .decrypt(Nonce::from_slice(&iv), payload)
            .map_err(|_| SecretError::NotAuthentic)?;
        String::from_utf8(plain).map_err(|_| SecretError::NotAuthentic)
    }
}

impl Member {
    /// The id is the start of a hash of the key: it needs no configuration and tells nothing about the key.
    fn new(key: &[u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"rateguard credential key id")
            .chain_update(key)
            .finalize();
        let id = digest
            .iter()
            .take(4)
            .fold(String::new(), |id, byte| id + &format!("{byte:02x}"));
        Self {
            id,
            cipher: Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key)),
        }
    }
}

/// Workspace id and API id (16 bytes each), then the key id.
fn additional_data(workspace_id: Uuid, api_id: Uuid, key_id: &str) -> Vec<u8> {
    [
        workspace_id.as_bytes().as_slice(),
        api_id.as_bytes(),
        key_id.as_bytes(),
    ]
    .concat()
}

/// The IV, and what the cipher wants: ciphertext, then tag.
fn split(text: &str) -> Option<([u8; IV_BYTES], Vec<u8>)> {
    let mut parts = text.split(':');
    let iv = STANDARD.decode(parts.next()?).ok()?.try_into().ok()?;
    let tag = STANDARD.decode(parts.next()?).ok()?;
    let mut message = STANDARD.decode(parts.next()?).ok()?;
    if parts.next().is_some() || tag.len() != TAG_BYTES {
        return None;
    }
    message.extend_from_slice(&tag);
    Some((iv, message))
}

#[cfg(test)]
mod tests;
