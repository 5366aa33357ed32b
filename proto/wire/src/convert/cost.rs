//! Cost models. Prices are nano-USD per 1 000 tokens, never negative.

use super::{Invalid, all, amount, into_all, required};
use crate::v1;
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::money::NanoUsd;

impl TryFrom<v1::CostModel> for CostModel {
    type Error = Invalid;

    fn try_from(message: v1::CostModel) -> Result<Self, Invalid> {
        use v1::cost_model::Kind;
        let v1::CostModel { kind } = message;
        match required("CostModel.kind", kind)? {
            Kind::PerRequest(v1::PerRequest { cost_nanos }) => Ok(Self::PerRequest {
                cost: NanoUsd(amount("PerRequest.cost_nanos", cost_nanos)?),
            }),
            Kind::PerToken(v1::PerToken {
                default_prices,
                models,
            }) => Ok(Self::PerToken(TokenPricing {
                default_prices: default_prices.map(TokenPrices::try_from).transpose()?,
                models: all(models)?,
            })),
        }
    }
}

impl From<CostModel> for v1::CostModel {
    fn from(model: CostModel) -> Self {
        use v1::cost_model::Kind;
        let kind = match model {
            CostModel::PerRequest { cost } => Kind::PerRequest(v1::PerRequest { cost_nanos: cost.0 }),
            CostModel::PerToken(TokenPricing {
                default_prices,
                models,
            }) => Kind::PerToken(v1::PerToken {
                default_prices: default_prices.map(Into::into),
                models: into_all(models),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::ModelPrices> for ModelPrices {
    type Error = Invalid;

    fn try_from(message: v1::ModelPrices) -> Result<Self, Invalid> {
        let v1::ModelPrices {
            model,
            prices,
            default_output_tokens,
        } = message;
        Ok(Self {
            model,
            prices: required("ModelPrices.prices", prices)?.try_into()?,
            default_output_tokens,
        })
    }
}

impl From<ModelPrices> for v1::ModelPrices {
    fn from(prices: ModelPrices) -> Self {
        let ModelPrices {
            model,
            prices,
            default_output_tokens,
        } = prices;
        Self {
            model,
            prices: Some(prices.into()),
            default_output_tokens,
        }
    }
}

impl TryFrom<v1::TokenPrices> for TokenPrices {
    type Error = Invalid;

    fn try_from(message: v1::TokenPrices) -> Result<Self, Invalid> {
        let v1::TokenPrices {
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            reasoning,
            audio_in,
            audio_out,
        } = message;
        let optional = |field, price: Option<i64>| price.map(|p| money(field, p)).transpose();
        Ok(Self {
            input: money("TokenPrices.input", input)?,
            output: money("TokenPrices.output", output)?,
            cache_read: optional("TokenPrices.cache_read", cache_read)?,
            cache_write_5m: optional("TokenPrices.cache_write_5m", cache_write_5m)?,
            cache_write_1h: optional("TokenPrices.cache_write_1h", cache_write_1h)?,
            audio_in: optional("TokenPrices.audio_in", audio_in)?,
            reasoning: optional("TokenPrices.reasoning", reasoning)?,
            audio_out: optional("TokenPrices.audio_out", audio_out)?,
        })
    }
}

fn money(field: &'static str, nanos: i64) -> Result<NanoUsd, Invalid> {
    amount(field, nanos).map(NanoUsd)
}

impl From<TokenPrices> for v1::TokenPrices {
    fn from(prices: TokenPrices) -> Self {
        let TokenPrices {
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            audio_in,
            reasoning,
            audio_out,
        } = prices;
        let nanos = |price: Option<NanoUsd>| price.map(|p| p.0);
        Self {
            input: input.0,
            output: output.0,
            cache_read: nanos(cache_read),
            cache_write_5m: nanos(cache_write_5m),
            cache_write_1h: nanos(cache_write_1h),
            reasoning: nanos(reasoning),
            audio_in: nanos(audio_in),
            audio_out: nanos(audio_out),
        }
    }
}
