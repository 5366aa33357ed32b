//! Says what else the macros of sqlx read, so that a change of it compiles the crate again, and lists the console's
//! files for `src/assets.rs` (see console/README.md).

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=.sqlx");
    // `cargo xtask sqlx` gives a new folder each time.
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE_DIR");
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE");
    println!("cargo:rerun-if-env-changed=RATEGUARD_CONSOLE_DIR");
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("console");
    let folder = env::var_os("RATEGUARD_CONSOLE_DIR")
        .filter(|folder| !folder.is_empty())
        .map_or(own, PathBuf::from);
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut paths = Vec::new();
    collect(&folder, &mut paths);
    paths.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("console.rs");
    fs::write(out, table(&folder, &paths)).expect("the build folder can be written");
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if entry.file_name() != "README.md" {
            paths.push(path);
        }
    }
}

/// The initializer of `FILES`: each file with its compressed forms.
fn table(folder: &Path, paths: &[PathBuf]) -> String {
    let mut text = String::from("&[\n");
    let is_variant = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "br" || extension == "gz")
    };
    for path in paths.iter().filter(|path| !is_variant(path)) {
        let name = path
            .strip_prefix(folder)
            .unwrap_or(path)
            .display()
            .to_string()
            .replace('\\', "/");
        let variant = |extension: &str| {
            let mut with_extension = path.clone().into_os_string();
            with_extension.push(extension);
            let path = PathBuf::from(with_extension);
            if path.is_file() {
                format!("Some(include_bytes!({:?}))", path.to_string_lossy())
            } else {
                "None".to_owned()
            }
        };
        let (br, gzip) = (variant(".br"), variant(".gz"));
        let path = path.to_string_lossy();
        writeln!(
            text,
            "    File {{ path: {name:?}, plain: include_bytes!({path:?}), br: {br}, gzip: {gzip} }},"
        )
        .expect("text can be appended to");
    }
    text.push_str("]\n");
    text
}
