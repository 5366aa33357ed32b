//! Reads the few fields of a request body that limits and prices need, and splices in one of them.

/// Whose request this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    OpenAiChatCompletions,
    AnthropicMessages,
    Other,
}

impl Dialect {
    /// `path` is the upstream's; a query is ignored.
    pub fn of(_path: &[u8], _facts: &RequestFacts) -> Self {
        Self::Other
    }
}

/// What a request body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub model: Option<String>,
    pub stream: bool,
    /// Per choice.
    pub max_output_tokens: Option<u64>,
    /// `n` of OpenAI: how many answers are asked for.
    pub choice_count: Option<u64>,
    pub include_usage: Option<bool>,
}

/// Why a body cannot be governed; the display text is safe to show to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the request body is not valid JSON")]
    NotJson,
    #[error("the request body is not a JSON object")]
    NotAnObject,
    #[error("{field} is there twice")]
    Duplicate { field: &'static str },
    #[error("{field} has the wrong type")]
    WrongType { field: &'static str },
}

pub fn read(_body: &[u8]) -> Result<RequestFacts, RequestBodyError> {
    Ok(RequestFacts::default())
}

/// The body with `stream_options.include_usage` true; `None` if nothing is to be changed.
pub fn inject_include_usage(_body: &[u8], _facts: &RequestFacts) -> Option<Vec<u8>> {
    None
}
