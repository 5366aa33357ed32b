//! One row of `api_events`, and how it is made from an event that the limit service took.

use clickhouse::Row;
use rateguard_model::event::RequestEvent;
use rateguard_model::usage::UsageSource;
use rateguard_wire::convert::Invalid;
use rateguard_wire::v1;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The raw table.
pub const TABLE: &str = "api_events";

/// Settings of every insert into it. With these a block that is inserted again under its `insert_deduplication_token`
/// changes nothing, and completes the rollups where the first attempt broke off before them.
pub const INSERT_SETTINGS: [(&str, &str); 2] = [
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
];

/// How far a data plane's clock may be behind or ahead of ours. An event can be a day old when its stream was; what is
/// further off is a wrong clock, and would put a row into a rollup that nobody looks at or nothing expires (EV-11).
const BEHIND_MS_MAX: i64 = 24 * 3_600_000;
const AHEAD_MS_MAX: i64 = 5 * 60_000;

/// ClickHouse's DateTime ends in 2106.
const TIME_MS_MAX: i64 = u32::MAX as i64 * 1_000;

/// Longest texts that are kept, in bytes; the rest is cut off at a whole character.
const ENDPOINT_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 128;
const TAG_VALUE_BYTES_MAX: usize = 256;
/// A key's own tags and eight of the request (SPEC 4), with room.
const TAGS_MAX: usize = 64;

/// What the bus knows about an event besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// When the limit service took it, Unix milliseconds by the bus' or that service's clock.
    pub received_at_ms: i64,
    /// The data plane that sent it.
    pub node_id: &'a str,
}

/// A row of `api_events`, columns in the table's order. Ids are nil where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one request, as the event of SPEC 4 names them"
)]
pub struct ApiEvent {
    #[serde(with = "clickhouse::serde::uuid")]
    pub workspace_id: Uuid,
    /// Unix milliseconds by the data plane's clock, or `received_at` where that cannot be.
    pub timestamp: i64,
    /// Unix milliseconds.
    pub received_at: i64,
    /// Whether the data plane's own timestamp was refused.
    pub clock_skewed: bool,
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// 0 for the request; 1 for the signed differences of a late settlement.
    pub revision: u8,
    pub node_id: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub api_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub api_key_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub key_owner_id: Uuid,
    pub endpoint: String,
    pub method: String,
    pub model: String,
    /// 0 where no answer was given.
    pub status_code: u16,
    pub error_type: String,
    pub latency_ms: u32,
    pub upstream_latency_ms: u32,
    /// 0 where nothing was streamed.
    pub ttft_ms: u32,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub cost_nanos: i64,
    pub fresh_input: i64,
    pub cache_read: i64,
    pub cache_write_5m: i64,
    pub cache_write_1h: i64,
    pub output_text: i64,
    pub reasoning: i64,
    pub audio_in: i64,
    pub audio_out: i64,
    pub units: i64,
    /// The column's Enum8: the numbers of [`v1::UsageSource`].
    pub usage_source: i8,
    pub price_version: String,
    pub cache_hit: bool,
    pub rate_limited: bool,
    pub budget_exceeded: bool,
    pub shadow: bool,
    pub degraded: bool,
    pub stream: bool,
    pub client_ip: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub rule_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub budget_id: Uuid,
    pub tags: Vec<(String, String)>,
}

/// Why an event can never be a row. It belongs into the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("the event is malformed")]
    Invalid(#[from] Invalid),
    #[error("the revision is out of range")]
    Revision,
}

impl ApiEvent {
    /// The row of an event.
    pub fn of(event: v1::RequestEvent, receipt: Receipt<'_>) -> Result<Self, RowError> {
        let event = RequestEvent::try_from(event)?;
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
        let (timestamp, received_at, clock_skewed) = times(timestamp_ms, receipt.received_at_ms);
        Ok(Self {
            workspace_id: uuid(workspace_id.map(|id| *id.as_bytes())),
            timestamp,
            received_at,
            clock_skewed,
            event_id: uuid(Some(*event_id.as_bytes())),
            revision: u8::try_from(revision).map_err(|_| RowError::Revision)?,
            node_id: cut(receipt.node_id.to_owned(), NAME_BYTES_MAX),
            api_id: uuid(api_id.map(|id| *id.as_bytes())),
            api_key_id: uuid(api_key_id.map(|id| *id.as_bytes())),
            key_owner_id: uuid(key_owner_id.map(|id| *id.as_bytes())),
            endpoint: cut(endpoint, ENDPOINT_BYTES_MAX),
            method: cut(method, NAME_BYTES_MAX),
            model: cut(model, NAME_BYTES_MAX),
            status_code,
            error_type: cut(error_type, NAME_BYTES_MAX),
            latency_ms,
            upstream_latency_ms,
            ttft_ms,
            request_bytes,
            response_bytes,
            cost_nanos: cost.0,
            fresh_input: tokens.fresh_input,
            cache_read: tokens.cache_read,
            cache_write_5m: tokens.cache_write_5m,
            cache_write_1h: tokens.cache_write_1h,
            output_text: tokens.output_text,
            reasoning: tokens.reasoning,
            audio_in: tokens.audio_in,
            audio_out: tokens.audio_out,
            units,
            usage_source: usage_source.map_or(0, source_number),
            price_version: cut(price_version, NAME_BYTES_MAX),
            cache_hit,
            rate_limited,
            budget_exceeded,
            shadow,
            degraded,
            stream,
            client_ip: cut(client_ip.unwrap_or_default(), NAME_BYTES_MAX),
            rule_id: uuid(rule_id.map(|id| *id.as_bytes())),
            budget_id: uuid(budget_id.map(|id| *id.as_bytes())),
            tags: tags
                .into_iter()
                .take(TAGS_MAX)
                .map(|(name, value)| (cut(name, NAME_BYTES_MAX), cut(value, TAG_VALUE_BYTES_MAX)))
                .collect(),
        })
    }
}

