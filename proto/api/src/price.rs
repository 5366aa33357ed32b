//! Prices: the bundled catalogue, and what a workspace puts before it (SPEC 1.5).

use crate::api::TokenPrices;
use serde::{Deserialize, Serialize};

/// A workspace's own price of the models that a glob matches. For APIs whose cost model is CATALOGUE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Price {
    pub id: String,
    /// `*` stands for any run of characters. Longer patterns are looked at first.
    pub model: String,
    pub prices: TokenPrices,
    pub default_output_tokens: Option<u32>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
        "model": "gpt-4o*",
        "prices": {"inputCostPer1kTokens": 0.2, "outputCostPer1kTokens": 0.8}
    })))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreatePrice {
    pub model: String,
    pub prices: TokenPrices,
    /// Assumed output of a request that names no maximum.
    #[serde(default)]
    pub default_output_tokens: Option<u32>,
}

/// Replaces the prices as a whole; the model stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
        "prices": {"inputCostPer1kTokens": 0.19, "outputCostPer1kTokens": 0.76}
    })))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatePrice {
    pub prices: TokenPrices,
    #[serde(default)]
    pub default_output_tokens: Option<u32>,
}

/// The prices that this version of the control plane knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Catalogue {
    pub version: String,
    /// The first whose pattern matches wins.
    pub entries: Vec<CatalogueEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CatalogueEntry {
    pub provider: String,
    pub model: String,
    pub prices: TokenPrices,
    /// Where the price was read.
    pub source: String,
    /// When it was last known to hold, `YYYY-MM-DD`.
    pub as_of: String,
}
