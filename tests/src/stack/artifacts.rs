//! The programs that a Stack runs: ours, built when needed, and those of the machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

use super::process::run;

/// The Envoy that `./dev` installs.
pub const ENVOY_VERSION: &str = "1.40.0";

/// Which build of the filter Envoy loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterBuild {
    /// What users run.
    #[default]
    Plain,
    /// With the request header that makes the filter panic (FAULTS DP-06).
    FaultInjection,
}

/// Our own native programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `rateguard-control-plane`.
    pub control_plane: PathBuf,
    /// `rateguard-ext-ratelimit`.
    pub limits: PathBuf,
}

/// The checkout that this crate was built from.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where downloads and templates are kept between runs: `rateguard` in the user's cache folder.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    env::var_os("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map_or_else(home, PathBuf::from)
        .join("rateguard")
}

/// Our programs, next to the running executable. They are brought up to date first, once a process, so that a lone
/// `cargo test` never drives yesterday's build; `RATEGUARD_BUILT=1` says that the caller has just done so.
///
/// # Errors
/// They do not build.
pub fn programs() -> Result<Programs> {
    static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build() -> Result<Programs> {
    let folder = program_folder()?;
    if env::var_os("RATEGUARD_BUILT").is_none() {
        let mut cargo = cargo()?;
        cargo.args([
            "build",
            "--quiet",
            "-p",
            "rateguard-control-plane",
            "-p",
            "rateguard-ext-ratelimit",
            "--bins",
        ]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        run("cargo build", &mut cargo)?;
    }
    let program = |name: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        if path.exists() {
            Ok(path)
        } else {
            Err(anyhow!("{} is not built", path.display()))
        }
    };
    Ok(Programs {
        control_plane: program("rateguard-control-plane")?,
        limits: program("rateguard-ext-ratelimit")?,
    })
}

/// The filter as a WASM module, built by `cargo xtask wasm` once a process, or named by `RATEGUARD_FILTER_WASM`
/// (`RATEGUARD_FILTER_WASM_FAULTS` for the other build).
///
/// # Errors
/// It does not build.
pub fn filter_wasm(build: FilterBuild) -> Result<PathBuf> {
    static PLAIN: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    static FAULTS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let (built, variable, features): (_, _, &[&str]) = match build {
        FilterBuild::Plain => (&PLAIN, "RATEGUARD_FILTER_WASM", &[]),
        FilterBuild::FaultInjection => (
            &FAULTS,
            "RATEGUARD_FILTER_WASM_FAULTS",
            &["--features", "fault-injection"],
        ),
    };
    if let Some(path) = env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    built
        .get_or_init(|| build_wasm(features).map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build_wasm(features: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo()?;
    cargo
        .args(["run", "--quiet", "-p", "xtask", "--", "wasm"])
        .args(features);
    let printed = run("cargo xtask wasm", &mut cargo)?;
    let path = PathBuf::from(printed.lines().last().unwrap_or_default().trim());
    if path.extension().is_some_and(|extension| extension == "wasm") && path.exists() {
        return Ok(path);
    }
    bail!("cargo xtask wasm printed no path of a .wasm file but {printed:?}")
}

/// Envoy: `ENVOY_BIN`, else the one that `./dev` installs, else the one on PATH.
///
/// # Errors
/// There is none.
pub fn envoy() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ENVOY_BIN") {
        return Ok(PathBuf::from(path));
    }
    let installed = cache_folder().join(format!("envoy-{ENVOY_VERSION}/bin/envoy"));
    program("envoy", &[&installed]).context("set ENVOY_BIN, or let ./dev install Envoy")
}

/// A program of the machine: the first of `places` that exists, else the first on PATH.
///
/// # Errors
/// It is in neither.
pub fn program(name: &str, places: &[&Path]) -> Result<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&folders).map(|folder| folder.join(name));
    places
        .iter()
        .map(|place| place.to_path_buf())
        .chain(on_path)
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed; ./dev doctor says how to get it"))
}

/// A `cargo` that builds into the folder that the running executable came from.
fn cargo() -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(repository());
    if let Some(target) = program_folder()?.parent() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    Ok(cargo)
}

/// `…/debug` or `…/release`: the folder of the running executable, or the one above it for a test in `deps`.
fn program_folder() -> Result<PathBuf> {
    let executable = env::current_exe().context("finding the running executable")?;
    let folder = executable.parent().context("the executable is in no folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_owned())
}
