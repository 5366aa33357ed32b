//! The log of requests, and the stream of those that have just come in.

use super::parameters::{Params, asked, filter, limit};
use super::{Own, reader, show, tail};
use crate::analytics::query::events::{EventFilter, Place, Slice};
use crate::analytics::{ApiEvent, Reader};
use crate::db::{names, tenant};
use crate::http::error::ApiError;
use crate::http::extract::Access;
use crate::http::page;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rateguard_api::analytics as body;
use rateguard_api::list::List;
use rateguard_api::name::StatusClass;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

const EVENTS_DEFAULT: u32 = 50;
const EVENTS_MAX: u32 = 200;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(own_events))
        .routes(routes!(stream))
        .routes(routes!(own_stream))
}

/// Of `events`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`. Requests are kept for 30 days.
    start: Option<String>,
    /// Before this instant. Default: now.
    end: Option<String>,
    /// Entries on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    #[param(inline)]
    status: Option<StatusClass>,
    /// `rate_limited`, `budget_exceeded`, …
    error_type: Option<String>,
    endpoint: Option<String>,
    /// Took at least so long.
    #[param(value_type = Option<u32>)]
    min_latency_ms: Option<String>,
    /// True: only those that a shadow rule would have refused.
    shadow: Option<bool>,
    api_id: Option<String>,
    key_id: Option<String>,
    model: Option<String>,
}

/// Of `tail`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TailParams {
    #[param(inline)]
    status: Option<StatusClass>,
    /// `rate_limited`, `budget_exceeded`, …
    error_type: Option<String>,
    endpoint: Option<String>,
    /// Took at least so long.
    #[param(value_type = Option<u32>)]
    min_latency_ms: Option<String>,
    /// True: only those that a shadow rule would have refused.
    shadow: Option<bool>,
    api_id: Option<String>,
    key_id: Option<String>,
    model: Option<String>,
}

/// Lists single requests, newest first
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/events", tag = "Analytics",
    operation_id = "listEvents", params(EventParams), responses((status = 200, body = List<body::Event>)))]
async fn events(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<EventParams>,
) -> Result<Json<List<body::Event>>, ApiError> {
    let (mut start, end) = asked(params.start.as_deref(), params.end.as_deref(), state.now())?;
    let limit = limit(params.limit.as_deref(), EVENTS_DEFAULT, EVENTS_MAX)?;
    let cursor = params.cursor.as_deref().map(read_cursor).transpose()?;
    if let (Some(cursor), None) = (&cursor, &params.start) {
        // The pages after the first are of the same range.
        start = cursor.start;
    }
    let filter = EventFilter {
        of: filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?,
        status: params.status,
        error_type: page::text("errorType", params.error_type)?,
        endpoint: page::text("endpoint", params.endpoint)?,
        latency_ms_min: latency(params.min_latency_ms.as_deref())?,
        shadow: params.shadow,
    };
    let range = Slice {
        start_ms: start.timestamp_millis(),
        end_ms: end.timestamp_millis(),
    };
    let after = cursor.map(|cursor| cursor.after);
    let workspace_id = access.workspace_id();
    let mut found = reader(&state, &access)?
        .events(workspace_id, range, &filter, after, limit + 1)
        .await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| has_more).map(|last| {
        show_cursor(Cursor {
            start,
            after: Place::of(last),
        })
    });
    Ok(Json(List {
        data: shown(&state.db, workspace_id, &found).await?,
        next_cursor,
    }))
}

/// Lists the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/events", tag = "Analytics", operation_id = "listOwnEvents",
    params(EventParams), responses((status = 200, body = List<body::Event>), (status = 404)))]
async fn own_events(
    state: State<AppState>,
    Own(access): Own,
    params: Params<EventParams>,
) -> Result<Json<List<body::Event>>, ApiError> {
    events(state, access, params).await
}

/// Streams requests as they come in
///
/// Server-sent events of type `request`, each an Event as in the list; at most 500 a second, the newest. The stream
/// ends after 15 minutes: ask again.
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/tail", tag = "Analytics",
    operation_id = "tailEvents", params(TailParams),
    responses((status = 200, body = body::Event, content_type = "text/event-stream"), (status = 429)))]
