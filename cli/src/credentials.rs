//! What a sign-in leaves behind: one file, readable by its owner only.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE: &str = "credentials.json";

/// Where the sign-in is for. It is never sent to another address.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credentials {
    pub(crate) url: String,
    /// Of a session, short-lived; or a personal access token.
    pub(crate) token: String,
    /// `name=value` of the session's cookie; none with a personal access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_cookie: Option<String>,
    /// Id of the workspace that commands mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace_id: Option<String>,
}

/// The file's place.
#[derive(Debug, Clone)]
pub(crate) struct Store(PathBuf);

impl Store {
    /// `RATEGUARD_CONFIG_DIR`, else `rateguard` in `XDG_CONFIG_HOME` or `~/.config`.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self, Error> {
        if let Some(folder) = folder {
            return Ok(Self(folder.to_owned()));
        }
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .map(|base| Self(base.join("rateguard")))
            .ok_or_else(|| Error::Usage("neither HOME nor RATEGUARD_CONFIG_DIR is set".to_owned()))
    }

    /// `None` where nobody has signed in.
    pub(crate) fn read(&self) -> Result<Option<Credentials>, Error> {
        let path = self.0.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| {
                Error::Usage(format!(
                    "{} cannot be read: run rateguard login again",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Usage(format!(
                "{} cannot be read: {error}",
                path.display()
            ))),
        }
    }

    /// Replaces the file as a whole: another command that reads meanwhile sees one or the other.
    pub(crate) fn write(&self, credentials: &Credentials) -> Result<(), Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let staged = self.0.join(format!("{FILE}.{}", std::process::id()));
        // Left over by a process of the same id that was killed.
        let _ = std::fs::remove_file(&staged);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(&serde_json::to_vec_pretty(credentials).map_err(std::io::Error::other)?)?;
        Ok(std::fs::rename(&staged, self.0.join(FILE))?)
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_file(self.0.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
