//! Where a Stack keeps its data, its logs and the files it renders.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::postgres;

const PREFIX: &str = "rateguard-stack-";

/// A folder of one Stack: `data/<part>`, `logs/<part>.log` and rendered files at its top.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    postgres: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// A new folder under the machine's temporary one, removed on drop.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn temporary() -> Result<Self> {
        sweep();
        let root = tempfile::Builder::new()
            .prefix(&prefix())
            .tempdir()
            .context("making a temporary folder")?
            .keep();
        // Postgres may run as another user, who must be able to walk in.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711))?;
        Self::lay_out(root, true)
    }

    /// A folder that stays, data included. Where Postgres' user cannot walk into it (a checkout under `/root`), its
    /// data goes to a folder under `/var/tmp` instead, named by `root`'s path.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn kept(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
        Self::lay_out(root.to_owned(), false)
    }

    fn lay_out(root: PathBuf, is_temporary: bool) -> Result<Self> {
        for folder in ["data", "logs"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let inside = root.join("data/postgres");
        let postgres = if postgres::can_reach(&inside)? {
            inside
        } else {
            out_of_the_way(&root)
        };
        if let Some(above) = postgres.parent() {
            fs::create_dir_all(above)?;
        }
        Ok(Self {
            root,
            postgres,
            is_temporary,
        })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a part keeps its data.
    #[must_use]
    pub fn data(&self, part: &str) -> PathBuf {
        if part == "postgres" {
            self.postgres.clone()
        } else {
            self.root.join("data").join(part)
        }
    }

    /// Where a part's output goes.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }

    /// Removes everything that parts have kept.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn wipe(root: &Path) -> Result<()> {
        for folder in [root.to_owned(), out_of_the_way(root)] {
            match fs::remove_dir_all(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("removing {}", folder.display())),
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.root);
            let _ = fs::remove_dir_all(&self.postgres);
        }
    }
}

/// How temporary folders of this process begin: with whom they can be removed.
pub(super) fn prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}

fn out_of_the_way(root: &Path) -> PathBuf {
    let name: String = root
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Path::new("/var/tmp").join(format!("rateguard{name}"))
}

/// Removes folders of test processes that were killed before they could do so themselves.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next());
        let Some(owner) = owner
            .and_then(|pid| pid.parse::<i32>().ok())
            .and_then(rustix::process::Pid::from_raw)
        else {
            continue;
        };
        if rustix::process::test_kill_process(owner) == Err(rustix::io::Errno::SRCH) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_swept() {
        // The largest id that Linux gives is 2^22; nothing runs under this one.
        let left = std::env::temp_dir().join(format!("{PREFIX}{}-left", i32::MAX));
        fs::create_dir_all(&left).unwrap();
        let folder = Folder::temporary().unwrap();
        assert!(!left.exists());
        assert!(folder.root().exists());
    }
}
