//! Single requests: the log, newest first; those that have just come in; all of an hour for an export.

use super::{Filter, QueryError, Reader, TIMEOUT, all};
use crate::analytics::ApiEvent;
use clickhouse::query::{Query, RowCursor};
use rateguard_api::name::StatusClass;
use uuid::Uuid;

const HOUR_MS: i64 = 3_600_000;

/// Of one look at the newest.
pub const NEWEST_MAX: u32 = 500;

/// How far an event's time can be behind the time at which it was taken (`row`).
const BEHIND_MS: i64 = 24 * HOUR_MS;

const COLUMNS: &str = "SELECT workspace_id, timestamp, received_at, clock_skewed, event_id, revision, node_id, api_id, \
    api_key_id, key_owner_id, endpoint, method, model, status_code, error_type, latency_ms, upstream_latency_ms, \
    ttft_ms, request_bytes, response_bytes, cost_nanos, fresh_input, cache_read, cache_write_5m, cache_write_1h, \
    output_text, reasoning, audio_in, audio_out, units, usage_source, price_version, cache_hit, rate_limited, \
    budget_exceeded, shadow, degraded, stream, client_ip, rule_id, budget_id, tags";

/// A slice of the log. Tables are ordered by the hour, so that is named too.
const OF_HOURS: &str = "FROM api_events WHERE workspace_id = {workspace:UUID} \
    AND toStartOfHour(timestamp) >= toStartOfHour(fromUnixTimestamp64Milli({start:Int64}, 'UTC')) \
    AND toStartOfHour(timestamp) <= toStartOfHour(fromUnixTimestamp64Milli({end:Int64}, 'UTC')) \
    AND timestamp >= fromUnixTimestamp64Milli({start:Int64}, 'UTC') \
    AND timestamp < fromUnixTimestamp64Milli({end:Int64}, 'UTC')";

const NEWEST: &str = "FROM api_events WHERE workspace_id = {workspace:UUID} \
    AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') \
    AND toStartOfHour(timestamp) >= toStartOfHour(fromUnixTimestamp64Milli({start:Int64}, 'UTC'))";

/// What leaves the house: each event once.
const ONCE: &str = "FROM api_events_once(workspace_id = {workspace:UUID}, \
    start = fromUnixTimestamp64Milli({start:Int64}, 'UTC'), end = fromUnixTimestamp64Milli({end:Int64}, 'UTC')) \
    WHERE workspace_id = {workspace:UUID}";

/// Before an event in the log.
const BEFORE: &str = " AND (timestamp < fromUnixTimestamp64Milli({at:Int64}, 'UTC') \
    OR (timestamp = fromUnixTimestamp64Milli({at:Int64}, 'UTC') AND (event_id < {event:UUID} \
    OR (event_id = {event:UUID} AND revision < {revision:UInt8}))))";

const NEWEST_FIRST: &str = "ORDER BY timestamp DESC, event_id DESC, revision DESC";

/// Which events; `None` is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub of: Filter,
    pub status: Option<StatusClass>,
    pub error_type: Option<String>,
    pub endpoint: Option<String>,
    pub latency_ms_min: Option<u32>,
    /// Whether a shadow rule would have refused it.
    pub shadow: Option<bool>,
}

impl EventFilter {
    fn condition(&self) -> String {
        let mut sql = self.of.condition();
        sql.push_str(match self.status {
            None => "",
            Some(StatusClass::None) => " AND status_code = 0",
            Some(StatusClass::Informational) => " AND status_code >= 100 AND status_code < 200",
            Some(StatusClass::Success) => " AND status_code >= 200 AND status_code < 300",
            Some(StatusClass::Redirect) => " AND status_code >= 300 AND status_code < 400",
            Some(StatusClass::ClientError) => " AND status_code >= 400 AND status_code < 500",
            Some(StatusClass::ServerError) => " AND status_code >= 500",
        });
        if self.error_type.is_some() {
            sql.push_str(" AND error_type = {error_type:String}");
        }
        if self.endpoint.is_some() {
            sql.push_str(" AND endpoint = {endpoint:String}");
        }
        if self.latency_ms_min.is_some() {
            sql.push_str(" AND latency_ms >= {latency_ms_min:UInt32}");
        }
        sql.push_str(match self.shadow {
            None => "",
            Some(true) => " AND shadow",
            Some(false) => " AND NOT shadow",
        });
        sql
    }

