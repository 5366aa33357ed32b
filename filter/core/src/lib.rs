//! (skeleton)

mod json;
pub mod request_body;
pub mod sse_edit;
pub mod usage;
