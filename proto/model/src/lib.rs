//! RateGuard's nouns, units and pure arithmetic: what every program must agree on.
//!
//! No I/O, no clock, no randomness: time, ids and random bytes come in as parameters. Money is integer nano-USD,
//! times are Unix milliseconds, and nothing here panics on any input.

pub mod api_key;
pub mod budget;
pub mod cost;
pub mod digest;
pub mod endpoint;
pub mod enforced;
pub mod error_code;
pub mod event;
pub mod glob;
pub mod id;
pub mod money;
pub mod name;
pub mod partition;
pub mod proxy_path;
pub mod quota;
pub mod resource;
pub mod rule;
pub mod usage;
pub mod window;
