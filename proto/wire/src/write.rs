//! The messages of every request, written from the model straight into a buffer.
//!
//! The generated types own their bytes and strings, which makes thirty allocations a request. What is written here is
//! what they encode, as the tests below show; lengths of nested messages are padded, which every decoder accepts.

use crate::v1;
use rateguard_model::event::RequestEvent;
use rateguard_model::quota::{Meter, Quota};
use rateguard_model::usage::TokenUsage;
use rateguard_model::window::Window;

/// Lengths of nested messages are written once they are known, into this many bytes.
const LENGTH_BYTES: usize = 3;

/// Appends fields to a buffer.
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// Fields whose value is the default are left out, as proto3 asks.
    pub fn int(&mut self, field: u32, value: i64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value as u64);
        }
    }

    pub fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value);
        }
    }

    pub fn flag(&mut self, field: u32, value: bool) {
        self.uint(field, u64::from(value));
    }

    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.tag(field, 2);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A nested message. Its length is padded to a fixed width, which every decoder accepts.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, 2);
        let at = self.0.len();
        self.0.extend_from_slice(&[0; LENGTH_BYTES]);
        write(&mut Writer(self.0));
        let length = self.0.len().saturating_sub(at + LENGTH_BYTES);
        let [a, b, c] = [
            length & 0x7f | 0x80,
            length >> 7 & 0x7f | 0x80,
            length >> 14 & 0x7f,
        ]
        .map(|part| part as u8);
        if let Some(place) = self.0.get_mut(at..at + LENGTH_BYTES) {
            place.copy_from_slice(&[a, b, c]);
        }
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `Quota`, as field `field`.
pub fn quota(writer: &mut Writer<'_>, field: u32, quota: &Quota) {
    let Quota {
        id,
        version,
        kind,
        unit,
        limit,
        meter,
        mode,
        failure_mode,
        partition,
        amount,
    } = quota;
    writer.message(field, |w| {
        w.bytes(1, id.as_bytes());
        w.uint(2, u64::from(*version));
        w.int(3, v1::QuotaKind::from(*kind) as i64);
        w.int(4, v1::Algorithm::from(meter.algorithm()) as i64);
        w.int(5, v1::Unit::from(*unit) as i64);
        w.int(6, *limit);
        match *meter {
            Meter::TokenBucket { refill_milli_per_s } => w.uint(8, refill_milli_per_s),
            Meter::SlidingWindow { window_ms } => window(w, Window::Rolling { ms: window_ms }),
            Meter::FixedWindow { window: bounds } => window(w, bounds),
        }
        w.int(9, v1::Mode::from(*mode) as i64);
        w.int(10, v1::FailureMode::from(*failure_mode) as i64);
        w.text(11, partition);
        w.int(12, *amount);
    });
}

fn window(writer: &mut Writer<'_>, window: Window) {
    writer.message(7, |w| match window {
        Window::Rolling { ms } => w.uint(1, ms),
        Window::Calendar { unit, time_zone } => w.message(2, |w| {
            w.int(1, v1::CalendarUnit::from(unit) as i64);
            w.text(2, time_zone.name());
        }),
        Window::Total => w.flag(3, true),
    });
}

/// `RequestEvent`, as field `field`.
pub fn event(writer: &mut Writer<'_>, field: u32, event: &RequestEvent) {
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
    writer.message(field, |w| {
        w.bytes(1, event_id.as_bytes());
        w.int(2, *timestamp_ms);
        w.bytes(3, workspace_id.as_ref().map_or(&[], |id| id.as_bytes()));
        w.bytes(4, api_key_id.as_ref().map_or(&[], |id| id.as_bytes()));
        w.bytes(5, api_id.as_ref().map_or(&[], |id| id.as_bytes()));
        w.text(6, endpoint);
        w.text(7, method);
        w.uint(8, u64::from(*status_code));
        w.uint(9, u64::from(*latency_ms));
        w.uint(10, u64::from(*upstream_latency_ms));
        w.uint(11, *request_bytes);
        w.uint(12, *response_bytes);
        w.int(13, cost.0);
        w.text(14, model);
        w.message(15, |w| usage(w, tokens));
        w.int(16, *units);
        w.int(
            17,
            usage_source.map_or(0, |source| v1::UsageSource::from(source) as i64),
        );
        w.text(18, price_version);
        w.flag(19, *cache_hit);
        w.flag(20, *rate_limited);
        w.flag(21, *budget_exceeded);
        w.flag(22, *shadow);
        w.flag(23, *degraded);
        w.flag(24, *stream);
        w.uint(25, u64::from(*ttft_ms));
        w.text(26, client_ip.as_deref().unwrap_or_default());
        w.text(27, error_type);
        w.bytes(28, rule_id.as_ref().map_or(&[], |id| id.as_bytes()));
        w.bytes(29, budget_id.as_ref().map_or(&[], |id| id.as_bytes()));
        w.bytes(30, key_owner_id.as_ref().map_or(&[], |id| id.as_bytes()));
        for (name, value) in tags {
            w.message(31, |w| {
                w.text(1, name);
                w.text(2, value);
            });
        }
        w.uint(32, u64::from(*revision));
    });
}

