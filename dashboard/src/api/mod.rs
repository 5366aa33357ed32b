//! Talking to the control plane: the only place that fetches.

mod call;
mod client;
mod failure;
pub mod gateway;
mod load;
mod log;

pub use call::Call;
pub use client::{Client, use_client};
pub use failure::{Failure, sentence};
pub use load::{Load, Loaded, Pages, Send, use_load, use_pages, use_poll, use_send};
pub use log::{LogLoad, use_log};

/// The answer of a call whose body does not matter.
pub type Ignored = serde::de::IgnoredAny;
