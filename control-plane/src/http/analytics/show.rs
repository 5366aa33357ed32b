//! Rows of ClickHouse as the API's bodies.

use crate::analytics::ApiEvent;
use crate::analytics::query::latency::Quantiles;
use crate::analytics::query::range::{Plan, instant};
use crate::analytics::query::usage::Sums;
use crate::http::text;
use chrono::DateTime;
use rateguard_api::analytics as body;
use rateguard_api::decimal::Cents;
use rateguard_model::money::NanoUsd;
use uuid::Uuid;

pub(super) fn range(plan: &Plan) -> body::Range {
    body::Range {
        start: text::timestamp(instant(plan.span.start)),
        end: text::timestamp(instant(plan.span.end)),
        time_zone: plan.time_zone.name().to_owned(),
    }
}

pub(super) const fn cents(nanos: i64) -> Cents {
    Cents(NanoUsd(nanos))
}

pub(super) const fn tokens(sums: &Sums) -> body::Tokens {
    body::Tokens {
        input: sums.fresh_input,
        cached: sums.cache_read,
        cache_write: sums.cache_write,
        output: sums.output_text,
        reasoning: sums.reasoning,
        audio: sums.audio,
    }
}

/// Where there is an id: nil stands for none.
pub(super) fn id(id: Uuid) -> Option<String> {
    (!id.is_nil()).then(|| id.to_string())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The column's Enum8.
pub(super) const fn usage_source(number: i8) -> &'static str {
    match number {
        1 => "reported",
        2 => "partial",
        3 => "estimated",
        4 => "reserved",
        _ => "none",
    }
}

pub(super) fn time_ms(ms: i64) -> String {
    text::timestamp(DateTime::from_timestamp_millis(ms).unwrap_or_default())
}

/// Without the names of its API and key.
pub(super) fn event(event: &ApiEvent) -> body::Event {
    body::Event {
        id: event.event_id.to_string(),
        revision: event.revision,
        timestamp: time_ms(event.timestamp),
        received_at: time_ms(event.received_at),
        api_id: id(event.api_id),
        api_name: None,
        key_id: id(event.api_key_id),
        key_name: None,
        key_owner_id: id(event.key_owner_id),
        endpoint: event.endpoint.clone(),
        method: event.method.clone(),
        model: some(&event.model),
        status_code: (event.status_code != 0).then_some(event.status_code),
        error_type: some(&event.error_type),
        latency_ms: event.latency_ms,
        upstream_latency_ms: event.upstream_latency_ms,
        ttft_ms: (event.ttft_ms != 0).then_some(event.ttft_ms),
        request_bytes: event.request_bytes,
        response_bytes: event.response_bytes,
        cost_cents: cents(event.cost_nanos),
        tokens: body::Tokens {
            input: event.fresh_input,
            cached: event.cache_read,
            cache_write: event.cache_write_5m.saturating_add(event.cache_write_1h),
            output: event.output_text,
            reasoning: event.reasoning,
            audio: event.audio_in.saturating_add(event.audio_out),
        },
        units: event.units,
        usage_source: usage_source(event.usage_source).to_owned(),
        price_version: some(&event.price_version),
        cache_hit: event.cache_hit,
        rate_limited: event.rate_limited,
        budget_exceeded: event.budget_exceeded,
        shadow: event.shadow,
        degraded: event.degraded,
        stream: event.stream,
        client_ip: some(&event.client_ip),
        rule_id: id(event.rule_id),
        budget_id: id(event.budget_id),
        tags: event.tags.iter().cloned().collect(),
    }
}

/// With six places; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "six places of a share need no more")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 1e6).round() / 1e6
}

/// Milliseconds with two places.
fn milliseconds(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 100.0).round() / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "two places of an average need no more")]
pub(super) fn average(sums: &Sums) -> Option<f64> {
    if sums.latency_count == 0 {
        return None;
    }
    milliseconds(sums.latency_sum_ms as f64 / sums.latency_count as f64)
}

pub(super) fn points(plan: &Plan, sums: &[Sums]) -> Vec<body::RequestPoint> {
    let points = plan.buckets.iter().zip(sums);
    points
        .map(|(at, sums)| body::RequestPoint {
            timestamp: text::timestamp(instant(i64::from(*at))),
            requests: sums.requests,
            errors: sums.errors,
            client_errors: sums.client_errors,
            server_errors: sums.server_errors,
            rate_limited: sums.rate_limited,
            budget_exceeded: sums.budget_exceeded,
            cache_hits: sums.cache_hits,
            cost_cents: cents(sums.cost_nanos),
            tokens: tokens(sums),
            avg_latency_ms: average(sums),
        })
        .collect()
}

pub(super) fn summary(plan: &Plan, sums: &Sums, quantiles: &Quantiles) -> body::Summary {
    let percentiles = percentiles(quantiles);
    body::Summary {
        range: range(plan),
        requests: body::RequestFigures {
            total_requests: sums.requests,
            total_errors: sums.errors,
            error_rate: share(sums.errors, sums.requests),
        },
        cost: body::CostFigures {
            total_cost_cents: cents(sums.cost_nanos),
            tokens: tokens(sums),
        },
        latency: body::LatencyFigures {
            avg_ms: average(sums),
            p50: percentiles.p50,
            p95: percentiles.p95,
            p99: percentiles.p99,
        },
        cache: body::CacheFigures {
            hits: sums.cache_hits,
            hit_rate: share(sums.cache_hits, sums.requests),
        },
        rate_limit: body::RateLimitFigures {
            limited: sums.rate_limited,
            share: share(sums.rate_limited, sums.requests),
        },
        previous: None,
    }
}

pub(super) fn percentiles(quantiles: &Quantiles) -> body::Percentiles {
    let of = |values: &[f64], n: usize| values.get(n).copied().and_then(milliseconds);
    let Quantiles {
        key: _,
        latency,
        upstream_latency: upstream,
        ttft,
    } = quantiles;
    body::Percentiles {
        p50: of(latency, 0),
        p95: of(latency, 1),
        p99: of(latency, 2),
        upstream_p50: of(upstream, 0),
        upstream_p95: of(upstream, 1),
        upstream_p99: of(upstream, 2),
        ttft_p50: of(ttft, 0),
        ttft_p95: of(ttft, 1),
        ttft_p99: of(ttft, 2),
    }
}

pub(super) fn latency_points(plan: &Plan, quantiles: &[Quantiles]) -> Vec<body::LatencyPoint> {
    let points = plan.buckets.iter().zip(quantiles);
    points
        .map(|(at, quantiles)| body::LatencyPoint {
            timestamp: text::timestamp(instant(i64::from(*at))),
            percentiles: percentiles(quantiles),
        })
        .collect()
}
