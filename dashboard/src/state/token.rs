//! The access token and its age.

/// Tokens live 15 minutes; they are renewed before.
const RENEW_AFTER_MS: f64 = 14.0 * 60_000.0;

pub struct Token {
    text: String,
    since_ms: f64,
}

impl Token {
    pub fn new(text: String, now_ms: f64) -> Self {
        Self {
            text,
            since_ms: now_ms,
        }
    }

    /// Old enough to be renewed. A clock that was set back says so too.
    pub fn is_stale(&self, now_ms: f64) -> bool {
        let age = now_ms - self.since_ms;
        !(0.0..RENEW_AFTER_MS).contains(&age)
    }

    pub fn header(&self) -> String {
        format!("Bearer {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_14_minutes() {
        let token = Token::new("t".to_owned(), 1_000.0);
        assert!(!token.is_stale(1_000.0));
        assert!(!token.is_stale(1_000.0 + 14.0 * 60_000.0 - 1.0));
        assert!(token.is_stale(1_000.0 + 14.0 * 60_000.0));
        assert!(token.is_stale(0.0), "the clock was set back");
    }
}
