//! `POST /v1/spend:query`: what windows have spent, for a limit service that lost its own figures.

use super::Caller;
use super::poll::PollError;
use crate::analytics::query::QueryError;
use crate::analytics::spend::Window;
use crate::state::AppState;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use prost::Message as _;
use rateguard_wire::v1::{SpendAnswer, SpendQuery};
use uuid::Uuid;

const WINDOWS_MAX: usize = 1_000;

/// Why a query is not answered.
#[derive(Debug, thiserror::Error)]
enum SpendError {
    #[error(transparent)]
    Common(#[from] PollError),
    #[error("the token is of another workspace")]
    OtherWorkspace,
    #[error("there is no CLICKHOUSE_URL, and so no ledger")]
    NoLedger,
    #[error("the ledger did not answer")]
    Away(#[from] QueryError),
}

impl IntoResponse for SpendError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Common(error) => return error.into_response(),
            Self::OtherWorkspace => StatusCode::NOT_FOUND,
            Self::NoLedger => StatusCode::NOT_IMPLEMENTED,
            Self::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem = serde_json::json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        let headers = [(CONTENT_TYPE, "application/problem+json")];
        (status, headers, problem.to_string()).into_response()
    }
}

pub(super) async fn query(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match answer(&state, &headers, body).await {
        Ok(answer) => {
            let headers = [
                (CONTENT_TYPE, "application/x-protobuf"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, answer.encode_to_vec()).into_response()
        }
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a query of spend was refused"
            );
            error.into_response()
        }
    }
}

async fn answer(
    state: &AppState,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<SpendAnswer, SpendError> {
    let caller = state.feed.authenticate(headers).map_err(PollError::from)?;
    let body = body.map_err(|_| PollError::TooLarge)?;
    let invalid = |reason| SpendError::Common(PollError::Invalid(reason));
    let query = SpendQuery::decode(body).map_err(|_| invalid("the body is not a rateguard.v1.SpendQuery"))?;
    let SpendQuery {
        workspace_id,
        mark_id,
        windows,
    } = query;
    let workspace_id =
        Uuid::from_slice(&workspace_id).map_err(|_| invalid("workspace_id is not 16 bytes"))?;
    if !may_see(&caller, workspace_id) {
        return Err(SpendError::OtherWorkspace);
    }
    if windows.len() > WINDOWS_MAX {
        return Err(invalid("more than 1000 windows"));
    }
    let windows: Result<Vec<Window>, _> = windows.into_iter().map(Window::try_from).collect();
    let windows = windows.map_err(|_| invalid("windows: a subject or its bounds cannot be added up"))?;
    let reader = state.analytics.as_ref().ok_or(SpendError::NoLedger)?;
    if !mark_id.is_empty() {
        let mark_id = Uuid::from_slice(&mark_id).map_err(|_| invalid("mark_id is not 16 bytes"))?;
        if !reader.has_mark(workspace_id, mark_id).await? {
            return Ok(SpendAnswer {
                is_incomplete: true,
                spent: Vec::new(),
            });
        }
    }
    Ok(SpendAnswer {
        is_incomplete: false,
        spent: reader.spent(workspace_id, &windows).await?,
    })
}

fn may_see(caller: &Caller, workspace_id: Uuid) -> bool {
    caller.token.workspace_id.is_none_or(|own| own == workspace_id)
}
