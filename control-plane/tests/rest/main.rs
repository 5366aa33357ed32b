//! The REST API on a real Postgres.

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
