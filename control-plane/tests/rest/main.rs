//! The REST API on a real Postgres.

#[expect(dead_code, reason = "the suites share it; this one needs a part")]
#[path = "../support/mod.rs"]
mod support;

mod apis;
mod auth;
mod budgets;
mod concurrency;
mod costs;
mod document;
mod edge;
mod generated;
mod keys;
mod migrations;
mod openapi;
mod people;
mod prices;
mod program;
mod row_level_security;
mod rules;
mod schemathesis;
mod sql;
mod tenancy;