async fn stream(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<TailParams>,
) -> Result<Response, ApiError> {
    let filter = EventFilter {
        of: filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?,
        status: params.status,
        error_type: page::text("errorType", params.error_type)?,
        endpoint: page::text("endpoint", params.endpoint)?,
        latency_ms_min: latency(params.min_latency_ms.as_deref())?,
        shadow: params.shadow,
    };
    let reader: Reader = reader(&state, &access)?.clone();
    tail::answer(state, reader, access.workspace_id(), filter).await
}

/// Streams the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/tail", tag = "Analytics", operation_id = "tailOwnEvents",
    params(TailParams),
    responses((status = 200, body = body::Event, content_type = "text/event-stream"), (status = 404), (status = 429)))]
async fn own_stream(
    state: State<AppState>,
    Own(access): Own,
    params: Params<TailParams>,
) -> Result<Response, ApiError> {
    stream(state, access, params).await
}

fn latency(text: Option<&str>) -> Result<Option<u32>, ApiError> {
    text.map(str::parse)
        .transpose()
        .map_err(|_| ApiError::invalid("minLatencyMs", "must be a whole number of milliseconds"))
}

/// A page's end, and the range that its list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    start: chrono::DateTime<chrono::Utc>,
    after: Place,
}

fn show_cursor(cursor: Cursor) -> String {
    let mut bytes = cursor.start.timestamp_millis().to_be_bytes().to_vec();
    bytes.extend(cursor.after.timestamp_ms.to_be_bytes());
    bytes.extend(cursor.after.event_id.as_bytes());
    bytes.push(cursor.after.revision);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Result<Cursor, ApiError> {
    parse_cursor(text).ok_or_else(|| ApiError::invalid("cursor", "must be the `nextCursor` of a page before"))
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (start, rest) = bytes.split_first_chunk::<8>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let [revision] = rest else { return None };
    // What ClickHouse's times can hold.
    let possible = 0..=i64::from(u32::MAX) * 1_000;
    let start_ms = Some(i64::from_be_bytes(*start)).filter(|ms| possible.contains(ms))?;
    let timestamp_ms = Some(i64::from_be_bytes(*at)).filter(|ms| possible.contains(ms))?;
    Some(Cursor {
        start: chrono::DateTime::from_timestamp_millis(start_ms)?,
        after: Place {
            timestamp_ms,
            event_id: Uuid::from_bytes(*id),
            revision: *revision,
        },
    })
}

/// With the names that people gave.
pub(super) async fn shown(
    db: &PgPool,
    workspace_id: Uuid,
    events: &[ApiEvent],
) -> Result<Vec<body::Event>, ApiError> {
    let distinct = |id: fn(&ApiEvent) -> Uuid| {
        let mut ids: Vec<Uuid> = events.iter().map(id).filter(|id| !id.is_nil()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let mut db = tenant::begin(db, workspace_id).await?;
    let apis = names::of_apis(&mut db, workspace_id, &distinct(|event| event.api_id)).await?;
    let keys = names::of_keys(&mut db, workspace_id, &distinct(|event| event.api_key_id)).await?;
    let named = events.iter().map(|event| body::Event {
        api_name: apis.get(&event.api_id).cloned(),
        key_name: keys.get(&event.api_key_id).cloned(),
        ..show::event(event)
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_others_are_refused() {
        let cursor = Cursor {
            start: chrono::DateTime::from_timestamp_millis(1_781_524_800_123).unwrap(),
            after: Place {
                timestamp_ms: 1_781_524_800_456,
                event_id: Uuid::from_u128(7),
                revision: 1,
            },
        };
        assert_eq!(parse_cursor(&show_cursor(cursor)), Some(cursor));
        for bad in ["", "x", "AAAA", &format!("{}AA", show_cursor(cursor)), "\0"] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
        assert_eq!(parse_cursor(&URL_SAFE_NO_PAD.encode([0xff; 33])), None);
    }
}
