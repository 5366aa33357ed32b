//! The gRPC side: decode → one ledger call → encode.

pub mod auth;
mod decode;
mod encode;
pub mod server;
mod service;

pub use service::Limits;
