//! Rows to what a data plane runs on: [`compile`] turns rows into the feed's messages, [`image::Image`] holds all of
//! them with the versions at which they changed, and an [`Audience`] says which of them a client may see.

pub mod audience;
pub mod compile;
pub mod image;
pub mod row;

pub use audience::{Audience, Role};
pub use compile::{Change, Compiled, Problem, compile};
pub use image::Image;

/// Changes whenever the same row compiles to another message, so that a new program's clients start over with everything.
pub const FORMAT: u32 = 1;
