//! APIs: upstreams with their credential and cost model (SPEC 1.2, 1.5).

use crate::clearable;
use crate::decimal::Cents;
use crate::name::{AuthType, CostModelType, UsageFormat};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// An API as it is shown: never with its credential.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a JSON body: every field is named where it is set"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Api {
    pub id: String,
    pub name: String,
    pub slug: String,
    pub base_url: String,
    pub hosts: Vec<String>,
    pub auth_type: AuthType,
    pub auth_header_name: Option<String>,
    /// Whether a credential is stored.
    pub has_credential: bool,
    pub usage_format: UsageFormat,
    pub cost_model: Option<CostModel>,
    /// Changes with the cost model; events name it.
    pub price_version: String,
    pub timeout_ms: u32,
    pub forward_cookies: bool,
    pub stream_cost_comment: bool,
    pub is_active: bool,
    pub created_at: String,
    pub updated_at: String,
}

/// Prices in cents per 1 000 tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostModel {
    #[serde(rename = "type")]
    pub kind: CostModelType,
    /// PER_REQUEST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_cents_per_request: Option<Cents>,
    /// PER_TOKEN: for models that no entry matches; absent: such a model is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<TokenPrices>,
    /// PER_TOKEN: the first whose pattern matches wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPrices>>,
    // Of types that are known but not priced yet, so that the type is what is refused.
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub unit_name: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub unit_pointer: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub cost_cents_per_unit: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub tiers: Option<IgnoredAny>,
}

/// Absent: cache and audio input cost as input, reasoning and audio output as output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenPrices {
    pub input_cost_per_1k_tokens: Cents,
    pub output_cost_per_1k_tokens: Cents,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write5m_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write1h_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output_cost_per_1k_tokens: Option<Cents>,
}

/// [`TokenPrices`] of the models that a glob matches. Spelled out: serde cannot flatten and refuse unknown fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelPrices {
    /// `*` stands for any run of characters.
    pub model: String,
    pub input_cost_per_1k_tokens: Cents,
    pub output_cost_per_1k_tokens: Cents,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write5m_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write1h_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input_cost_per_1k_tokens: Option<Cents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output_cost_per_1k_tokens: Option<Cents>,
    /// Assumed output of a request that names no maximum; absent: the built-in default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_output_tokens: Option<u32>,
}

impl ModelPrices {
    pub fn prices(&self) -> TokenPrices {
        TokenPrices {
            input_cost_per_1k_tokens: self.input_cost_per_1k_tokens,
            output_cost_per_1k_tokens: self.output_cost_per_1k_tokens,
            cached_input_cost_per_1k_tokens: self.cached_input_cost_per_1k_tokens,
            cache_write5m_cost_per_1k_tokens: self.cache_write5m_cost_per_1k_tokens,
            cache_write1h_cost_per_1k_tokens: self.cache_write1h_cost_per_1k_tokens,
            reasoning_cost_per_1k_tokens: self.reasoning_cost_per_1k_tokens,
            audio_input_cost_per_1k_tokens: self.audio_input_cost_per_1k_tokens,
            audio_output_cost_per_1k_tokens: self.audio_output_cost_per_1k_tokens,
        }
    }

    pub fn new(model: String, prices: TokenPrices, default_output_tokens: Option<u32>) -> Self {
        Self {
            model,
            input_cost_per_1k_tokens: prices.input_cost_per_1k_tokens,
            output_cost_per_1k_tokens: prices.output_cost_per_1k_tokens,
            cached_input_cost_per_1k_tokens: prices.cached_input_cost_per_1k_tokens,
            cache_write5m_cost_per_1k_tokens: prices.cache_write5m_cost_per_1k_tokens,
            cache_write1h_cost_per_1k_tokens: prices.cache_write1h_cost_per_1k_tokens,
            reasoning_cost_per_1k_tokens: prices.reasoning_cost_per_1k_tokens,
            audio_input_cost_per_1k_tokens: prices.audio_input_cost_per_1k_tokens,
            audio_output_cost_per_1k_tokens: prices.audio_output_cost_per_1k_tokens,
            default_output_tokens,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
        "name": "OpenAI",
        "slug": "openai",
        "baseUrl": "https://api.openai.com/v1",
        "hosts": ["api.openai.com"],
        "authType": "BEARER",
        "credential": "sk-the-provider-s-key",
        "usageFormat": "openai",
        "costModel": {
            "type": "PER_TOKEN",
            "models": [{"model": "gpt-4o*", "inputCostPer1kTokens": 0.25, "outputCostPer1kTokens": 1}]
        },
        "timeoutMs": 600_000
    })))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateApi {
    pub name: String,
    /// Absent: made from the name.
    #[serde(default)]
    pub slug: Option<String>,
    pub base_url: String,
    #[serde(default)]
    pub hosts: Vec<String>,
    pub auth_type: AuthType,
    #[serde(default)]
    pub auth_header_name: Option<String>,
    /// Write-only. BASIC: `user:password`.
    #[serde(default)]
    pub credential: Option<String>,
    #[serde(default)]
    pub usage_format: Option<UsageFormat>,
    #[serde(default)]
    pub cost_model: Option<CostModel>,
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    #[serde(default)]
    pub forward_cookies: bool,
    #[serde(default)]
    pub stream_cost_comment: bool,
    #[serde(default)]
    pub is_active: Option<bool>,
}

/// Absent fields stay as they are; null clears.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"name": "OpenAI, production", "timeoutMs": 120_000})))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateApi {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Another host needs the credential again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<AuthType>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub auth_header_name: Option<Option<String>>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub credential: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_format: Option<UsageFormat>,
    #[serde(
        default,
        deserialize_with = "clearable",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CostModel>))]
    pub cost_model: Option<Option<CostModel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_cookies: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_cost_comment: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
}
