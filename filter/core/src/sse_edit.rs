//! Hides the usage chunk that the client did not ask for.

use std::borrow::Cow;

/// Takes an OpenAI stream and gives back what may go on.
#[derive(Debug, Default)]
pub struct UsageChunkHider;

impl UsageChunkHider {
    /// `Borrowed` only if the whole chunk goes on as it is.
    pub fn push<'c>(&mut self, chunk: &'c [u8]) -> Cow<'c, [u8]> {
        Cow::Borrowed(chunk)
    }

    /// What is still held, untouched.
    pub fn finish(self) -> Vec<u8> {
        Vec::new()
    }
}
