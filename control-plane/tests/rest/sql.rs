//! TI-03: every statement on a workspace's data names the workspace. A text scan of `src`, with argued exceptions.

use std::path::{Path, PathBuf};

/// Tables whose rows belong to a workspace.
const TENANT_TABLES: &[&str] = &[
    "api",
    "api_key",
    "rule",
    "budget",
    "price_override",
    "data_plane_token",
    "membership",
    "invitation",
    "access_token",
    "audit_entry",
    "idempotency",
];

/// File, start of the statement, and why it may go without.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "db/snapshot.rs",
        "",
        "the feed reads every workspace's rows and sends each only to who may see it",
    ),
    (
        "db/data_plane_node.rs",
        "INSERT INTO data_plane_node",
        "written by the token that polled; a token is of one workspace",
    ),
];

#[test]
fn ti_03_statements_on_tenant_tables_name_the_workspace() {
    let mut seen = 0;
    let mut bad = Vec::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let name = file.to_string_lossy().split_once("/src/").unwrap().1.to_owned();
        for literal in literals(code) {
            let words = words(&literal);
            if !matches!(
                words.first().map(String::as_str),
                Some("select" | "insert" | "update" | "delete" | "with")
            ) {
                continue;
            }
            let tables: Vec<&str> = tables(&words)
                .into_iter()
                .filter_map(|table| TENANT_TABLES.iter().find(|known| **known == table).copied())
                .collect();
            if tables.is_empty() {
                continue;
            }
            seen += 1;
            let named = words
                .iter()
                .any(|word| word == "workspace_id" || word.ends_with(".workspace_id"));
            let excepted = EXCEPTIONS
                .iter()
                .any(|(place, start, _)| *place == name && literal.trim_start().starts_with(start));
            if !named && !excepted {
                bad.push(format!(
                    "{name}: {}",
                    literal.chars().take(160).collect::<String>()
                ));
            }
        }
    }
    assert!(seen > 30, "only {seen} statements were found");
    assert!(bad.is_empty(), "no workspace_id in:\n{}", bad.join("\n"));
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The string literals of a source, comments aside.
fn literals(code: &str) -> Vec<String> {
    let code: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n").replace("\\\"", "").replace("'\"'", "");
    code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn words(statement: &str) -> Vec<String> {
    statement
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// What follows FROM, JOIN, INTO and UPDATE.
fn tables(words: &[String]) -> Vec<&str> {
    words
        .windows(2)
        .filter(|pair| matches!(pair[0].as_str(), "from" | "join" | "into" | "update" | "using"))
        .map(|pair| pair[1].as_str())
        .collect()
}

/// A write that does not go through `audit::Write` is one that the audit log does not know.
#[test]
fn ca_15_handlers_write_through_the_one_door() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let bad: Vec<String> = sources(&folder)
        .into_iter()
        .filter(|file| std::fs::read_to_string(file).unwrap().contains("db.begin()"))
        .map(|file| file.to_string_lossy().split_once("/src/").unwrap().1.to_owned())
        .collect();
    assert!(bad.is_empty(), "use audit::Write in {bad:?}");
}
