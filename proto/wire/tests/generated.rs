//! The generated code in `src/gen` is what the schema in `proto/schema` gives: regenerates it into a temporary folder
//! and compares. `UPDATE_GENERATED=1 cargo test -p rateguard-wire --test generated` rewrites the committed files.

use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Messages whose derived `Debug` would print an upstream credential; `src/redacted.rs` implements it instead.
const SECRET: [&str; 2] = [".rateguard.v1.UpstreamAuth", ".rateguard.v1.ApiKeyHeader"];

const OURS: [&str; 5] = [
    "rateguard/v1/quota.proto",
    "rateguard/v1/event.proto",
    "rateguard/v1/limits.proto",
    "rateguard/v1/config.proto",
    "rateguard/v1/spend.proto",
];

const ENVOY: &str = "envoy/service/ratelimit/v3/rls.proto";

/// Packages that only annotate: nothing of them is on the wire.
const ANNOTATIONS: [&str; 4] = [
    "envoy.annotations",
    "udpa.annotations",
    "validate",
    "xds.annotations.v3",
];

#[test]
fn generated_code_is_up_to_date() {
    let fresh = tempfile::tempdir().expect("temporary folder");
    generate_ours(fresh.path());
    generate_envoy(&fresh.path().join("envoy"));

    let committed = crate_dir().join("src/gen");
    if update_asked_for() {
        replace(fresh.path(), &committed);
    }
    let (expected, actual) = (files(fresh.path()), files(&committed));
    let differing: BTreeSet<_> = expected
        .keys()
        .chain(actual.keys())
        .filter(|name| expected.get(*name) != actual.get(*name))
        .collect();
    assert!(
        differing.is_empty(),
        "src/gen differs from proto/schema in {differing:?}; run \
         `UPDATE_GENERATED=1 cargo test -p rateguard-wire --test generated` and commit the result"
    );
}

fn generate_ours(out: &Path) {
    let mut compiler = compile(&OURS);
    // Comments become rustdoc; reflection has no use for them.
    let with_comments = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    let descriptors = compiler.file_descriptor_set().encode_to_vec();
    std::fs::write(out.join("rateguard.bin"), descriptors).expect("descriptors written");

    builder(out)
        .skip_debug(SECRET)
        .compile_fds(with_comments)
        .expect("code generated");
}

/// Without comments: Envoy's are reStructuredText, which rustdoc would take for doctests.
fn generate_envoy(out: &Path) {
    std::fs::create_dir(out).expect("folder made");
    let mut descriptors = compile(&[ENVOY]).include_source_info(false).file_descriptor_set();
    descriptors
        .file
        .retain(|file| !ANNOTATIONS.contains(&file.package()));
    builder(out)
        .include_file("mod.rs")
        .compile_fds(descriptors)
        .expect("code generated");
}

fn compile(protos: &[&str]) -> protox::Compiler {
    let schema = crate_dir().join("../schema");
    let mut compiler = protox::Compiler::new([&schema]).expect("schema folder");
    compiler.include_imports(true).include_source_info(true);
    compiler
        .open_files(protos)
        .unwrap_or_else(|error| panic!("{error:?}"));
    compiler
}

fn builder(out: &Path) -> tonic_prost_build::Builder {
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .btree_map(".")
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one switch of a test that can also repair what it checks"
)]
fn update_asked_for() -> bool {
    std::env::var("UPDATE_GENERATED").is_ok_and(|value| value == "1")
}

/// Path and bytes of every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("folder entry").path();
        let name = PathBuf::from(path.file_name().expect("file name"));
        if path.is_dir() {
            found.extend(
                files(&path)
                    .into_iter()
                    .map(|(below, bytes)| (name.join(below), bytes)),
            );
        } else {
            found.insert(name, std::fs::read(&path).expect("file read"));
        }
    }
    found
}

fn replace(fresh: &Path, committed: &Path) {
    for name in files(committed).keys() {
        std::fs::remove_file(committed.join(name)).expect("stale file removed");
    }
    for (name, bytes) in files(fresh) {
        let path = committed.join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder made");
        std::fs::write(path, bytes).expect("file written");
    }
}
