//! How a request of the log is said in words.

use crate::ui::Tone;
use rateguard_api::analytics::Event;
use rateguard_model::error_code::ErrorCode;

/// Why requests are refused or fail, as far as one filters by it.
pub const REASONS: [ErrorCode; 12] = [
    ErrorCode::RateLimited,
    ErrorCode::BudgetExceeded,
    ErrorCode::InvalidApiKey,
    ErrorCode::ExpiredApiKey,
    ErrorCode::Forbidden,
    ErrorCode::ModelNotAllowed,
    ErrorCode::ModelNotPriced,
    ErrorCode::ValidationError,
    ErrorCode::ApiNotFound,
    ErrorCode::UpstreamError,
    ErrorCode::UpstreamTimeout,
    ErrorCode::CircuitOpen,
];

/// `rate_limited` as `Rate limited`.
pub fn plain(name: &str) -> String {
    let mut text = name.replace('_', " ").replace("api", "API");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// The answer's status.
pub fn status(event: &Event) -> (Tone, String) {
    let Some(status) = event.status_code else {
        return (Tone::Plain, "–".to_owned());
    };
    let tone = match status {
        ..400 => Tone::Good,
        400..500 => Tone::Warn,
        _ => Tone::Bad,
    };
    (tone, status.to_string())
}

/// Input and output tokens as headers and limits count them (SPEC 1.6).
pub fn tokens(event: &Event) -> (i64, i64) {
    let tokens = &event.tokens;
    (
        tokens.input + tokens.cached + tokens.cache_write,
        tokens.output + tokens.reasoning,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words() {
        assert_eq!(plain("rate_limited"), "Rate limited");
        assert_eq!(plain("api_not_found"), "API not found");
        assert_eq!(plain(""), "");
        assert_eq!(plain("é_x"), "é x");
    }
}