    fn bind(&self, query: Query) -> Query {
        let mut query = self.of.bind(query);
        if let Some(error_type) = &self.error_type {
            query = query.param("error_type", error_type);
        }
        if let Some(endpoint) = &self.endpoint {
            query = query.param("endpoint", endpoint);
        }
        if let Some(latency_ms) = self.latency_ms_min {
            query = query.param("latency_ms_min", latency_ms);
        }
        query
    }
}

/// Where an event stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub timestamp_ms: i64,
    pub event_id: Uuid,
    pub revision: u8,
}

impl Place {
    pub fn of(event: &ApiEvent) -> Self {
        Self {
            timestamp_ms: event.timestamp,
            event_id: event.event_id,
            revision: event.revision,
        }
    }
}

/// From `start_ms` on, before `end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Reader {
    /// The newest events of a range, or those before `after`; at most `limit`.
    ///
    /// Looks at the last hour first and then at twice as much time each turn: where much happens little is read.
    pub async fn events(
        &self,
        workspace_id: Uuid,
        range: Slice,
        filter: &EventFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<ApiEvent>, QueryError> {
        let mut found: Vec<ApiEvent> = Vec::new();
        let mut end_ms = after.map_or(range.end_ms, |place| range.end_ms.min(place.timestamp_ms + 1));
        let mut length_ms = HOUR_MS;
        while end_ms > range.start_ms {
            let begin = (end_ms - length_ms).div_euclid(HOUR_MS) * HOUR_MS;
            let slice = Slice {
                start_ms: begin.max(range.start_ms),
                end_ms,
            };
            let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if missing == 0 {
                break;
            }
            found.extend(self.slice(workspace_id, slice, filter, after, missing).await?);
            end_ms = slice.start_ms;
            length_ms = length_ms.saturating_mul(2);
        }
        Ok(found)
    }

    async fn slice(
        &self,
        workspace_id: Uuid,
        slice: Slice,
        filter: &EventFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<ApiEvent>, QueryError> {
        let before = if after.is_some() { BEFORE } else { "" };
        let sql = format!(
            "{COLUMNS} {OF_HOURS}{}{before} {NEWEST_FIRST} LIMIT 1 BY event_id, revision LIMIT {{limit:UInt32}}",
            filter.condition()
        );
        let mut query = self
            .query(&sql, workspace_id)
            .param("start", slice.start_ms)
            .param("end", slice.end_ms)
            .param("limit", limit);
        if let Some(place) = after {
            query = query
                .param("at", place.timestamp_ms)
                .param("event", place.event_id.to_string())
                .param("revision", place.revision);
        }
        all(filter.bind(query)).await
    }

    /// The newest of what was taken since then, the oldest first; at most [`NEWEST_MAX`].
    pub async fn newest(
        &self,
        workspace_id: Uuid,
        since_ms: i64,
        filter: &EventFilter,
    ) -> Result<Vec<ApiEvent>, QueryError> {
        let sql = format!(
            "{COLUMNS} {NEWEST}{} ORDER BY received_at DESC, event_id DESC LIMIT 1 BY event_id, revision \
             LIMIT {{limit:UInt32}}",
            filter.condition()
        );
        let query = self
            .query(&sql, workspace_id)
            .param("since", since_ms)
            .param("start", since_ms - BEHIND_MS)
            .param("limit", NEWEST_MAX);
        let mut events: Vec<ApiEvent> = all(filter.bind(query)).await?;
        events.reverse();
        Ok(events)
    }

    /// Every event of a slice once, the oldest first, as they arrive: for exports, which read an hour at a time.
    pub fn export(
        &self,
        workspace_id: Uuid,
        slice: Slice,
        filter: &EventFilter,
    ) -> Result<RowCursor<ApiEvent>, QueryError> {
        let sql = format!(
            "{COLUMNS} {ONCE}{} ORDER BY timestamp, event_id, revision",
            filter.condition()
        );
        let query = self
            .query(&sql, workspace_id)
            .param("start", slice.start_ms)
            .param("end", slice.end_ms)
            .with_setting("max_result_rows", "0");
        Ok(filter.bind(query).fetch::<ApiEvent>()?)
    }
}

/// The next event of an export.
pub async fn next(cursor: &mut RowCursor<ApiEvent>) -> Result<Option<ApiEvent>, QueryError> {
    match tokio::time::timeout(TIMEOUT, cursor.next()).await {
        Ok(event) => Ok(event?),
        Err(_) => Err(QueryError::Away(None)),
    }
}
