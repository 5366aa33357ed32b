//! `cargo xtask console`: builds dashboard/ into a folder of static files that the control plane serves.
//!
//! `index.html` and `assets/…`; the name of every asset carries a digest of its content, so that it may be cached for
//! ever, and next to every file lie `.br` and `.gz`. The folder is `RATEGUARD_CONSOLE_DIR`, else `control-plane/console`,
//! from where the control plane's own build takes it; everything in it but its README is replaced.

use crate::program::{variable, workspace_root};
use crate::stamp::Stamp;
use crate::wasm;
use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const PACKAGE: &str = "rateguard-dashboard";
/// Names of the files that wasm-bindgen writes.
const STEM: &str = "rateguard-dashboard";
/// Largest first load: every file together, as compressed with brotli (SPEC 9).
const FIRST_LOAD_BYTES_MAX: usize = 500_000;
/// The order of the cascade.
pub(crate) const STYLES: [&str; 5] = [
    "tokens.css",
    "base.css",
    "components.css",
    "layout.css",
    "pages.css",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Builds fast and compresses little: for whoever is changing the console.
    #[arg(long)]
    dev: bool,
}

/// One file of the console as it is served.
pub(crate) struct Asset {
    /// Below the folder: `assets/app-….wasm`.
    pub(crate) path: String,
    content: Vec<u8>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let profile = if options.dev { "console-dev" } else { "console" };
    let built = wasm::compile(&wasm::Build {
        package: PACKAGE,
        profile,
        features: Some("app"),
    })?
    .join(format!("{STEM}.wasm"));
    let folder = folder();
    // The files keep their times when nothing changed, or the control plane would be compiled anew.
    let stamp = Stamp::of(&folder, &built, options.dev)?;
    if !stamp.holds(&folder) {
        let work = wasm::native_target_dir().join(format!("console-{}.tmp", std::process::id()));
        let bound = bind(&built, &work, options.dev);
        let assets = bound.and_then(|()| assets(&work));
        // Best effort: a folder of ours below the target folder.
        let _ = fs::remove_dir_all(&work);
        let assets = assets?;
        let sizes = publish(&assets, &folder, options.dev)?;
        report(&assets, &sizes);
        let total: usize = sizes.iter().sum();
        ensure!(
            options.dev || total <= FIRST_LOAD_BYTES_MAX,
            "the first load is {total} bytes compressed; at most {FIRST_LOAD_BYTES_MAX} are allowed"
        );
        stamp.keep(&assets)?;
    }
    println!("{}", folder.display());
    Ok(())
}

fn folder() -> PathBuf {
    let named = variable("RATEGUARD_CONSOLE_DIR").map(PathBuf::from);
    workspace_root().join(named.unwrap_or_else(|| "control-plane/console".into()))
}

/// wasm-bindgen, as a library: its version is the app's own, by Cargo.lock.
fn bind(wasm: &Path, into: &Path, dev: bool) -> anyhow::Result<()> {
    fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(wasm)
        .out_name(STEM)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(!dev)
        .remove_producers_section(true)
        .generate(into)
        .with_context(|| format!("binding {}", wasm.display()))
}

/// Every file, the page last.
fn assets(work: &Path) -> anyhow::Result<Vec<Asset>> {
    let source = workspace_root().join("dashboard");
    let wasm = named("app", "wasm", read(&work.join(format!("{STEM}_bg.wasm")))?);
    let script = named("app", "js", read(&work.join(format!("{STEM}.js")))?);
    let mut css = Vec::new();
    for style in STYLES {
        css.extend(read(&source.join("style").join(style))?);
    }
    let css = named("style", "css", css);
    let icon = named("icon", "svg", read(&source.join("icon.svg"))?);
    let boot = fill(
        &source.join("boot.js"),
        &[("{{script}}", &script.path), ("{{wasm}}", &wasm.path)],
    )?;
    let boot = named("boot", "js", boot.into_bytes());
    let page = fill(
        &source.join("index.html"),
        &[
            ("{{style}}", &css.path),
            ("{{icon}}", &icon.path),
            ("{{boot}}", &boot.path),
            ("{{script}}", &script.path),
        ],
    )?;
    let page = Asset {
        path: "index.html".to_owned(),
        content: page.into_bytes(),
    };
    Ok(vec![wasm, script, css, icon, boot, page])
}

fn named(stem: &str, extension: &str, content: Vec<u8>) -> Asset {
    let digest = Sha256::digest(&content);
    let digest = digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Asset {
        path: format!("assets/{stem}-{digest}.{extension}"),
        content,
    }
}

/// The file with each placeholder replaced; one that is missing is an error.
fn fill(template: &Path, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut text = fs::read_to_string(template).with_context(|| format!("reading {}", template.display()))?;
    for (placeholder, value) in values {
        ensure!(
            text.contains(placeholder),
            "{} has no {placeholder}",
            template.display()
        );
        text = text.replace(placeholder, &format!("/{value}"));
    }
    Ok(text)
}

/// Replaces the folder's files, the page last. Returns each one's size as sent with brotli.
fn publish(assets: &[Asset], folder: &Path, dev: bool) -> anyhow::Result<Vec<usize>> {
    empty(folder)?;
    fs::create_dir_all(folder.join("assets")).with_context(|| format!("creating {}", folder.display()))?;
    let mut sizes = Vec::new();
    for asset in assets {
        let path = folder.join(&asset.path);
        let small = brotli(&asset.content, dev)?;
        sizes.push(small.len());
        write(&path, &asset.content)?;
        write(&suffixed(&path, ".gz"), &gzip(&asset.content, dev)?)?;
        write(&suffixed(&path, ".br"), &small)?;
    }
    Ok(sizes)
}

/// Takes out what an earlier build left.
fn empty(folder: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten().filter(|entry| entry.file_name() != "README.md") {
        let path = entry.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

fn report(assets: &[Asset], sizes: &[usize]) {
    for (asset, size) in assets.iter().zip(sizes) {
        eprintln!(
            "{:>9} bytes {:>8} compressed  {}",
            asset.content.len(),
            size,
            asset.path
        );
    }
    eprintln!(
        "{:>9} bytes {:>8} compressed  first load (at most {FIRST_LOAD_BYTES_MAX})",
        assets.iter().map(|asset| asset.content.len()).sum::<usize>(),
        sizes.iter().sum::<usize>()
    );
}

fn brotli(content: &[u8], dev: bool) -> anyhow::Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: if dev { 3 } else { 11 },
        ..Default::default()
    };
    let mut small = Vec::new();
    let mut content = content;
    brotli::BrotliCompress(&mut content, &mut small, &parameters).context("compressing with brotli")?;
    Ok(small)
}

fn gzip(content: &[u8], dev: bool) -> anyhow::Result<Vec<u8>> {
    let level = flate2::Compression::new(if dev { 1 } else { 9 });
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(content).context("compressing with gzip")?;
    encoder.finish().context("compressing with gzip")
}

pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_changes_with_the_content_only() {
        let one = named("app", "js", b"one".to_vec());
        assert_eq!(one.path, named("app", "js", b"one".to_vec()).path);
        assert_ne!(one.path, named("app", "js", b"two".to_vec()).path);
        assert!(
            one.path.starts_with("assets/app-")
                && one.path.split_once('.').is_some_and(|(_, end)| end == "js")
        );
    }
}
