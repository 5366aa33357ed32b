//! What one request consumed, in disjoint buckets (SPEC 1.6).

use crate::name::names;

/// Token counts; buckets never overlap, totals are derived. Non-negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub fresh_input: i64,
    pub cache_read: i64,
    pub cache_write_5m: i64,
    pub cache_write_1h: i64,
    pub output_text: i64,
    pub reasoning: i64,
    pub audio_in: i64,
    pub audio_out: i64,
}

impl TokenUsage {
    /// Fresh + all cache + audio in.
    pub fn input_tokens(&self) -> i64 {
        [
            self.fresh_input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_in,
        ]
        .into_iter()
        .fold(0, i64::saturating_add)
    }

    /// Text + reasoning + audio out.
    pub fn output_tokens(&self) -> i64 {
        self.output_text
            .saturating_add(self.reasoning)
            .saturating_add(self.audio_out)
    }

    pub fn total_tokens(&self) -> i64 {
        self.input_tokens().saturating_add(self.output_tokens())
    }
}

/// Where an event's usage came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageSource {
    Reported,
    Partial,
    Estimated,
    Reserved,
}

names!(UsageSource {
    Reported: "reported",
    Partial: "partial",
    Estimated: "estimated",
    Reserved: "reserved",
});

/// How a provider writes usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageFormat {
    #[default]
    Auto,
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
    Cohere,
    Generic,
    None,
}

names!(UsageFormat {
    Auto: "auto",
    OpenAi: "openai",
    Anthropic: "anthropic",
    Gemini: "gemini",
    Bedrock: "bedrock",
    Cohere: "cohere",
    Generic: "generic",
    None: "none",
});
