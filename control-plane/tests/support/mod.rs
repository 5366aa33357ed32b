//! What the tests of this crate stand on: a real Postgres, and the program's router on a database of its own.

pub(crate) mod app;
pub(crate) mod postgres;
