//! Cost models: the REST form to the model's, and back.

use super::super::error::Faults;
use rateguard_api::api::{self as body, ModelPrices as BodyModel, TokenPrices as BodyPrices};
use rateguard_api::decimal::Cents;
use rateguard_api::name::CostModelType;
use rateguard_model::cost::{CostModel, ModelPrices, TokenPrices, TokenPricing};
use rateguard_model::enforced;
use rateguard_model::money::{NANO_USD_MAX, NanoUsd};

const MODELS_MAX: usize = 500;
const PATTERN_BYTES_MAX: usize = 200;
const OUTPUT_TOKENS_MAX: u32 = 10_000_000;

/// Checks a cost model. `None` if something is wrong.
pub(super) fn check(faults: &mut Faults, model: &body::CostModel) -> Option<CostModel> {
    if !enforced::COST_MODELS.contains(&model.kind.as_str()) {
        faults.not_supported("costModel.type", format!("{} is not priced yet", model.kind));
        return None;
    }
    let foreign = [
        ("unitName", model.unit_name.is_some()),
        ("unitPointer", model.unit_pointer.is_some()),
        ("costCentsPerUnit", model.cost_cents_per_unit.is_some()),
        ("tiers", model.tiers.is_some()),
        (
            "default",
            model.default.is_some() && model.kind != CostModelType::PerToken,
        ),
        (
            "models",
            model.models.is_some() && model.kind != CostModelType::PerToken,
        ),
        (
            "costCentsPerRequest",
            model.cost_cents_per_request.is_some() && model.kind != CostModelType::PerRequest,
        ),
    ];
    for (name, _) in foreign.iter().filter(|(_, present)| *present) {
        faults.invalid(
            format!("costModel.{name}"),
            format!("does not belong to {}", model.kind),
        );
    }
    match model.kind {
        CostModelType::PerRequest => {
            let Some(cost) = model.cost_cents_per_request else {
                faults.invalid("costModel.costCentsPerRequest", "is missing");
                return None;
            };
            Some(CostModel::PerRequest {
                cost: price(faults, "costModel.costCentsPerRequest", cost),
            })
        }
        CostModelType::PerToken => per_token(faults, model),
        CostModelType::PerUnit | CostModelType::Tiered | CostModelType::Catalogue => None,
    }
}

fn per_token(faults: &mut Faults, model: &body::CostModel) -> Option<CostModel> {
    let entries = model.models.as_deref().unwrap_or_default();
    if model.default.is_none() && entries.is_empty() {
        faults.invalid("costModel", "needs `default` prices or at least one of `models`");
        return None;
    }
    if entries.len() > MODELS_MAX {
        faults.invalid("costModel.models", "must have at most 500 entries");
        return None;
    }
    let models = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let field = format!("costModel.models[{index}]");
            let bytes = entry.model.as_bytes();
            if !(1..=PATTERN_BYTES_MAX).contains(&bytes.len()) || !bytes.iter().all(u8::is_ascii_graphic) {
                faults.invalid(
                    format!("{field}.model"),
                    "must be 1 to 200 visible ASCII characters",
                );
            }
            let default_output_tokens = entry.default_output_tokens.unwrap_or(0);
            if default_output_tokens > OUTPUT_TOKENS_MAX {
                faults.invalid(format!("{field}.defaultOutputTokens"), "must be at most 10000000");
            }
            let prices = prices(faults, &field, &entry.prices());
            ModelPrices {
                model: entry.model.clone(),
                prices,
                default_output_tokens,
            }
        })
        .collect();
    let default_prices = model
        .default
        .as_ref()
        .map(|given| prices(faults, "costModel.default", given));
    Some(CostModel::PerToken(TokenPricing {
        default_prices,
        models,
    }))
}

pub(in super::super) fn prices(faults: &mut Faults, field: &str, given: &BodyPrices) -> TokenPrices {
    let mut one = |name: &str, cents: Cents| {
        let field = if field.is_empty() {
            name.to_owned()
        } else {
            format!("{field}.{name}")
        };
        price(faults, &field, cents)
    };
    TokenPrices {
        input: one("inputCostPer1kTokens", given.input_cost_per_1k_tokens),
        output: one("outputCostPer1kTokens", given.output_cost_per_1k_tokens),
        cache_read: given
            .cached_input_cost_per_1k_tokens
            .map(|c| one("cachedInputCostPer1kTokens", c)),
        cache_write_5m: given
            .cache_write5m_cost_per_1k_tokens
            .map(|c| one("cacheWrite5mCostPer1kTokens", c)),
        cache_write_1h: given
            .cache_write1h_cost_per_1k_tokens
            .map(|c| one("cacheWrite1hCostPer1kTokens", c)),
        audio_in: given
            .audio_input_cost_per_1k_tokens
            .map(|c| one("audioInputCostPer1kTokens", c)),
        reasoning: given
            .reasoning_cost_per_1k_tokens
            .map(|c| one("reasoningCostPer1kTokens", c)),
        audio_out: given
            .audio_output_cost_per_1k_tokens
            .map(|c| one("audioOutputCostPer1kTokens", c)),
    }
}

fn price(faults: &mut Faults, field: &str, cents: Cents) -> NanoUsd {
    if !(0..=NANO_USD_MAX).contains(&cents.0.0) {
        faults.invalid(field, "must be 0 to 900719925.4740991 cents");
    }
    cents.0
}

/// The REST form of following the catalogue.
pub(super) fn show_catalogue() -> body::CostModel {
    body::CostModel {
        kind: CostModelType::Catalogue,
        cost_cents_per_request: None,
        default: None,
        models: None,
        unit_name: None,
        unit_pointer: None,
        cost_cents_per_unit: None,
        tiers: None,
    }
}

/// The REST form of what is stored.
pub(super) fn show(model: &CostModel) -> body::CostModel {
    let empty = body::CostModel {
        kind: CostModelType::PerRequest,
        ..show_catalogue()
    };
    match model {
        CostModel::PerRequest { cost } => body::CostModel {
            cost_cents_per_request: Some(Cents(*cost)),
            ..empty
        },
        CostModel::PerToken(TokenPricing {
            default_prices,
            models,
        }) => body::CostModel {
            kind: CostModelType::PerToken,
            default: default_prices.as_ref().map(show_prices),
            models: Some(models.iter().map(show_model).collect()),
            ..empty
        },
    }
}

fn show_model(entry: &ModelPrices) -> BodyModel {
    let ModelPrices {
        model,
        prices,
        default_output_tokens,
    } = entry;
    let default_output_tokens = (*default_output_tokens > 0).then_some(*default_output_tokens);
    BodyModel::new(model.clone(), show_prices(prices), default_output_tokens)
}

pub(in super::super) fn show_prices(prices: &TokenPrices) -> BodyPrices {
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
    BodyPrices {
        input_cost_per_1k_tokens: Cents(input),
        output_cost_per_1k_tokens: Cents(output),
        cached_input_cost_per_1k_tokens: cache_read.map(Cents),
        cache_write5m_cost_per_1k_tokens: cache_write_5m.map(Cents),
        cache_write1h_cost_per_1k_tokens: cache_write_1h.map(Cents),
        reasoning_cost_per_1k_tokens: reasoning.map(Cents),
        audio_input_cost_per_1k_tokens: audio_in.map(Cents),
        audio_output_cost_per_1k_tokens: audio_out.map(Cents),
    }
}
