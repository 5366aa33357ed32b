//! What the end-to-end suites stand on: a [`stack::Stack`] of every real server, on free ports, in its own folder.
//!
//! Tests in this crate panic rather than return errors: a panic is what makes the Stack print the logs of its
//! programs.

pub mod browser;
pub mod cpu;
pub mod dns;
pub mod fault_server;
pub mod feed_fault;
pub mod load;
pub mod proxy;
pub mod reported;
pub mod scene;
pub mod stack;
pub mod stub;
