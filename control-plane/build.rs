//! Says what else the macros of sqlx read, so that a change of it compiles the crate again.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=.sqlx");
    // `cargo xtask sqlx` gives a new folder each time.
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE_DIR");
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE");
}
