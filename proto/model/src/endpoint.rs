//! Endpoint patterns over the upstream path (SPEC 1.3): `*` within a segment, `**` across segments, nothing = all.

/// A pattern that was checked when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPattern(String);

/// Why a pattern is refused when a rule is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("must start with / or be **")]
    NoSlash,
    #[error("longer than 256 bytes")]
    TooLong,
    #[error("more than 8 wildcards")]
    TooManyWildcards,
    #[error("has a query, a fragment, a space or a control character")]
    Character,
}

impl EndpointPattern {
    pub fn parse(_pattern: &str) -> Result<Self, InvalidPattern> {
        todo!()
    }

    /// Matches the exact bytes of a path sent upstream, without its query. `%2f` is no separator.
    pub fn matches(&self, _path: &[u8]) -> bool {
        todo!()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path as events name it: segments that look like ids (UUIDs, digits, long hex or random text) become `{id}`.
pub fn template(_path: &str) -> String {
    todo!()
}
