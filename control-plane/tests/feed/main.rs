//! The configuration feed and Envoy's clusters on a real Postgres: changes are made through one program, polls are
//! answered by another.

#[expect(dead_code, reason = "the suites share it; this one needs a part")]
#[path = "../support/mod.rs"]
mod support;

mod away;
mod clusters;
mod delta;
mod hang;
mod inventory;
mod key_uses;
mod migrations;
mod pages;
mod refuse;
mod replica;
mod restart;
mod roles;
mod rotation;
mod seed;
mod shortage;
