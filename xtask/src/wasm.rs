//! `cargo xtask wasm`: builds filter/wasm for wasm32-unknown-unknown by whichever way this machine allows.
//!
//! 1. rustup's target, where it is installed, or can be installed within 20 s (behind a closed network rustup hangs
//!    instead of failing; `RATEGUARD_NO_RUSTUP` or `CI` skips the attempt).
//! 2. A system rustc with its sources (Debian: `rustc-web rust-web-src`) and a standard library built on the spot.
//!
//! Each way and each compiler version has its own target folder, so that they never evict each other or the native
//! build. Cargo.lock is made by the normal toolchain and only read here.

use crate::program::{answer, cargo, rustc, variable, workspace_root};
use anyhow::{Context as _, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TARGET: &str = "wasm32-unknown-unknown";
const RUSTUP_WAIT: Duration = Duration::from_secs(20);
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_LINKERS: [&str; 6] = [
    "wasm-ld",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-18",
    "rust-lld",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Features of the filter, comma-separated, e.g. fault-injection (tests only).
    #[arg(long)]
    features: Option<String>,
}

/// How this machine compiles for wasm32.
enum Toolchain {
    /// The toolchain that runs this program has the target.
    Rustup,
    /// Another rustc, which builds the standard library too.
    System { linker: PathBuf },
}

/// One package for wasm32.
pub(crate) struct Build<'a> {
    pub(crate) package: &'a str,
    /// A profile of the workspace's Cargo.toml.
    pub(crate) profile: &'a str,
    /// Comma-separated.
    pub(crate) features: Option<&'a str>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let output = compile(&Build {
        package: "rateguard-filter-wasm",
        profile: "wasm",
        features: options.features.as_deref(),
    })?;
    let built = output.join("rateguard_filter_wasm.wasm");
    let named = output.join(file_name(options.features.as_deref()));
    copy_if_changed(&built, &named)?;
    println!("{}", named.display());
    Ok(())
}

/// Builds the package and returns the folder that holds its .wasm file.
pub(crate) fn compile(wanted: &Build<'_>) -> anyhow::Result<PathBuf> {
    let toolchain = choose()?;
    let target_dir = target_dir(&toolchain)?;
    build(wanted, &toolchain, &target_dir)?;
    let profile = match wanted.profile {
        "dev" => "debug",
        other => other,
    };
    Ok(target_dir.join(TARGET).join(profile))
}

/// One name per feature set, so that a test build never takes the place of the product.
fn file_name(features: Option<&str>) -> String {
    match features {
        None | Some("") => "rateguard_filter.wasm".to_owned(),
        Some(features) => format!("rateguard_filter+{}.wasm", features.replace(',', "+")),
    }
}

fn choose() -> anyhow::Result<Toolchain> {
    if rustup_has_target() || (may_ask_rustup() && rustup_adds_target()) {
        return Ok(Toolchain::Rustup);
    }
    if !Path::new(SYSTEM_RUSTC).exists() {
        bail!(
            "no way to compile for {TARGET}: run `rustup target add {TARGET}`, or on Debian/Ubuntu \
             `apt-get install rustc-web rust-web-src`"
        );
    }
    let linker = find_linker().context(
        "no linker for wasm32: install rustup (its rust-lld is used) or, on Debian/Ubuntu, `apt-get install lld-19`",
    )?;
    Ok(Toolchain::System { linker })
}

/// Asks the compiler rather than rustup: a distribution's rustc may ship the target too.
fn rustup_has_target() -> bool {
    sysroot(&rustc()).is_some_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn may_ask_rustup() -> bool {
    variable("RATEGUARD_NO_RUSTUP").is_none() && variable("CI").is_none()
}

fn rustup_adds_target() -> bool {
    let Ok(mut child) = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return false;
    };
    let deadline = Instant::now() + RUSTUP_WAIT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.success() && rustup_has_target(),
            Ok(None) => std::thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    // Best effort: a child that is gone already needs no killing.
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// rustup's bundled rust-lld links for every target; else LLVM's own.
fn find_linker() -> Option<PathBuf> {
    let bundled = sysroot(&rustc()).and_then(|root| {
        let hosts = std::fs::read_dir(root.join("lib/rustlib")).ok()?;
        hosts
            .flatten()
            .map(|host| host.path().join("bin/rust-lld"))
            .find(|path| path.is_file())
    });
    bundled.or_else(|| {
        let path = variable("PATH")?;
        SYSTEM_LINKERS
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
            .find(|candidate| candidate.is_file())
    })
}

fn build(wanted: &Build<'_>, toolchain: &Toolchain, target_dir: &Path) -> anyhow::Result<()> {
    let mut cargo = cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            wanted.profile,
            "--target",
            TARGET,
            "--package",
            wanted.package,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(workspace_root())
        // Flags of the native build (its linker above all) do not fit this target.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        // Standard output is for the path alone.
        .stdout(Stdio::null());
    if let Some(features) = wanted.features.filter(|features| !features.is_empty()) {
        cargo.args(["--features", features]);
    }
    if let Toolchain::System { linker } = toolchain {
        cargo
            .env("RUSTC", SYSTEM_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .arg("-Zbuild-std=std,panic_abort");
    }
    let status = cargo.status().context("starting cargo")?;
    if !status.success() {
        bail!("building {} failed", wanted.package);
    }
    Ok(())
}

/// `RATEGUARD_WASM_TARGET_DIR`, else `wasm` inside the native target folder; keyed by way and compiler version.
fn target_dir(toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let base =
        variable("RATEGUARD_WASM_TARGET_DIR").map_or_else(|| native_target_dir().join("wasm"), PathBuf::from);
    let (way, compiler) = match toolchain {
        Toolchain::Rustup => ("target", rustc()),
        Toolchain::System { .. } => ("build-std", SYSTEM_RUSTC.into()),
    };
    let version = answer(&compiler, &["--version"]).context("asking rustc for its version")?;
    let version = version.split_whitespace().nth(1).unwrap_or("unknown");
    Ok(base.join(format!("{way}-{version}")))
}

/// Where cargo builds for this machine.
pub(crate) fn native_target_dir() -> PathBuf {
    let native = variable("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    workspace_root().join(native)
}

/// Leaves the file's time alone when nothing changed: Envoys and tests compare it.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // A reader never sees half a file.
    let temporary = to.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, &new).with_context(|| format!("writing {}", temporary.display()))?;
    std::fs::rename(&temporary, to).with_context(|| format!("writing {}", to.display()))
}

fn sysroot(rustc: &OsString) -> Option<PathBuf> {
    answer(rustc, &["--print", "sysroot"]).map(|text| PathBuf::from(text.trim()))
}
