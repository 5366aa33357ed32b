//! Column `api.cost_model`: a cost model as JSON, amounts in nano-USD.
//!
//! Not the REST form: what is stored must stay readable when the REST form grows.

use crate::hex;
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::digest::Digest;
use rateguard_model::money::NanoUsd;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Stored {
    #[serde(rename = "PER_REQUEST")]
    PerRequest { cost: i64 },
    #[serde(rename = "PER_TOKEN")]
    PerToken {
        default: Option<StoredPrices>,
        models: Vec<StoredModel>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredModel {
    model: String,
    prices: StoredPrices,
    default_output_tokens: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPrices {
    input: i64,
    output: i64,
    cache_read: Option<i64>,
    cache_write_5m: Option<i64>,
    cache_write_1h: Option<i64>,
    audio_in: Option<i64>,
    reasoning: Option<i64>,
    audio_out: Option<i64>,
}

/// The column's value.
pub fn to_json(model: &CostModel) -> Value {
    // Strings and integers only: serialising cannot fail.
    serde_json::to_value(stored(model)).unwrap_or(Value::Null)
}

fn stored(model: &CostModel) -> Stored {
    match model {
        CostModel::PerRequest { cost } => Stored::PerRequest { cost: cost.0 },
        CostModel::PerToken(TokenPricing {
            default_prices,
            models,
        }) => Stored::PerToken {
            default: default_prices.as_ref().map(store_prices),
            models: models.iter().map(store_model).collect(),
        },
    }
}

/// Reads the column's value.
pub fn from_json(value: Value) -> Result<CostModel, serde_json::Error> {
    Ok(match serde_json::from_value(value)? {
        Stored::PerRequest { cost } => CostModel::PerRequest { cost: NanoUsd(cost) },
        Stored::PerToken { default, models } => CostModel::PerToken(TokenPricing {
            default_prices: default.as_ref().map(load_prices),
            models: models.into_iter().map(load_model).collect(),
        }),
    })
}

/// One entry of PER_TOKEN as the column `price_override.entry` keeps it.
pub fn entry_to_json(entry: &ModelPrices) -> Value {
    // Strings and integers only: serialising cannot fail.
    serde_json::to_value(store_model(entry)).unwrap_or(Value::Null)
}

/// Reads the column's value.
pub fn entry_from_json(value: Value) -> Result<ModelPrices, serde_json::Error> {
    serde_json::from_value(value).map(load_model)
}

/// Names a cost model in events: the same prices have the same version.
pub fn price_version(model: Option<&CostModel>) -> String {
    let Some(model) = model else {
        return "unpriced".to_owned();
    };
    // Fields in the order of the structs, which no build setting changes.
    let text = serde_json::to_string(&stored(model)).unwrap_or_default();
    let digest = Digest::of(text.as_bytes());
    let id: String = hex::encode(digest.as_bytes()).chars().take(16).collect();
    format!("prices-{id}")
}

fn store_model(model: &ModelPrices) -> StoredModel {
    let ModelPrices {
        model,
        prices,
        default_output_tokens,
    } = model;
    StoredModel {
        model: model.clone(),
        prices: store_prices(prices),
        default_output_tokens: *default_output_tokens,
    }
}

fn load_model(stored: StoredModel) -> ModelPrices {
    let StoredModel {
        model,
        prices,
        default_output_tokens,
    } = stored;
    ModelPrices {
        model,
        prices: load_prices(&prices),
        default_output_tokens,
    }
}

fn store_prices(prices: &TokenPrices) -> StoredPrices {
    let nanos = |price: Option<NanoUsd>| price.map(|p| p.0);
    let &TokenPrices {
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        audio_in,
        reasoning,
        audio_out,
    } = prices;
    StoredPrices {
        input: input.0,
        output: output.0,
        cache_read: nanos(cache_read),
        cache_write_5m: nanos(cache_write_5m),
        cache_write_1h: nanos(cache_write_1h),
        audio_in: nanos(audio_in),
        reasoning: nanos(reasoning),
        audio_out: nanos(audio_out),
    }
}

fn load_prices(stored: &StoredPrices) -> TokenPrices {
    let nanos = |price: Option<i64>| price.map(NanoUsd);
    let &StoredPrices {
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        audio_in,
        reasoning,
        audio_out,
    } = stored;
    TokenPrices {
        input: NanoUsd(input),
        output: NanoUsd(output),
        cache_read: nanos(cache_read),
        cache_write_5m: nanos(cache_write_5m),
        cache_write_1h: nanos(cache_write_1h),
        audio_in: nanos(audio_in),
        reasoning: nanos(reasoning),
        audio_out: nanos(audio_out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let prices = TokenPrices {
            input: NanoUsd(150_000),
            output: NanoUsd(600_000),
            cache_read: Some(NanoUsd(75_000)),
            ..TokenPrices::default()
        };
        let model = CostModel::PerToken(TokenPricing {
            default_prices: Some(prices),
            models: vec![ModelPrices {
                model: "gpt-4o*".to_owned(),
                prices,
                default_output_tokens: 300,
            }],
        });
        assert_eq!(from_json(to_json(&model)).unwrap(), model);
        let per_request = CostModel::PerRequest {
            cost: NanoUsd(i64::MAX),
        };
        assert_eq!(from_json(to_json(&per_request)).unwrap(), per_request);
    }

    #[test]
    fn the_price_version_follows_the_prices() {
        let one = CostModel::PerRequest { cost: NanoUsd(1) };
        let two = CostModel::PerRequest { cost: NanoUsd(2) };
        assert_eq!(price_version(Some(&one)), price_version(Some(&one)));
        assert_ne!(price_version(Some(&one)), price_version(Some(&two)));
        assert_eq!(price_version(None), "unpriced");
    }
}
