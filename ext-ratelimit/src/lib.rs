//! The limit service: reserves quotas before a request, settles them after it, and takes usage events to the bus.
//!
//! `grpc` decodes and encodes, `degraded` decides which ledger answers, `ledger` counts, `events` is the bus, `feed`
//! is what the control plane tells us, `sweeper` bills what nobody resolved,
//! `restore` asks what Redis has forgotten.

pub mod clock;
pub mod config;
pub mod degraded;
pub mod events;
pub mod feed;
pub mod grpc;
pub mod http;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod restore;
pub mod serve;
pub mod store;
pub mod sweeper;
pub mod telemetry;
pub mod workers;
