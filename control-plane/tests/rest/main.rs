//! The REST API on a real Postgres.

#[expect(dead_code, reason = "the suites share it; this one needs a part")]
#[path = "../support/mod.rs"]
mod support;

mod apis;
mod auth;
mod costs;
mod edge;
mod keys;
mod openapi;
mod program;
mod rules;
mod tenancy;
