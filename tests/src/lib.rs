//! (skeleton)
pub mod fault_server;
pub mod proxy;
pub mod stub;
