//! The gRPC side: decode → one ledger call → encode.

pub mod auth;
mod decode;
mod encode;
mod last_states;
mod resolve;
pub mod server;
mod service;
mod usage;

pub use last_states::LastStates;
pub use resolve::Resolver;
pub use service::Limits;
pub use usage::Usage;
