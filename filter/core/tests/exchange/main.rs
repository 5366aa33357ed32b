//! Events in, effects out: what the exchange machine makes of whole requests.

mod admission;
mod forwarding;
mod refusals;
mod responses;
mod support;
