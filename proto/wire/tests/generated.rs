//! The generated code in `src/gen` is what the schema in `proto/schema` gives: regenerates it into a temporary folder
//! and compares. `UPDATE_GENERATED=1 cargo test -p rateguard-wire --test generated` rewrites the committed files.

use prost::Message as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Messages whose derived `Debug` would print an upstream credential; `src/redacted.rs` implements it instead.
const SECRET: [&str; 2] = [".rateguard.v1.UpstreamAuth", ".rateguard.v1.ApiKeyHeader"];

const OURS: [&str; 4] = [
    "rateguard/v1/quota.proto",
    "rateguard/v1/event.proto",
    "rateguard/v1/limits.proto",
    "rateguard/v1/config.proto",
];

#[test]
fn generated_code_is_up_to_date() {
    let fresh = tempfile::tempdir().expect("temporary folder");
    generate(fresh.path(), &OURS, "rateguard.bin");

    let committed = crate_dir().join("src/gen");
    if update_asked_for() {
        replace(fresh.path(), &committed);
    }
    let (expected, actual) = (files(fresh.path()), files(&committed));
    let differing: Vec<_> = expected
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

fn generate(out: &Path, protos: &[&str], descriptors: &str) {
    let schema = crate_dir().join("../schema");
    let mut compiler = protox::Compiler::new([&schema]).expect("schema folder");
    compiler.include_imports(true).include_source_info(true);
    compiler
        .open_files(protos)
        .unwrap_or_else(|error| panic!("{error:?}"));

    // Comments become rustdoc; reflection has no use for them.
    let with_comments = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    let bare = compiler.file_descriptor_set();
    std::fs::write(out.join(descriptors), bare.encode_to_vec()).expect("descriptors written");

    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .btree_map(".")
        .skip_debug(SECRET)
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .compile_fds(with_comments)
        .expect("code generated");
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

/// Name and bytes of every file of a folder without subfolders.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let entry = entry.expect("folder entry");
            let bytes = std::fs::read(entry.path()).expect("file read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

fn replace(fresh: &Path, committed: &Path) {
    for name in files(committed).keys() {
        std::fs::remove_file(committed.join(name)).expect("stale file removed");
    }
    for (name, bytes) in files(fresh) {
        std::fs::write(committed.join(name), bytes).expect("file written");
    }
}
