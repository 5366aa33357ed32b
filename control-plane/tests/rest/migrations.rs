//! CP-10: migrations run while the version before them still serves, so they only add. A text scan of their statements.

use std::path::Path;

/// Words that take away or tighten what a running older version relies on.
const TAKES_AWAY: &[&str] = &[
    "DROP ",
    "RENAME ",
    "ALTER COLUMN",
    "SET NOT NULL",
    "ADD CONSTRAINT",
    "ADD CHECK",
    "ADD UNIQUE",
    "ADD FOREIGN KEY",
    "TRUNCATE ",
];

#[test]
fn cp_10_migrations_only_add() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for statement in statements(&std::fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if let Some(why) = breaks_older(&statement) {
                panic!("{name}: {why}: {statement}");
            }
        }
    }
    assert!(seen > 20, "only {seen} statements were found");
}

#[test]
fn what_breaks_an_older_version_is_recognised() {
    for bad in [
        "ALTER TABLE api DROP COLUMN slug",
        "alter table api rename to apis",
        "ALTER TABLE api ALTER COLUMN slug TYPE varchar",
        "ALTER TABLE api ADD COLUMN region text NOT NULL",
        "ALTER TABLE api ADD COLUMN a text, ADD COLUMN b text NOT NULL",
        "CREATE UNIQUE INDEX x ON api (slug)",
    ] {
        assert!(breaks_older(&normal(bad)).is_some(), "{bad}");
    }
    for good in [
        "CREATE TABLE region (id uuid NOT NULL, UNIQUE (id))",
        "ALTER TABLE api ADD COLUMN region text",
        "ALTER TABLE api ADD COLUMN region text NOT NULL DEFAULT 'eu', ADD COLUMN b text",
        "CREATE INDEX x ON api (slug)",
    ] {
        assert_eq!(breaks_older(&normal(good)), None, "{good}");
    }
}

/// In capitals, with one space between words.
fn normal(statement: &str) -> String {
    statement
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase()
}

/// Without comments. A function's body counts as several, of which none begins as one that matters.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect();
    let all: Vec<String> = code.join("\n").split(';').map(normal).collect();
    let tables: Vec<String> = all.iter().filter_map(|statement| created(statement)).collect();
    // A table that this very migration makes is in use by nobody.
    all.into_iter()
        .filter(|statement| !statement.is_empty())
        .filter(|statement| {
            !tables
                .iter()
                .any(|table| statement.contains(&format!(" ON {table} ")))
        })
        .collect()
}

fn created(statement: &str) -> Option<String> {
    let name = statement.strip_prefix("CREATE TABLE ")?;
    Some(name.split([' ', '(']).next()?.to_owned())
}

fn breaks_older(statement: &str) -> Option<&'static str> {
    if statement.starts_with("CREATE TABLE ") || statement.starts_with("CREATE FUNCTION ") {
        return None;
    }
    if statement.starts_with("CREATE UNIQUE INDEX ") {
        return Some("refuses rows that an older version writes");
    }
    if !statement.starts_with("ALTER ")
        && !statement.starts_with("DROP ")
        && !statement.starts_with("TRUNCATE ")
    {
        return None;
    }
    if TAKES_AWAY.iter().any(|words| statement.contains(words)) {
        return Some("takes away or tightens");
    }
    statement
        .split("ADD COLUMN ")
        .skip(1)
        .any(|column| column.contains("NOT NULL") && !column.contains("DEFAULT"))
        .then_some("an older version does not give this column a value")
}
