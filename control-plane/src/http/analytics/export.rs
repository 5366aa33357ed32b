//! Exports: every event of a range once, streamed an hour at a time in constant memory.
//!
//! An answer that cannot be finished is cut off, so that nobody takes half of it for the whole.

use super::parameters::{Params, asked, filter};
use super::{Own, reader, show};
use crate::analytics::ApiEvent;
use crate::analytics::query::events::{self, EventFilter, Slice};
use crate::analytics::query::{QueryError, Reader};
use crate::db::{names, tenant};
use crate::http::error::ApiError;
use crate::http::extract::Access;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::Duration;
use clickhouse::query::RowCursor;
use futures_util::stream;
use rateguard_api::name::ExportFormat;
use serde::Deserialize;
use sqlx::PgPool;
use std::collections::HashMap;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

mod csv;
mod focus;

/// How long single events are kept (`migrations/clickhouse`).
const KEPT_DAYS: i64 = 30;
const HOUR_MS: i64 = 3_600_000;
/// Of one piece of the answer.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .routes(routes!(own_export))
}

/// Of `export`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    /// From this instant on (RFC 3339), at most 30 days ago. Default: 24 hours before `end`.
    start: Option<String>,
    /// Before this instant. Default: now.
    end: Option<String>,
    /// Default: csv. `focus` is the FinOps Open Cost and Usage Specification 1.2, as CSV.
    #[param(inline)]
    format: Option<ExportFormat>,
    api_id: Option<String>,
    key_id: Option<String>,
    model: Option<String>,
}

/// Exports every request of a range
///
/// CSV, a line per request; a late settlement is a line of its own with the differences.
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/export", tag = "Analytics",
    operation_id = "exportEvents", params(ExportParams),
    responses((status = 200, body = String, content_type = "text/csv")))]
async fn export(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<ExportParams>,
) -> Result<Response, ApiError> {
    let now = state.now();
    let (start, end) = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    if start < now - Duration::days(KEPT_DAYS) {
        return Err(ApiError::invalid(
            "start",
            "single requests are kept for 30 days; ask for a later `start`",
        ));
    }
    let filter = EventFilter {
        of: filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?,
        ..EventFilter::default()
    };
    let format = params.format.unwrap_or(ExportFormat::Csv);
    let mut export = Export {
        reader: reader(&state, &access)?.clone(),
        db: state.db.clone(),
        workspace_id: access.workspace_id(),
        workspace_name: access.membership.workspace.name.clone(),
        format,
        filter,
        at_ms: start.timestamp_millis(),
        end_ms: end.timestamp_millis(),
        cursor: None,
        apis: HashMap::new(),
        keys: HashMap::new(),
        text: String::new(),
        has_ended: false,
    };
    export.text.push_str(match format {
        ExportFormat::Csv => csv::HEAD,
        ExportFormat::Focus => focus::HEAD,
    });
    // So that what is refused is an answer of its own.
    let first = export.piece().await?.unwrap_or_default();
    let pieces = stream::unfold((Some(first), export), |(ready, mut export)| async move {
        let piece = match ready {
            Some(piece) => Ok(Some(piece)),
            None => export.piece().await,
        };
        match piece {
            Ok(piece) => piece.map(|piece| (Ok(piece), (None, export))),
            Err(error) => {
                tracing::error!(error = %error, "an export was cut off");
                export.has_ended = true;
                Some((Err(error), (None, export)))
            }
        }
    });
    let day = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d").to_string();
    let name = format!(
        "attachment; filename=\"rateguard-{}-{}-{}.csv\"",
        format.as_str(),
        day(start),
        day(end)
    );
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Exports the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/export", tag = "Analytics", operation_id = "exportOwnEvents",
    params(ExportParams),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 404)))]
async fn own_export(
    state: State<AppState>,
    Own(access): Own,
    params: Params<ExportParams>,
) -> Result<Response, ApiError> {
    export(state, access, params).await
}

/// What has been written so far, and what comes next.
struct Export {
    reader: Reader,
    db: PgPool,
    workspace_id: Uuid,
    workspace_name: String,
    format: ExportFormat,
    filter: EventFilter,
    at_ms: i64,
    end_ms: i64,
    cursor: Option<RowCursor<ApiEvent>>,
    apis: HashMap<Uuid, String>,
    keys: HashMap<Uuid, String>,
    text: String,
    has_ended: bool,
}

impl Export {
    /// The next piece, of one hour at most, so that hours without events do not keep the answer waiting; `None` at the
    /// end.
    async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        while !self.has_ended && self.text.len() < PIECE_BYTES {
            match self.event().await? {
                Some(event) => self.write(&event).await?,
                None => break,
            }
        }
        let text = std::mem::take(&mut self.text);
        Ok((!text.is_empty() || !self.has_ended).then(|| Bytes::from(text)))
    }

    /// The next event of the hour that is read; `None` at its end, which may be that of all.
    async fn event(&mut self) -> Result<Option<ApiEvent>, QueryError> {
        if self.cursor.is_none() && self.at_ms < self.end_ms {
            let next_ms = (self.at_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS;
            let slice = Slice {
                start_ms: self.at_ms,
                end_ms: next_ms.min(self.end_ms),
            };
            self.cursor = Some(self.reader.export(self.workspace_id, slice, &self.filter)?);
            self.at_ms = slice.end_ms;
        }
        if let Some(cursor) = &mut self.cursor {
            if let Some(event) = events::next(cursor).await? {
                return Ok(Some(event));
            }
            self.cursor = None;
        }
        self.has_ended = self.at_ms >= self.end_ms;
        Ok(None)
    }

    async fn write(&mut self, event: &ApiEvent) -> Result<(), ApiError> {
        if !self.apis.contains_key(&event.api_id) {
            let found = names::of_apis(
                &mut *tenant::begin(&self.db, self.workspace_id).await?,
                self.workspace_id,
                &[event.api_id],
            )
            .await?;
            let name = found.into_values().next().unwrap_or_default();
            self.apis.insert(event.api_id, name);
        }
        if !self.keys.contains_key(&event.api_key_id) {
            let found = names::of_keys(
                &mut *tenant::begin(&self.db, self.workspace_id).await?,
                self.workspace_id,
                &[event.api_key_id],
            )
            .await?;
            let name = found.into_values().next().unwrap_or_default();
            self.keys.insert(event.api_key_id, name);
        }
        let known = Known {
            workspace: &self.workspace_name,
            api: self.apis.get(&event.api_id).map_or("", String::as_str),
            key: self.keys.get(&event.api_key_id).map_or("", String::as_str),
        };
        match self.format {
            ExportFormat::Csv => csv::write(&mut self.text, event, &known),
            ExportFormat::Focus => focus::write(&mut self.text, event, &known),
        }
        Ok(())
    }
}

/// What an event's ids are called.
struct Known<'a> {
    workspace: &'a str,
    api: &'a str,
    key: &'a str,
}
