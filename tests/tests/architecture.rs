//! The folders' promises, read from `cargo metadata` and the checkout: which crate may depend on which, what the pure
//! crates must never see, and names that say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use rateguard_tests::stack::artifacts::repository;
use rateguard_tests::stack::process::run;
use serde_json::Value;

/// Crates of ours and the crates of ours they may depend on, outside tests (DESIGN section 1).
const ALLOWED: [(&str, &[&str]); 12] = [
    ("rateguard-model", &[]),
    ("rateguard-wire", &["rateguard-model"]),
    ("rateguard-api", &["rateguard-model"]),
    ("rateguard-filter", &["rateguard-model"]),
    (
        "rateguard-filter-wasm",
        &["rateguard-filter", "rateguard-model", "rateguard-wire"],
    ),
    ("rateguard-telemetry", &[]),
    (
        "rateguard-ext-ratelimit",
        &["rateguard-model", "rateguard-telemetry", "rateguard-wire"],
    ),
    (
        "rateguard-control-plane",
        &[
            "rateguard-api",
            "rateguard-model",
            "rateguard-telemetry",
            "rateguard-wire",
        ],
    ),
    ("rateguard-cli", &["rateguard-api"]),
    ("rateguard-dashboard", &["rateguard-api", "rateguard-model"]),
    (
        "rateguard-tests",
        &[
            "rateguard-api",
            "rateguard-filter",
            "rateguard-model",
            "rateguard-wire",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that decide and compute, and know no I/O.
const PURE: [&str; 2] = ["rateguard-model", "rateguard-filter"];

/// What must be nowhere below a pure crate.
const IMPURE: [&str; 12] = [
    "proxy-wasm",
    "tokio",
    "tonic",
    "prost",
    "sqlx",
    "sqlx-core",
    "redis",
    "rdkafka",
    "hyper",
    "reqwest",
    "axum",
    "rand",
];

/// Module and folder names that say nothing about what is inside (STYLE 4.1).
const EMPTY_NAMES: [&str; 7] = ["common", "utils", "util", "helpers", "helper", "shared", "misc"];

fn metadata() -> Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(repository());
    serde_json::from_str(&run("cargo metadata", &mut cargo).unwrap()).unwrap()
}

/// Resolved packages: name by id, and the ids each one needs outside its own tests.
struct Graph {
    names: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Graph {
    fn read() -> Self {
        let metadata = metadata();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let is_needed = |dependency: &Value| {
            list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"] != "dev")
        };
        let needs = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let needed = list(&node["deps"])
                    .into_iter()
                    .filter(is_needed)
                    .map(|needed| text(&needed["pkg"]));
                (text(&node["id"]), needed.collect())
            })
            .collect();
        let members = list(&metadata["workspace_members"]).iter().map(text).collect();
        Self {
            names,
            needs,
            members,
        }
    }

    fn name(&self, id: &str) -> &str {
        &self.names[id]
    }

    /// Names of everything below a package.
    fn tree(&self, root: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            for needed in &self.needs[id] {
                if seen.insert(needed.as_str()) {
                    open.push(needed);
                }
            }
        }
        seen.into_iter().map(|id| self.name(id)).collect()
    }
}

#[test]
fn crates_depend_on_each_other_only_as_agreed() {
    let graph = Graph::read();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let ours: BTreeSet<&str> = graph.members.iter().map(|id| graph.name(id)).collect();
    let mut wrong = Vec::new();
    for id in &graph.members {
        let name = graph.name(id);
        let Some(may_need) = allowed.get(name) else {
            wrong.push(format!("{name} has no line in the list of allowed edges"));
            continue;
        };
        for needed in graph.needs[id].iter().map(|needed| graph.name(needed)) {
            if ours.contains(needed) && !may_need.contains(&needed) {
                wrong.push(format!("{name} must not depend on {needed}"));
            }
        }
    }
    let gone = allowed.keys().filter(|name| !ours.contains(*name));
    wrong
        .extend(gone.map(|name| format!("{name} is in the list of allowed edges, but not in the workspace")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_see_no_io() {
    let graph = Graph::read();
    let mut wrong = Vec::new();
    for id in graph.members.iter().filter(|id| PURE.contains(&graph.name(id))) {
        let tree = graph.tree(id);
        wrong.extend(IMPURE.iter().filter(|name| tree.contains(*name)).map(|name| {
            format!(
                "{} has {name} below it (cargo tree -p {} -i {name})",
                graph.name(id),
                graph.name(id)
            )
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_filter_needs_no_runtime_and_no_store() {
    let graph = Graph::read();
    let id = graph
        .members
        .iter()
        .find(|id| graph.name(id) == "rateguard-filter-wasm")
        .unwrap();
    let tree = graph.tree(id);
    // Reached through features that only services switch on, so they show up in a tree of the whole workspace.
    let built_by_services_only = ["tokio", "tonic", "hyper", "axum"];
    let wrong: Vec<&str> = ["sqlx", "redis", "reqwest", "rdkafka"]
        .into_iter()
        .filter(|name| tree.contains(name))
        .collect();
    assert!(wrong.is_empty(), "rateguard-filter-wasm has {wrong:?} below it");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "tree",
        "--locked",
        "-p",
        "rateguard-filter-wasm",
        "-e",
        "normal",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ]);
    let printed = run("cargo tree", cargo.current_dir(repository())).unwrap();
    let alone: BTreeSet<&str> = printed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let wrong: Vec<&str> = built_by_services_only
        .into_iter()
        .filter(|name| alone.contains(name))
        .collect();
    assert!(wrong.is_empty(), "rateguard-filter-wasm has {wrong:?} below it");
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let mut wrong = Vec::new();
    let mut open: Vec<PathBuf> = [
        "proto",
        "filter",
        "ext-ratelimit",
        "control-plane",
        "cli",
        "telemetry",
        "tests",
        "xtask",
    ]
    .map(|top| repository().join(top))
    .into();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            let is_folder = path.is_dir();
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if (is_rust || is_folder) && EMPTY_NAMES.contains(&name.as_str()) {
                wrong.push(below_repository(&path));
            }
            // Recorded bodies, generated code and vendored schemas have names of their own.
            let is_vendored =
                path.parent() == Some(&repository().join("proto/schema")) && name != "rateguard";
            let is_foreign =
                is_vendored || ["fixtures", "gen", "target", "node_modules"].contains(&name.as_str());
            if is_folder && !is_foreign {
                open.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "name the noun instead: {}", wrong.join(", "));
}

fn below_repository(path: &Path) -> String {
    path.strip_prefix(repository())
        .unwrap_or(path)
        .display()
        .to_string()
}
