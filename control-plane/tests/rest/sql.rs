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

/// File, words of the statement, and why it may go without.
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
    (
        "db/credential.rs",
        "SELECT id, workspace_id, credential",
        "a master key's rotation walks every workspace's; what it writes back names the workspace",
    ),
    (
        "db/access_token.rs",
        "WHERE sha256 = $1",
        "the token is what names its workspace; the caller then has no other",
    ),
    (
        "db/invitation.rs",
        "WHERE sha256 = $1",
        "the link's token is what names its workspace",
    ),
    (
        "db/workspace.rs",
        "WHERE m.user_id = $1",
        "a person's own memberships, of all workspaces",
    ),
    (
        "db/api.rs",
        "SELECT DISTINCT workspace_id FROM api WHERE catalogue_version",
        "gives workspaces, not their data; each is then repriced by its own statement",
    ),
];

/// Beginnings of queries that are checked only when they run.
const RUNTIME_QUERIES: &[&str] = &[
    "query(",
    "query::<",
    "query_as(",
    "query_as::<",
    "query_scalar(",
    "query_scalar::<",
    "query_with(",
    "query_as_with(",
    "query_scalar_with(",
    "raw_sql(",
    "QueryBuilder",
];

/// File, what follows, and why no macro can check it.
const RUNTIME_EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "doctor/database.rs",
        "SELECT current_setting",
        "settings of the server, which no migration describes",
    ),
    (
        "doctor/database.rs",
        "SELECT version, success FROM _sqlx_migrations",
        "sqlx's own table, absent before the first migration",
    ),
];

#[test]
fn queries_are_checked_when_they_are_compiled() {
    let mut bad = Vec::new();
    let mut excepted = 0;
    let mut checked = 0;
    for (name, code) in own_code() {
        checked += code.matches("sqlx::query").count();
        for start in RUNTIME_QUERIES {
            for (at, _) in code.match_indices(start) {
                // `self.query(` and the like are other things.
                if *start != "QueryBuilder" && !code[..at].ends_with("sqlx::") {
                    continue;
                }
                let text = normal(&code[at..]);
                let known = RUNTIME_EXCEPTIONS.iter().any(|(place, words, _)| {
                    *place == name && text.chars().take(160).collect::<String>().contains(words)
                });
                if known {
                    excepted += 1;
                } else {
                    bad.push(format!("{name}: {}", text.chars().take(120).collect::<String>()));
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} queries were found");
    assert_eq!(
        excepted,
        RUNTIME_EXCEPTIONS.len(),
        "an exception that nothing needs"
    );
    assert!(
        bad.is_empty(),
        "use query!, query_as! or query_scalar!:\n{}",
        bad.join("\n")
    );
}

#[test]
fn ti_03_statements_on_tenant_tables_name_the_workspace() {
    let mut seen = 0;
    let mut bad = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for (name, code) in own_code() {
        for literal in literals(&code) {
            let words = words(&literal);
            if !is_statement(&words) || !tables(&words).iter().any(|table| TENANT_TABLES.contains(table)) {
                continue;
            }
            seen += 1;
            let text = normal(&literal);
            let exception = EXCEPTIONS
                .iter()
                .position(|(place, part, _)| *place == name && text.contains(part));
            match exception {
                Some(at) => used[at] = true,
                None if !names_workspace(&words) => {
                    bad.push(format!("{name}: {}", text.chars().take(160).collect::<String>()));
                }
                None => {}
            }
        }
    }
    assert!(seen > 60, "only {seen} statements were found");
    assert!(
        bad.is_empty(),
        "no workspace_id in the WHERE of:\n{}",
        bad.join("\n")
    );
    let unused: Vec<_> = EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used).collect();
    assert!(unused.is_empty(), "exceptions that nothing needs: {unused:?}");
}

#[test]
fn the_scan_reads_statements_as_they_are_written() {
    let code = r##"
        // "SELECT id FROM api" in a comment is none.
        query!("DELETE FROM rule WHERE id = $1", id);
        query_as!(Row, r#"SELECT workspace_id AS "id!" FROM api WHERE slug = $1"#, slug);
        query!("SELECT count(*) AS \"count!\" FROM api WHERE workspace_id = $1", id);
    "##;
    let found: Vec<_> = literals(code)
        .iter()
        .map(|literal| names_workspace(&words(literal)))
        .collect();
    assert_eq!(found, [false, false, true]);
    assert!(is_statement(&words("WITH gone AS (DELETE FROM api) SELECT 1")));
    assert_eq!(
        tables(&words("UPDATE api a SET x = 1 FROM rule r")),
        ["api", "rule"]
    );
}

/// What is not tests, by path below `src`.
fn own_code() -> impl Iterator<Item = (String, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            let name = file.to_string_lossy().split_once("/src/").unwrap().1.to_owned();
            (name, code)
        })
}

fn is_statement(words: &[String]) -> bool {
    matches!(
        words.first().map(String::as_str),
        Some("select" | "insert" | "update" | "delete" | "with")
    )
}

/// In the WHERE; among the columns of an INSERT.
fn names_workspace(words: &[String]) -> bool {
    let start = match words.first().map(String::as_str) {
        Some("insert") => Some(0),
        _ => words.iter().position(|word| word == "where"),
    };
    start.is_some_and(|start| {
        words[start..]
            .iter()
            .any(|word| word == "workspace_id" || word.ends_with(".workspace_id"))
    })
}

/// With one space between words, whatever the line breaks.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// ClickHouse's tables: their statements are put together from pieces, so that each piece which names one is looked at.
const ROLLUPS: &[&str] = &[
    "api_events",
    "api_events_once",
    "usage_minute",
    "usage_hour",
    "usage_day",
    "latency_minute",
    "latency_model_hour",
    "latency_model_day",
    "latency_api_hour",
    "latency_key_hour",
    "latency_key_day",
    "tags_hour",
    "spend_ledger",
];

#[test]
fn ti_03_analytics_name_the_workspace_wherever_they_name_a_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analytics/query");
    let mut files = sources(&folder);
    files.push(folder.with_extension("rs"));
    let (mut seen, mut bad) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for literal in literals(text.split("#[cfg(test)]").next().unwrap()) {
            let words = words(&literal);
            if !tables(&words).iter().any(|table| ROLLUPS.contains(table)) {
                continue;
            }
            seen += 1;
            if !literal.contains("WHERE workspace_id = {workspace:UUID}") {
                bad.push(literal);
            }
        }
    }
    assert!(seen >= 10, "only {seen} tables were found");
    assert!(bad.is_empty(), "no workspace in:\n{}", bad.join("\n"));
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

/// The string literals of a source, raw ones too, comments aside.
fn literals(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = lines.join("\n").replace("\\\"", "").replace("'\"'", "");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find('"') {
        let end = if rest[..start].ends_with("r#") {
            "\"#"
        } else {
            "\""
        };
        let literal = &rest[start + 1..];
        let length = literal.find(end).unwrap_or(literal.len());
        found.push(literal[..length].to_owned());
        rest = literal.get(length + end.len()..).unwrap_or("");
    }
    found
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
        .filter(|file| {
            std::fs::read_to_string(file)
                .unwrap()
                .contains("transaction::begin")
        })
        .map(|file| file.to_string_lossy().split_once("/src/").unwrap().1.to_owned())
        .collect();
    assert!(bad.is_empty(), "use audit::Write in {bad:?}");
}
