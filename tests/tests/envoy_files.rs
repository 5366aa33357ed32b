//! Every configuration in `envoy/` is accepted by the real Envoy.

use std::path::PathBuf;

use rateguard_tests::stack::artifacts::{FilterBuild, filter_wasm, repository};
use rateguard_tests::stack::envoy::{self, Placeholders};
use rateguard_tests::stack::ports;

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![repository().join("envoy")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "json")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_is_loaded() {
    let files = files();
    assert!(!files.is_empty(), "envoy/ has no configuration");
    let folder = tempfile::tempdir().unwrap();
    let port = || ports::free().unwrap().to_string();
    let values = Placeholders::from([
        ("GATEWAY_ADDRESS", "127.0.0.1".to_owned()),
        ("GATEWAY_PORT", port()),
        ("ADMIN_PORT", port()),
        (
            "FILTER_WASM",
            filter_wasm(FilterBuild::Plain).unwrap().display().to_string(),
        ),
        ("LIMITS_HOST", "127.0.0.1".to_owned()),
        ("LIMITS_PORT", port()),
        ("CONTROL_PLANE_HOST", "127.0.0.1".to_owned()),
        ("CONTROL_PLANE_PORT", port()),
        ("DATA_PLANE_TOKEN", format!("rgdp_{}", "A".repeat(43))),
        ("RESERVE_TIMEOUT_MS", "150".to_owned()),
        ("NODE_ID", "validated".to_owned()),
        ("API_HOST", "llm.mesh.internal".to_owned()),
        ("UPSTREAM_HOST", "127.0.0.1".to_owned()),
        ("UPSTREAM_PORT", port()),
        ("CORS_ORIGINS_REGEX", ".*".to_owned()),
        ("CA_FILE", envoy::authorities().unwrap().display().to_string()),
    ]);
    for file in files {
        let name = file.file_name().unwrap();
        let rendered = folder.path().join(name);
        envoy::render_file(&file, &rendered, &values).unwrap();
        if let Err(error) = envoy::validate(&rendered) {
            panic!("{}: {error:#}", file.display());
        }
    }
}
