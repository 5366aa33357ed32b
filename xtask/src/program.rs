//! Asking other programs, and where this checkout is.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// What a program prints; `None` if it is missing or fails.
pub(crate) fn answer(program: &OsString, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Cargo as a user would call it. What `cargo run` told this program about itself would make build scripts that look at
/// it run anew, and everything after them.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    for name in of_ours {
        cargo.env_remove(name);
    }
    cargo
}

pub(crate) fn rustc() -> OsString {
    variable("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// An environment variable; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

pub(crate) fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}
