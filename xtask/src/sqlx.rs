//! `cargo xtask sqlx`: what the compile-time checked queries of the control plane need to know about the database,
//! read from a Postgres that has just got all migrations, into `control-plane/.sqlx`.
//!
//! It does the work of `cargo sqlx prepare`: the macros write one file per query into `SQLX_OFFLINE_DIR` when they
//! are expanded with a `DATABASE_URL`. Every other build reads the committed files (`SQLX_OFFLINE` in
//! `.cargo/config.toml`), so that a developer's `DATABASE_URL` changes nothing.

use crate::postgres::Postgres;
use crate::program::{cargo, workspace_root};
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::path::Path;

const PACKAGE: &str = "rateguard-control-plane";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Writes nothing and fails if a committed file is missing, stale or different.
    #[arg(long)]
    check: bool,
}

/// Contents by file name.
type Files = BTreeMap<String, String>;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let package = workspace_root().join("control-plane");
    let server = Postgres::start()?;
    server.migrate(&package.join("migrations/postgres"))?;
    // A new folder each time: control-plane/build.rs watches the variable, so that all macros are expanded again.
    let folder = tempfile::Builder::new().prefix("rg-sqlx-").tempdir()?;
    expand(&server.url(), folder.path())?;
    let wanted = read(folder.path())?;
    let committed = package.join(".sqlx");
    let found = read(&committed)?;
    if options.check {
        return compare(&wanted, &found);
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        std::fs::remove_file(committed.join(name)).with_context(|| format!("removing {name}"))?;
    }
    std::fs::create_dir_all(&committed).with_context(|| format!("making {}", committed.display()))?;
    for (name, text) in wanted
        .iter()
        .filter(|(name, text)| found.get(*name) != Some(text))
    {
        std::fs::write(committed.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    println!("{} queries in control-plane/.sqlx", wanted.len());
    Ok(())
}

fn expand(database_url: &str, folder: &Path) -> anyhow::Result<()> {
    let status = cargo()
        .args(["check", "--quiet", "--locked", "--package", PACKAGE, "--lib"])
        .current_dir(workspace_root())
        .env("DATABASE_URL", database_url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", folder)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("{PACKAGE} does not compile against its own migrations");
    }
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
    }
    Ok(files)
}

fn compare(wanted: &Files, found: &Files) -> anyhow::Result<()> {
    let missing = wanted.keys().filter(|name| !found.contains_key(*name));
    let different = wanted
        .iter()
        .filter(|(name, text)| found.get(*name).is_some_and(|other| other != *text));
    let stale = found.keys().filter(|name| !wanted.contains_key(*name));
    let lines: Vec<String> = missing
        .map(|name| format!("missing: {name}"))
        .chain(different.map(|(name, _)| format!("different: {name}")))
        .chain(stale.map(|name| format!("no query has it any more: {name}")))
        .collect();
    if lines.is_empty() {
        println!("{} queries are as committed", wanted.len());
        return Ok(());
    }
    bail!(
        "control-plane/.sqlx is not what queries and migrations give:\n  {}\nrun `cargo xtask sqlx` and commit the folder",
        lines.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::{Files, compare};

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_difference_names_the_file_and_the_fix() {
        let wanted = files(&[("query-1.json", "a"), ("query-2.json", "b")]);
        assert!(compare(&wanted, &wanted).is_ok());
        let found = files(&[("query-2.json", "c"), ("query-3.json", "d")]);
        let said = compare(&wanted, &found).unwrap_err().to_string();
        for line in [
            "missing: query-1.json",
            "different: query-2.json",
            "no query has it any more: query-3.json",
            "cargo xtask sqlx",
        ] {
            assert!(said.contains(line), "{said}");
        }
    }
}
