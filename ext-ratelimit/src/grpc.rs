//! The gRPC side: decode → one ledger call → encode.

pub mod auth;
mod decode;
mod encode;
mod last_states;
pub mod server;
mod service;

pub use last_states::LastStates;
pub use service::Limits;
