//! What the console was last made of, so that nothing is written when nothing changed.
//!
//! One file in the target folder per folder of the console: a digest of everything that goes in, and the files that
//! came out. Cargo decides whether the app itself is compiled anew; this is about what follows.

use crate::console::{Asset, STYLES, read, suffixed, write};
use crate::program::workspace_root;
use crate::wasm;
use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What the console would be made of now.
pub(crate) struct Stamp {
    file: PathBuf,
    digest: String,
}

impl Stamp {
    pub(crate) fn of(folder: &Path, built: &Path, dev: bool) -> anyhow::Result<Self> {
        let source = workspace_root().join("dashboard");
        let mut inputs = vec![
            // How it is made: this program.
            std::env::current_exe().context("finding this program")?,
            built.to_owned(),
            source.join("index.html"),
            source.join("boot.js"),
            source.join("icon.svg"),
        ];
        inputs.extend(STYLES.map(|style| source.join("style").join(style)));
        let mut digest = Sha256::new();
        digest.update([u8::from(dev)]);
        for input in &inputs {
            let content = read(input)?;
            digest.update(content.len().to_le_bytes());
            digest.update(content);
        }
        let place = hex(&Sha256::digest(folder.as_os_str().as_encoded_bytes()));
        let place = place.get(..16).unwrap_or_default();
        Ok(Self {
            file: wasm::native_target_dir().join(format!("console-{place}.stamp")),
            digest: hex(&digest.finalize()),
        })
    }

    /// Whether the folder holds just what would be written.
    pub(crate) fn holds(&self, folder: &Path) -> bool {
        let Ok(kept) = fs::read_to_string(&self.file) else {
            return false;
        };
        let mut lines = kept.lines();
        lines.next() == Some(&self.digest)
            && lines.map(|path| folder.join(path)).all(|path| {
                path.is_file() && suffixed(&path, ".br").is_file() && suffixed(&path, ".gz").is_file()
            })
    }

    pub(crate) fn keep(&self, assets: &[Asset]) -> anyhow::Result<()> {
        let mut text = format!("{}\n", self.digest);
        for asset in assets {
            text.push_str(&asset.path);
            text.push('\n');
        }
        write(&self.file, text.as_bytes())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
