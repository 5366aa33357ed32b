//! Secrets at rest: AES-256-GCM.

use crate::entropy::Entropy;
use uuid::Uuid;

/// A stored credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// `iv:authTag:ciphertext`, each base64.
    pub text: String,
    pub key_id: String,
}

/// A credential that cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[error("the credential cannot be sealed or opened")]
pub struct SecretError;

/// The encryption keys.
pub struct Keyring;

impl Keyring {
    pub fn new(_key: [u8; 32]) -> Self {
        Self
    }

    /// The additional data is workspace id, API id and key id, so rows cannot be swapped.
    pub fn seal(
        &self,
        _workspace_id: Uuid,
        _api_id: Uuid,
        _plain: &str,
        _entropy: &dyn Entropy,
    ) -> Result<Sealed, SecretError> {
        Err(SecretError)
    }

    pub fn open(&self, _workspace_id: Uuid, _api_id: Uuid, _sealed: &Sealed) -> Result<String, SecretError> {
        Err(SecretError)
    }
}
