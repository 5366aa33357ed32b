//! What the demo consists of. Prices are the providers' list prices in cents per 1 000 tokens.

use serde_json::{Value, json};

pub(super) const EMAIL: &str = "demo@rateguard.dev";
pub(super) const PASSWORD: &str = "rateguard-demo";
/// Also the workspace's slug.
pub(super) const NAME: &str = "Demo";
pub(super) const KEY_NAME: &str = "demo";
pub(super) const TOKEN_NAME: &str = "demo";
/// What the LLM presets wait for an answer's first byte.
const TIMEOUT_MS: u32 = 600_000;

/// OpenAI's and Anthropic's dialect, both answered by the stub. Models without a price are the workspace's policy.
pub(super) fn apis(stub_url: &str) -> [Value; 2] {
    let base_url = stub_url.trim_end_matches('/');
    [
        json!({
            "name": "OpenAI",
            "slug": "openai",
            "baseUrl": base_url,
            "authType": "BEARER",
            "credential": "sk-stub-openai",
            "usageFormat": "openai",
            "timeoutMs": TIMEOUT_MS,
            "costModel": { "type": "PER_TOKEN", "models": openai_prices() },
        }),
        json!({
            "name": "Anthropic",
            "slug": "anthropic",
            "baseUrl": base_url,
            "authType": "API_KEY_HEADER",
            "authHeaderName": "x-api-key",
            "credential": "sk-stub-anthropic",
            "usageFormat": "anthropic",
            "timeoutMs": TIMEOUT_MS,
            "costModel": { "type": "PER_TOKEN", "models": anthropic_prices() },
        }),
    ]
}

/// The first pattern that matches wins: the smaller model's name starts with the larger one's.
fn openai_prices() -> Value {
    json!([
        {
            "model": "gpt-4o-mini*",
            "inputCostPer1kTokens": 0.015,
            "outputCostPer1kTokens": 0.06,
            "cachedInputCostPer1kTokens": 0.0075,
            "defaultOutputTokens": 500,
        },
        {
            "model": "gpt-4o*",
            "inputCostPer1kTokens": 0.25,
            "outputCostPer1kTokens": 1,
            "cachedInputCostPer1kTokens": 0.125,
            "defaultOutputTokens": 500,
        },
    ])
}

/// Reading from the cache costs a tenth of input, writing 1.25 times (5 minutes) or twice (1 hour).
fn anthropic_prices() -> Value {
    json!([
        {
            "model": "claude-*haiku*",
            "inputCostPer1kTokens": 0.1,
            "outputCostPer1kTokens": 0.5,
            "cachedInputCostPer1kTokens": 0.01,
            "cacheWrite5mCostPer1kTokens": 0.125,
            "cacheWrite1hCostPer1kTokens": 0.2,
        },
        {
            "model": "claude-*sonnet*",
            "inputCostPer1kTokens": 0.3,
            "outputCostPer1kTokens": 1.5,
            "cachedInputCostPer1kTokens": 0.03,
            "cacheWrite5mCostPer1kTokens": 0.375,
            "cacheWrite1hCostPer1kTokens": 0.6,
        },
        {
            "model": "claude-*opus*",
            "inputCostPer1kTokens": 1.5,
            "outputCostPer1kTokens": 7.5,
            "cachedInputCostPer1kTokens": 0.15,
            "cacheWrite5mCostPer1kTokens": 1.875,
            "cacheWrite1hCostPer1kTokens": 3,
        },
    ])
}

pub(super) fn rules() -> [Value; 2] {
    [
        json!({
            "name": "Burst per key",
            "scopes": [{ "type": "PER_KEY" }],
            "algorithm": "TOKEN_BUCKET",
            "unit": "REQUESTS",
            "bucketSize": 100,
            "refillRate": 50,
        }),
        json!({
            "name": "Requests per address",
            "scopes": [{ "type": "PER_IP" }],
            "algorithm": "SLIDING_WINDOW",
            "unit": "REQUESTS",
            "limit": 600,
            "windowMs": 60_000,
        }),
    ]
}

/// 100 USD.
pub(super) fn budget() -> Value {
    json!({ "monthlyBudgetCents": 10_000, "autoShutoff": true })
}
