//! The control plane's secrets, made at random and kept in the Stack's folder.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What must stay the same as long as the data does: rows are encrypted with it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Secrets {
    /// Signs access tokens.
    pub(super) jwt_secret: String,
    /// base64 of the 32 bytes that encrypt upstream credentials.
    pub(super) encryption_key: String,
}

impl Secrets {
    /// Those of a folder, made when it has none.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join("secrets.json");
        if let Ok(text) = fs::read(&path) {
            return serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()));
        }
        let secrets = Self {
            jwt_secret: random_base64()?,
            encryption_key: random_base64()?,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("making {}", path.display()))?;
        file.write_all(&serde_json::to_vec(&secrets)?)?;
        Ok(secrets)
    }
}

fn random_base64() -> Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading randomness")?;
    Ok(STANDARD.encode(bytes))
}
