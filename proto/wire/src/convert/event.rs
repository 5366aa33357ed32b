//! Request events and the usage they carry.

use super::names::known;
use super::{Fault, Invalid, id, optional_id, pairs, within};
use crate::v1;
use rateguard_model::event::RequestEvent;
use rateguard_model::money::NanoUsd;
use rateguard_model::quota::AMOUNT_MAX;
use rateguard_model::usage::TokenUsage;

impl TryFrom<v1::TokenUsage> for TokenUsage {
    type Error = Invalid;

    fn try_from(message: v1::TokenUsage) -> Result<Self, Invalid> {
        usage(message, 0)
    }
}

fn usage(message: v1::TokenUsage, min: i64) -> Result<TokenUsage, Invalid> {
    let v1::TokenUsage {
        fresh_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_text,
        reasoning,
        audio_in,
        audio_out,
    } = message;
    let count = |field, tokens| within(field, tokens, min, AMOUNT_MAX);
    Ok(TokenUsage {
        fresh_input: count("TokenUsage.fresh_input", fresh_input)?,
        cache_read: count("TokenUsage.cache_read", cache_read)?,
        cache_write_5m: count("TokenUsage.cache_write_5m", cache_write_5m)?,
        cache_write_1h: count("TokenUsage.cache_write_1h", cache_write_1h)?,
        output_text: count("TokenUsage.output_text", output_text)?,
        reasoning: count("TokenUsage.reasoning", reasoning)?,
        audio_in: count("TokenUsage.audio_in", audio_in)?,
        audio_out: count("TokenUsage.audio_out", audio_out)?,
    })
}

impl From<TokenUsage> for v1::TokenUsage {
    fn from(usage: TokenUsage) -> Self {
        let TokenUsage {
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        } = usage;
        Self {
            fresh_input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output_text,
            reasoning,
            audio_in,
            audio_out,
        }
    }
}

/// HTTP has three digits; 0 where no answer was given.
const STATUS_MAX: u32 = 999;

impl TryFrom<v1::RequestEvent> for RequestEvent {
    type Error = Invalid;

    fn try_from(message: v1::RequestEvent) -> Result<Self, Invalid> {
        let v1::RequestEvent {
            event_id,
            timestamp_ms,
            workspace_id,
            api_key_id,
            api_id,
            endpoint,
            method,
            status_code,
            latency_ms,
            upstream_latency_ms,
            request_bytes,
            response_bytes,
            cost_nanos,
            model,
            tokens,
            units,
            usage_source,
            price_version,
            cache_hit,
            rate_limited,
            budget_exceeded,
            shadow,
            degraded,
            stream,
            ttft_ms,
            client_ip,
            error_type,
            rule_id,
            budget_id,
            key_owner_id,
            tags,
            revision,
            // Of charges only, which the consumer looks at before.
            members: _,
        } = message;
        // A revision holds differences: a late settlement can be lower than what was charged.
        let min = if revision == 0 { 0 } else { -AMOUNT_MAX };
        Ok(Self {
            event_id: id("RequestEvent.event_id", &event_id)?,
            timestamp_ms: within("RequestEvent.timestamp_ms", timestamp_ms, 0, i64::MAX)?,
            workspace_id: optional_id("RequestEvent.workspace_id", &workspace_id)?,
            api_key_id: optional_id("RequestEvent.api_key_id", &api_key_id)?,
            api_id: optional_id("RequestEvent.api_id", &api_id)?,
            endpoint,
            method,
            status_code: status(status_code)?,
            latency_ms,
            upstream_latency_ms,
            request_bytes,
            response_bytes,
            cost: NanoUsd(within("RequestEvent.cost_nanos", cost_nanos, min, AMOUNT_MAX)?),
            model,
            tokens: usage(tokens.unwrap_or_default(), min)?,
            units: within("RequestEvent.units", units, min, AMOUNT_MAX)?,
            usage_source: match usage_source {
                0 => None,
                number => Some(known::<v1::UsageSource, _>("RequestEvent.usage_source", number)?),
            },
            price_version,
            cache_hit,
            rate_limited,
            budget_exceeded,
            shadow,
            degraded,
            stream,
            ttft_ms,
            client_ip: Some(client_ip).filter(|ip| !ip.is_empty()),
            error_type,
            rule_id: optional_id("RequestEvent.rule_id", &rule_id)?,
            budget_id: optional_id("RequestEvent.budget_id", &budget_id)?,
            key_owner_id: optional_id("RequestEvent.key_owner_id", &key_owner_id)?,
            tags: pairs(tags),
            revision,
        })
    }
}

fn status(code: u32) -> Result<u16, Invalid> {
    u16::try_from(code)
        .ok()
        .filter(|_| code <= STATUS_MAX)
        .ok_or(Fault::Range.at("RequestEvent.status_code"))
}

impl From<RequestEvent> for v1::RequestEvent {
    fn from(event: RequestEvent) -> Self {
        let RequestEvent {
            event_id,
            timestamp_ms,
            workspace_id,
            api_key_id,
            api_id,
            endpoint,
            method,
            status_code,
            latency_ms,
            upstream_latency_ms,
            request_bytes,
            response_bytes,
            cost,
            model,
            tokens,
            units,
            usage_source,
            price_version,
            cache_hit,
            rate_limited,
            budget_exceeded,
            shadow,
            degraded,
            stream,
            ttft_ms,
            client_ip,
            error_type,
            rule_id,
            budget_id,
            key_owner_id,
            tags,
            revision,
        } = event;
        Self {
            event_id: event_id.as_bytes().to_vec(),
            timestamp_ms,
            workspace_id: workspace_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            api_key_id: api_key_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            api_id: api_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            endpoint,
            method,
            status_code: status_code.into(),
            latency_ms,
            upstream_latency_ms,
            request_bytes,
            response_bytes,
            cost_nanos: cost.0,
            model,
            tokens: Some(tokens.into()),
            units,
            usage_source: usage_source.map_or(0, |source| v1::UsageSource::from(source).into()),
            price_version,
            cache_hit,
            rate_limited,
            budget_exceeded,
            shadow,
            degraded,
            stream,
            ttft_ms,
            client_ip: client_ip.unwrap_or_default(),
            error_type,
            rule_id: rule_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            budget_id: budget_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            key_owner_id: key_owner_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
            tags: tags.into_iter().collect(),
            revision,
            members: Vec::new(),
        }
    }
}
