//! `GET /api/workspaces/{id}/audit`: who wrote what.

use super::error::ApiError;
use super::extract::Access;
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::db::audit::{self, Filter, Listed};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use rateguard_api::audit as body;
use rateguard_api::list::List;
use rateguard_api::name::AuditAction;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditFilter {
    action: Option<AuditAction>,
    /// `api`, `key`, `rule`, …
    resource_type: Option<String>,
    resource_id: Option<String>,
    user_id: Option<String>,
    /// From this instant on (RFC 3339).
    from: Option<String>,
    /// Before this instant.
    to: Option<String>,
}

/// Lists the writes, newest first
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/audit", tag = "Audit", operation_id = "listAudit",
    params(Paging, AuditFilter), responses((status = 200, body = List<body::AuditEntry>)))]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<AuditFilter>,
) -> Result<Json<List<body::AuditEntry>>, ApiError> {
    access.require(Permission::ReadAudit)?;
    let filter = Filter {
        action: filter.action,
        resource_type: page::text("resourceType", filter.resource_type)?,
        resource_id: page::id("resourceId", filter.resource_id.as_deref())?,
        user_id: page::id("userId", filter.user_id.as_deref())?,
        from: page::instant("from", filter.from.as_deref())?,
        to: page::instant("to", filter.to.as_deref())?,
    };
    let entries = audit::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        &filter,
        &page,
    )
    .await?;
    let position = |entry: &Listed| (entry.record.at, entry.record.id);
    Ok(Json(page::list(&entries, &page, position, show)))
}

fn show(entry: &Listed) -> body::AuditEntry {
    let Listed { record, email } = entry;
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string());
    // As Postgres gave it: it is JSON.
    let json = |text: &Option<String>| text.clone().and_then(|text| RawValue::from_string(text).ok());
    body::AuditEntry {
        id: record.id.to_string(),
        at: text::timestamp(record.at),
        actor: body::Actor {
            user_id: id(record.user_id),
            email: email.clone(),
            session_id: id(record.session_id),
            token_id: id(record.token_id),
        },
        action: record.action,
        resource: body::Resource {
            kind: record.action.resource_type().to_owned(),
            id: id(record.resource_id),
            name: record.resource_name.clone(),
        },
        before: json(&record.before),
        after: json(&record.after),
        ip: record.ip.clone(),
        user_agent: record.user_agent.clone(),
        request_id: id(record.request_id),
    }
}
