//! `/api/workspaces/{id}/data-planes`: tokens that see this workspace only. One for all workspaces is made on the
//! operator's machine, never here.

use super::error::{ApiError, Faults};
use super::extract::{Access, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, NoFilter, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::Entry;
use crate::data_plane_token;
use crate::db::data_plane_node::{self as nodes, Node};
use crate::db::data_plane_token::{self as tokens, Token};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::data_plane as body;
use rateguard_api::list::List;
use rateguard_api::name::AuditAction;
use std::collections::HashMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Lists the tokens of data planes, and what polls with each, the oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/data-planes",
    tag = "Data planes",
    operation_id = "listDataPlaneTokens",
    params(Paging),
    responses((status = 200, body = List<body::DataPlaneToken>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged {
        page,
        filter: NoFilter {},
    }: Paged<NoFilter>,
) -> Result<Json<List<body::DataPlaneToken>>, ApiError> {
    access.require(Permission::ReadDataPlanes)?;
    let found = tokens::list(&mut *access.read(&state).await?, access.workspace_id(), &page).await?;
    let mut nodes: HashMap<Uuid, Vec<body::DataPlaneNode>> = HashMap::new();
    for node in nodes::list(&mut *access.read(&state).await?, access.workspace_id()).await? {
        nodes.entry(node.token_id).or_default().push(show_node(node));
    }
    let position = |token: &Token| (token.created_at, token.id);
    let shown = |token: &Token| show(token, nodes.get(&token.id).cloned().unwrap_or_default());
    Ok(Json(page::list(&found, &page, position, shown)))
}

/// Makes a token; the answer is the only one that holds it
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/data-planes",
    tag = "Data planes",
    operation_id = "createDataPlaneToken",
    params(IdempotencyKey),
    request_body = body::CreateDataPlaneToken,
    responses((status = 201, body = body::DataPlaneTokenWithSecret))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreateDataPlaneToken>,
) -> Result<Created, ApiError> {
    access.require(Permission::WriteDataPlanes)?;
    let creation = Creation {
        state: &state,
        user_id: access.user_id(),
        workspace_id: access.workspace_id(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
    let mut faults = Faults::default();
    let name = text::name(&mut faults, "name", &body.name);
    let name = faults.finish(name)?;
    let created_at = state.now();
    let mut tx = access.write(&state).await?;
    let created = data_plane_token::create_for_workspace(
        &mut tx,
        state.clock.as_ref(),
        state.entropy.as_ref(),
        access.workspace_id(),
        &name,
    )
    .await?;
    let token = Token {
        id: created.id,
        name,
        created_at,
        revoked_at: None,
        all_workspaces: false,
    };
    let record = show(&token, Vec::new());
    let entry = Entry::new(
        AuditAction::DataPlaneTokenCreate,
        access.workspace_id(),
        created.id,
        &token.name,
    )
    .after(&record);
    let answer = body::DataPlaneTokenWithSecret {
        record,
        token: created.token.text,
    };
    creation.commit(tx, entry, &answer).await
}

/// Revokes a token
///
/// Final: the token is refused from now on.
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/data-planes/{id}",
    tag = "Data planes",
    operation_id = "revokeDataPlaneToken",
    responses((status = 204))
)]
async fn revoke(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WriteDataPlanes)?;
    let workspace_id = access.workspace_id();
    let token = tokens::by_id(&mut *access.read(&state).await?, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("data-plane token"))?;
    let mut tx = access.write(&state).await?;
    if !data_plane_token::revoke(&mut tx, state.clock.as_ref(), workspace_id, id).await? {
        return Err(ApiError::NotFound("data-plane token"));
    }
    let before = show(&token, Vec::new());
    let entry = Entry::new(AuditAction::DataPlaneTokenRevoke, workspace_id, id, &before.name);
    tx.commit(entry.before(&before)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show(token: &Token, nodes: Vec<body::DataPlaneNode>) -> body::DataPlaneToken {
    let Token {
        id,
        name,
        created_at,
        revoked_at,
        all_workspaces,
    } = token;
    body::DataPlaneToken {
        id: id.to_string(),
        name: name.clone(),
        created_at: text::timestamp(*created_at),
        revoked_at: revoked_at.map(text::timestamp),
        all_workspaces: *all_workspaces,
        nodes,
    }
}

fn show_node(node: Node) -> body::DataPlaneNode {
    let Node {
        token_id: _,
        role,
        node_id,
        software_version,
        version,
        last_seen_at,
        rejection_count,
        rejection_reason,
        rejected_at,
    } = node;
    body::DataPlaneNode {
        node_id,
        role,
        software_version,
        version,
        last_seen_at: text::timestamp(last_seen_at),
        rejection_count: u64::try_from(rejection_count).unwrap_or(0),
        rejection_reason,
        rejected_at: rejected_at.map(text::timestamp),
    }
}
