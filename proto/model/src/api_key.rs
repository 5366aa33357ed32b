//! The format of API keys (SPEC 1.1): `rg_{live|test}_{26 random}{6 checksum}`, all of `0-9A-Za-z`.

use crate::digest::Digest;

/// Where a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    Live,
    Test,
}

/// Why a string is not one of our keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("not of the form rg_live_… or rg_test_…")]
    Form,
    #[error("the checksum does not match")]
    Checksum,
}

/// A key whose form and checksum are right. Says nothing about whether anybody issued it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKey<'a> {
    text: &'a str,
    environment: Environment,
}

impl<'a> ApiKey<'a> {
    /// Length of every key in bytes.
    pub const LEN: usize = 40;
    /// What every candidate starts with.
    pub const PREFIX: &'static [u8] = b"rg_";
    /// Characters shown in lists: `rg_live_K7dF`.
    pub const DISPLAY_PREFIX_LEN: usize = 12;

    /// Checks form and checksum, without any look-up.
    pub fn parse(_bytes: &'a [u8]) -> Result<Self, InvalidKey> {
        todo!()
    }

    pub fn environment(&self) -> Environment {
        self.environment
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The only part that may be shown again.
    pub fn display_prefix(&self) -> &'a str {
        todo!()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

impl std::fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}…)", self.display_prefix())
    }
}

/// Makes a key of random bytes; each must be uniform over 0..62 after the caller's rejection sampling.
pub fn generate(_environment: Environment, _digits: [u8; 26]) -> String {
    todo!()
}
