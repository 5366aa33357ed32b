//! Cost models and pricing (SPEC 1.5). Prices are nano-USD per 1 000 tokens, so that prices per million stay exact.

use crate::money::NanoUsd;
use crate::usage::TokenUsage;

/// How an API's requests are priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostModel {
    /// Every request that the upstream answered costs the same.
    PerRequest {
        cost: NanoUsd,
    },
    PerToken(TokenPricing),
}

/// Prices by model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenPricing {
    /// For models that no entry matches; `None`: such a model is unpriced.
    pub default_prices: Option<TokenPrices>,
    /// The first whose pattern matches wins.
    pub models: Vec<ModelPrices>,
}

/// Prices of the models that a glob matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrices {
    /// `*` stands for any run of characters, also an empty one.
    pub model: String,
    pub prices: TokenPrices,
    /// Assumed output of a request that names no maximum; 0: [`DEFAULT_OUTPUT_TOKENS`].
    pub default_output_tokens: u32,
}

/// Assumed output of a request that names no maximum and whose model has no default of its own.
pub const DEFAULT_OUTPUT_TOKENS: u32 = 1_000;

/// nano-USD per 1 000 tokens of each bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenPrices {
    pub input: NanoUsd,
    pub output: NanoUsd,
    /// These five fall back to `input`.
    pub cache_read: Option<NanoUsd>,
    pub cache_write_5m: Option<NanoUsd>,
    pub cache_write_1h: Option<NanoUsd>,
    pub audio_in: Option<NanoUsd>,
    /// These two fall back to `output`.
    pub reasoning: Option<NanoUsd>,
    pub audio_out: Option<NanoUsd>,
}

impl TokenPricing {
    /// Prices of a model and the output to assume for it; `None` if it is unpriced.
    pub fn prices_of(&self, _model: &str) -> Option<(&TokenPrices, u32)> {
        todo!()
    }
}

impl TokenPrices {
    /// Exact sum over all buckets, rounded half up to a nano-USD once, saturating.
    pub fn cost(&self, _usage: &TokenUsage) -> NanoUsd {
        todo!()
    }
}
