//! What a request will probably use (SPEC 1.4): what is reserved, and what is charged if nobody can tell better.

use crate::request_body::RequestFacts;
use rateguard_model::cost::{CostModel, DEFAULT_OUTPUT_TOKENS, TokenPrices};
use rateguard_model::money::NanoUsd;
use rateguard_model::resource::{Api, UnpricedModelPolicy};
use rateguard_model::usage::TokenUsage;

/// Bytes of a request body that make one input token, as a rule of thumb over JSON and English.
const BYTES_PER_TOKEN: u64 = 4;

/// An upper guess, and how the real figures will be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    pub usage: TokenUsage,
    pub cost: NanoUsd,
    pub pricing: Pricing,
}

/// How a request's usage becomes money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pricing {
    /// No cost model.
    Free,
    /// For every request that the upstream answered.
    Flat(NanoUsd),
    Tokens(Box<TokenPrices>),
    /// The workspace lets models without a price through.
    Unpriced,
}

/// The workspace blocks models without a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model has no price")]
pub struct NotPriced;

impl Estimate {
    /// `facts` is `None` when there is no body to read: such a request uses no tokens. `learned_output` is what the
    /// model usually answers to the key; without it, the model's default is assumed.
    pub fn of(
        api: &Api,
        facts: Option<&RequestFacts>,
        body_bytes: u64,
        learned_output: Option<u64>,
        unpriced: UnpricedModelPolicy,
    ) -> Result<Self, NotPriced> {
        let model = facts.and_then(|facts| facts.model.as_deref());
        let (pricing, assumed_output) = match (&api.cost_model, facts) {
            (None, _) => (Pricing::Free, DEFAULT_OUTPUT_TOKENS),
            (Some(CostModel::PerRequest { cost }), _) => (Pricing::Flat(*cost), DEFAULT_OUTPUT_TOKENS),
            (Some(CostModel::PerToken(pricing)), Some(_)) => match pricing
                .prices_of(model.unwrap_or_default())
            {
                Some((prices, assumed)) => (Pricing::Tokens(Box::new(*prices)), assumed),
                None if unpriced == UnpricedModelPolicy::Allow => (Pricing::Unpriced, DEFAULT_OUTPUT_TOKENS),
                None => return Err(NotPriced),
            },
            (Some(CostModel::PerToken(pricing)), None) => {
                let prices = pricing.default_prices.unwrap_or_default();
                (Pricing::Tokens(Box::new(prices)), DEFAULT_OUTPUT_TOKENS)
            }
        };
        let usage = facts.map_or_else(TokenUsage::default, |facts| {
            guess(
                facts,
                body_bytes,
                learned_output.unwrap_or(u64::from(assumed_output)),
            )
        });
        let cost = pricing.cost(&usage);
        Ok(Self { usage, cost, pricing })
    }
}

impl Pricing {
    /// What usage costs.
    pub fn cost(&self, usage: &TokenUsage) -> NanoUsd {
        match self {
            Self::Free | Self::Unpriced => NanoUsd::ZERO,
            Self::Flat(cost) => *cost,
            Self::Tokens(prices) => prices.cost(usage),
        }
    }

    /// Whether the cost depends on what the response says.
    pub fn needs_usage(&self) -> bool {
        matches!(self, Self::Tokens(_))
    }
}

fn guess(facts: &RequestFacts, body_bytes: u64, assumed_output: u64) -> TokenUsage {
    let output = facts
        .max_output_tokens
        .unwrap_or(assumed_output)
        .saturating_mul(facts.choice_count.unwrap_or(1).max(1));
    TokenUsage {
        fresh_input: signed(body_bytes.div_ceil(BYTES_PER_TOKEN)),
        output_text: signed(output),
        ..TokenUsage::default()
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
