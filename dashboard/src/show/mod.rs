//! How values look: money, numbers, times. Pure, but for the one question to the browser what a zone's offset is.

pub mod money;
pub mod number;
pub mod time;
pub mod zone;
