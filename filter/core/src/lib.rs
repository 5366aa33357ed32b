//! The exchange machine of the filter: decides, prices and words everything that happens to a request.
//!
//! Pure: events in, effects out. No proxy-wasm, no clock, no randomness, no I/O; the adapter in `filter/wasm` has
//! those. Nothing here panics on any input: a panic would take down all requests of an Envoy worker.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod admitter;
pub mod averages;
mod base64;
pub mod config;
pub mod edits;
pub mod effect;
pub mod endpoints;
pub mod estimate;
pub mod event;
pub mod exchange;
pub mod fallback;
pub mod headers;
pub mod identify;
mod json;
pub mod lease;
pub mod limits;
pub mod local_reply;
pub mod outbox;
pub mod path;
pub mod policy;
pub mod renewal;
pub mod reply;
pub mod request_body;
pub mod snapshot;
pub mod sse_edit;
pub mod tags;
pub mod text;
pub mod trace;
pub mod usage;
