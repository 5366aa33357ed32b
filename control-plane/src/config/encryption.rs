//! The master keys: from the environment or from files, one that seals and others that only open.

use super::secret::EXAMPLE_ENCRYPTION_KEY;
use super::{Environment, Reader};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

const MAKE_ONE: &str = "make one with `openssl rand -base64 32`";

/// What credentials are encrypted with. Its `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKeys {
    /// `ENCRYPTION_KEY` or the content of `ENCRYPTION_KEY_FILE`: base64 of 32 bytes.
    pub current: [u8; 32],
    /// `ENCRYPTION_KEY_PREVIOUS` or `ENCRYPTION_KEY_PREVIOUS_FILE`: comma-separated; they open what they once sealed.
    pub previous: Vec<[u8; 32]>,
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKeys({} previous)", self.previous.len())
    }
}

impl Reader<'_> {
    pub(super) fn encryption_keys(&mut self, environment: Environment) -> EncryptionKeys {
        let current = self.secret_text("ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE");
        let text = self.real_secret("ENCRYPTION_KEY", current, EXAMPLE_ENCRYPTION_KEY, environment);
        let current = self.key("ENCRYPTION_KEY", &text);
        let previous = self.secret_text("ENCRYPTION_KEY_PREVIOUS", "ENCRYPTION_KEY_PREVIOUS_FILE");
        let previous = previous.unwrap_or_default();
        let texts = previous.split([',', '\n']).filter(|text| !text.trim().is_empty());
        EncryptionKeys {
            current,
            previous: texts
                .map(|text| self.key("ENCRYPTION_KEY_PREVIOUS", text))
                .collect(),
        }
    }

    fn key(&mut self, variable: &'static str, text: &str) -> [u8; 32] {
        let bytes = STANDARD.decode(text.trim()).ok();
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        key.unwrap_or_else(|| {
            self.problem(variable, format!("is not base64 of 32 bytes; {MAKE_ONE}"));
            [0; 32]
        })
    }
}
