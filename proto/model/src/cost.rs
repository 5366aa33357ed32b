//! Cost models and pricing (SPEC 1.5). Prices are nano-USD per 1 000 tokens, so that prices per million stay exact.

use crate::glob;
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
    pub fn prices_of(&self, model: &str) -> Option<(&TokenPrices, u32)> {
        match self
            .models
            .iter()
            .find(|entry| glob::matches(&entry.model, model))
        {
            Some(entry) => Some((&entry.prices, entry.output_tokens())),
            None => self
                .default_prices
                .as_ref()
                .map(|prices| (prices, DEFAULT_OUTPUT_TOKENS)),
        }
    }
}

impl ModelPrices {
    fn output_tokens(&self) -> u32 {
        match self.default_output_tokens {
            0 => DEFAULT_OUTPUT_TOKENS,
            tokens => tokens,
        }
    }
}

/// Tokens that a price is for.
const TOKENS_PER_PRICE: i128 = 1_000;

impl TokenPrices {
    /// Exact sum over all buckets, rounded half up to a nano-USD once, saturating.
    pub fn cost(&self, usage: &TokenUsage) -> NanoUsd {
        let TokenUsage {
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        } = *usage;
        let total = [
            (fresh_input, Some(self.input), self.input),
            (cache_read, self.cache_read, self.input),
            (cache_write_5m, self.cache_write_5m, self.input),
            (cache_write_1h, self.cache_write_1h, self.input),
            (audio_in, self.audio_in, self.input),
            (output_text, Some(self.output), self.output),
            (reasoning, self.reasoning, self.output),
            (audio_out, self.audio_out, self.output),
        ]
        .into_iter()
        .map(|(tokens, price, otherwise)| i128::from(tokens) * i128::from(price.unwrap_or(otherwise).0))
        .fold(TOKENS_PER_PRICE / 2, i128::saturating_add);
        let nanos = total.div_euclid(TOKENS_PER_PRICE);
        NanoUsd(saturate(nanos))
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prices(input: i64, output: i64) -> TokenPrices {
        TokenPrices {
            input: NanoUsd(input),
            output: NanoUsd(output),
            ..TokenPrices::default()
        }
    }

    #[test]
    fn a_price_per_million_is_exact() {
        // 0.15 and 0.60 USD per million tokens: 150 000 and 600 000 nano-USD per thousand.
        let prices = prices(150_000, 600_000);
        let usage = TokenUsage {
            fresh_input: 7,
            output_text: 3,
            ..TokenUsage::default()
        };
        assert_eq!(prices.cost(&usage), NanoUsd(7 * 150 + 3 * 600));
    }

    #[test]
    fn buckets_without_a_price_fall_back() {
        let usage = TokenUsage {
            fresh_input: 1_000,
            cache_read: 1_000,
            cache_write_5m: 1_000,
            cache_write_1h: 1_000,
            audio_in: 1_000,
            output_text: 1_000,
            reasoning: 1_000,
            audio_out: 1_000,
        };
        assert_eq!(prices(1, 100).cost(&usage), NanoUsd(5 + 300));
        let all = TokenPrices {
            input: NanoUsd(1),
            cache_read: Some(NanoUsd(10)),
            cache_write_5m: Some(NanoUsd(100)),
            cache_write_1h: Some(NanoUsd(1_000)),
            audio_in: Some(NanoUsd(10_000)),
            output: NanoUsd(100_000),
            reasoning: Some(NanoUsd(1_000_000)),
            audio_out: Some(NanoUsd(0)),
        };
        assert_eq!(all.cost(&usage), NanoUsd(1_111_111));
    }

    #[test]
    fn halves_are_rounded_up_once() {
        let usage = |fresh_input, output_text| TokenUsage {
            fresh_input,
            output_text,
            ..TokenUsage::default()
        };
        assert_eq!(prices(1, 1).cost(&usage(499, 0)), NanoUsd(0));
        assert_eq!(prices(1, 1).cost(&usage(500, 0)), NanoUsd(1));
        // Two buckets of 0.25: rounded each they would vanish.
        assert_eq!(prices(1, 1).cost(&usage(250, 250)), NanoUsd(1));
    }

    #[test]
    fn the_first_matching_entry_prices_a_model() {
        let entry = |model: &str, input, default_output_tokens| ModelPrices {
            model: model.to_owned(),
            prices: prices(input, 0),
            default_output_tokens,
        };
        let mut pricing = TokenPricing {
            default_prices: None,
            models: vec![entry("gpt-4o-mini*", 1, 0), entry("gpt-4o*", 2, 4_096)],
        };
        let input = |pricing: &TokenPricing, model| {
            pricing
                .prices_of(model)
                .map(|(prices, output)| (prices.input.0, output))
        };
        assert_eq!(
            input(&pricing, "gpt-4o-mini-2024"),
            Some((1, DEFAULT_OUTPUT_TOKENS))
        );
        assert_eq!(input(&pricing, "gpt-4o"), Some((2, 4_096)));
        assert_eq!(input(&pricing, "o3"), None);
        pricing.default_prices = Some(prices(3, 0));
        assert_eq!(input(&pricing, "o3"), Some((3, DEFAULT_OUTPUT_TOKENS)));
    }

    proptest! {
        #[test]
        fn the_sum_is_exact(
            prices in prop::array::uniform3(0_i64..1 << 53), tokens in prop::array::uniform4(0_i64..1 << 60),
        ) {
            let [input, output, read] = prices;
            let [fresh_input, cache_read, output_text, reasoning] = tokens;
            let prices = TokenPrices {
                cache_read: Some(NanoUsd(read)),
                ..super::tests::prices(input, output)
            };
            let usage = TokenUsage { fresh_input, cache_read, output_text, reasoning, ..TokenUsage::default() };
            let mut exact = i128::from(fresh_input) * i128::from(input);
            exact += i128::from(cache_read) * i128::from(read);
            exact += i128::from(output_text) * i128::from(output);
            exact += i128::from(reasoning) * i128::from(output);
            let rounded = exact / 1_000 + i128::from(exact % 1_000 >= 500);
            prop_assert_eq!(i128::from(prices.cost(&usage).0), rounded.min(i64::MAX.into()));
        }

        #[test]
        fn small_sums_are_exact_too(input in 0_i64..10_000, output in 0_i64..10_000, tokens in 0_i64..10_000) {
            let usage = TokenUsage { fresh_input: tokens, audio_out: tokens, ..TokenUsage::default() };
            prop_assert_eq!(prices(input, output).cost(&usage).0, (tokens * (input + output) + 500) / 1_000);
        }

        #[test]
        fn no_figures_panic(input: i64, output: i64, tokens: i64) {
            let usage = TokenUsage {
                fresh_input: tokens,
                cache_read: tokens,
                cache_write_5m: tokens,
                cache_write_1h: tokens,
                output_text: tokens,
                reasoning: tokens,
                audio_in: tokens,
                audio_out: tokens,
            };
            for (input, output) in [(input, output), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
                prices(input, output).cost(&usage);
            }
            let most = TokenUsage { fresh_input: i64::MAX, output_text: i64::MAX, ..usage };
            prop_assert!(tokens < 0 || prices(i64::MAX, i64::MAX).cost(&most) == NanoUsd(i64::MAX));
        }
    }
}
