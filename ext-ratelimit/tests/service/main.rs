//! The limit service as its callers meet it: a real server, a real redis-server, and a control plane's feed.

mod auth;
mod events;
mod harness;
mod limits;
mod outage;
mod process;
mod restore;
mod usage;