/// Event time, receive time, and whether the data plane's clock was not believed.
fn times(timestamp_ms: i64, received_at_ms: i64) -> (i64, i64, bool) {
    let received = received_at_ms.clamp(0, TIME_MS_MAX);
    let possible =
        received.saturating_sub(BEHIND_MS_MAX)..=received.saturating_add(AHEAD_MS_MAX).min(TIME_MS_MAX);
    if possible.contains(&timestamp_ms) {
        (timestamp_ms.max(0), received, false)
    } else {
        (received, received, true)
    }
}

fn source_number(source: UsageSource) -> i8 {
    i8::try_from(i32::from(v1::UsageSource::from(source))).unwrap_or(0)
}

fn uuid(id: Option<[u8; 16]>) -> Uuid {
    id.map_or(Uuid::nil(), Uuid::from_bytes)
}

/// At most so many bytes, whole characters only.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_781_524_800_000;

    fn receipt() -> Receipt<'static> {
        Receipt {
            received_at_ms: NOW_MS,
            node_id: "envoy-1",
        }
    }

    fn event() -> v1::RequestEvent {
        v1::RequestEvent {
            event_id: vec![7; 16],
            timestamp_ms: NOW_MS - 40,
            workspace_id: vec![1; 16],
            endpoint: "/v1/chat/completions".into(),
            status_code: 200,
            cost_nanos: 885_000,
            usage_source: v1::UsageSource::Partial.into(),
            tokens: Some(v1::TokenUsage {
                output_text: 10,
                ..v1::TokenUsage::default()
            }),
            tags: [("team".into(), "search".into())].into(),
            ..v1::RequestEvent::default()
        }
    }

    #[test]
    fn an_event_becomes_a_row() {
        let row = ApiEvent::of(event(), receipt()).unwrap();
        assert_eq!(
            (row.event_id, row.workspace_id),
            (Uuid::from_bytes([7; 16]), Uuid::from_bytes([1; 16]))
        );
        assert_eq!(
            (row.timestamp, row.received_at, row.clock_skewed),
            (NOW_MS - 40, NOW_MS, false)
        );
        assert_eq!(
            (row.cost_nanos, row.output_text, row.usage_source),
            (885_000, 10, 2)
        );
        assert_eq!(row.tags, [("team".to_owned(), "search".to_owned())]);
        assert_eq!((row.api_id, row.node_id.as_str()), (Uuid::nil(), "envoy-1"));
    }

    #[test]
    fn ev_11_an_impossible_time_is_replaced_by_ours() {
        for odd in [0, NOW_MS - BEHIND_MS_MAX - 1, NOW_MS + AHEAD_MS_MAX + 1, i64::MAX] {
            let mut event = event();
            event.timestamp_ms = odd;
            let row = ApiEvent::of(event, receipt()).unwrap();
            assert_eq!((row.timestamp, row.clock_skewed), (NOW_MS, true), "{odd}");
        }
        assert_eq!(times(5, i64::MAX), (TIME_MS_MAX, TIME_MS_MAX, true));
        assert_eq!(times(5, i64::MIN), (5, 0, false));
    }

    #[test]
    fn ev_11_huge_texts_are_cut_at_a_character() {
        let mut event = event();
        event.endpoint = "é".repeat(10_000);
        event.model = "\0".repeat(1_000);
        event.tags = (0..1_000).map(|n| (format!("t{n}"), "v".repeat(9_999))).collect();
        let row = ApiEvent::of(event, receipt()).unwrap();
        assert_eq!(row.endpoint, "é".repeat(ENDPOINT_BYTES_MAX / 2));
        assert_eq!(row.model.len(), NAME_BYTES_MAX);
        assert_eq!(row.tags.len(), TAGS_MAX);
        assert!(
            row.tags
                .iter()
                .all(|(_, value)| value.len() == TAG_VALUE_BYTES_MAX)
        );
    }

    #[test]
    fn ev_11_what_can_never_be_a_row_is_refused() {
        let mut nameless = event();
        nameless.event_id = vec![1; 3];
        assert!(matches!(
            ApiEvent::of(nameless, receipt()),
            Err(RowError::Invalid(_))
        ));
        let mut revised = event();
        revised.revision = 256;
        assert_eq!(ApiEvent::of(revised, receipt()), Err(RowError::Revision));
    }
}
