//! Reads what a response consumed, while its bytes pass (SPEC 1.6).

use rateguard_model::usage::{TokenUsage, UsageFormat, UsageSource};

/// What the body said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub tokens: Option<TokenUsage>,
    pub source: Option<UsageSource>,
    pub model: Option<String>,
    /// A key of the usage was there twice, or its figures contradict each other.
    pub irregular: bool,
}

/// Follows one response body.
#[derive(Debug)]
pub struct Reader;

impl Reader {
    pub fn for_response(
        _format: UsageFormat,
        _content_type: Option<&[u8]>,
        _content_encoding: Option<&[u8]>,
    ) -> Self {
        Self
    }

    pub fn push(&mut self, _chunk: &[u8]) {}

    pub fn finish(self, _complete: bool) -> Reading {
        Reading::default()
    }
}