fn usage(writer: &mut Writer<'_>, usage: &TokenUsage) {
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
    let counts = [
        fresh_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_text,
        reasoning,
        audio_in,
        audio_out,
    ];
    for (field, count) in (1..).zip(counts) {
        writer.int(field, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use rateguard_model::id::{ApiId, KeyId, QuotaId, RequestId, UserId, WorkspaceId};
    use rateguard_model::money::NanoUsd;
    use rateguard_model::quota::{FailureMode, Mode, QuotaKind, Unit};
    use rateguard_model::usage::UsageSource;
    use rateguard_model::window::CalendarUnit;

    fn quotas() -> Vec<Quota> {
        let zone = "Europe/Berlin".parse().expect("a time zone");
        let meters = [
            Meter::TokenBucket {
                refill_milli_per_s: 300,
            },
            Meter::SlidingWindow { window_ms: 60_000 },
            Meter::FixedWindow {
                window: Window::Calendar {
                    unit: CalendarUnit::Month,
                    time_zone: zone,
                },
            },
            Meter::FixedWindow {
                window: Window::Total,
            },
        ];
        meters
            .into_iter()
            .map(|meter| Quota {
                id: QuotaId::from_bytes([7; 16]),
                version: 3,
                kind: QuotaKind::Budget,
                unit: Unit::NanoUsd,
                limit: (1 << 53) - 1,
                meter,
                mode: Mode::Shadow,
                failure_mode: FailureMode::BoundedOpen,
                partition: "a.0123:k.4567".repeat(12),
                amount: 0,
            })
            .collect()
    }

    #[test]
    fn quotas_are_what_the_generated_types_encode() {
        for value in quotas() {
            let mut bytes = Vec::new();
            quota(&mut Writer(&mut bytes), 6, &value);
            let read = v1::ReserveRequest::decode(bytes.as_slice()).expect("valid");
            assert_eq!(read.quotas, vec![v1::Quota::from(value)]);
        }
    }

    #[test]
    fn events_are_what_the_generated_types_encode() {
        let full = RequestEvent {
            event_id: RequestId::from_bytes([1; 16]),
            timestamp_ms: 1_795_000_000_000,
            workspace_id: Some(WorkspaceId::from_bytes([2; 16])),
            api_key_id: Some(KeyId::from_bytes([3; 16])),
            api_id: Some(ApiId::from_bytes([4; 16])),
            endpoint: "/v1/chat/completions".to_owned(),
            method: "POST".to_owned(),
            status_code: 429,
            latency_ms: 300,
            upstream_latency_ms: 200,
            request_bytes: 1 << 40,
            response_bytes: 9,
            cost: NanoUsd(8_850),
            model: "gpt-4o".to_owned(),
            tokens: TokenUsage {
                fresh_input: 1,
                cache_read: 2,
                cache_write_5m: 3,
                cache_write_1h: 4,
                output_text: 5,
                reasoning: 6,
                audio_in: 7,
                audio_out: 8,
            },
            units: 11,
            usage_source: Some(UsageSource::Partial),
            price_version: "p1".to_owned(),
            cache_hit: true,
            rate_limited: true,
            budget_exceeded: true,
            shadow: true,
            degraded: true,
            stream: true,
            ttft_ms: 12,
            client_ip: Some("192.0.2.1".to_owned()),
            error_type: "rate_limited".to_owned(),
            rule_id: Some(QuotaId::from_bytes([5; 16])),
            budget_id: Some(QuotaId::from_bytes([6; 16])),
            key_owner_id: Some(UserId::from_bytes([8; 16])),
            tags: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())],
            revision: 1,
        };
        let mut empty = full.clone();
        (
            empty.workspace_id,
            empty.usage_source,
            empty.client_ip,
            empty.rule_id,
        ) = (None, None, None, None);
        (empty.tokens, empty.cost, empty.status_code) = (TokenUsage::default(), NanoUsd(-1), 0);
        empty.tags.clear();
        for value in [full, empty] {
            let mut bytes = Vec::new();
            event(&mut Writer(&mut bytes), 2, &value);
            let read = v1::ReportUsageRequest::decode(bytes.as_slice()).expect("valid");
            assert_eq!(read.events, vec![v1::RequestEvent::from(value)]);
        }
    }
}
