//! `/api/workspaces/{id}/prices`: what the workspace puts before the bundled catalogue, and the catalogue.

use super::apis::cost_model::{prices as check_prices, show_prices};
use super::capacity;
use super::error::{ApiError, Faults};
use super::etag::{IfMatch, IfMatchParam, Tagged};
use super::extract::{Access, Body, ItemId};
use super::idempotency::{Created, Creating, Creation, IdempotencyKey};
use super::page::{self, Paged, Paging};
use super::permission::Permission;
use super::text;
use crate::audit::Entry;
use crate::db::capacity::Counted;
use crate::db::price::{self, Override};
use crate::db::{DbError, feed};
use crate::prices::{self, CatalogueEntry};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rateguard_api::list::List;
use rateguard_api::name::AuditAction;
use rateguard_api::price as body;
use rateguard_model::cost::ModelPrices;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const PATTERN_BYTES_MAX: usize = 200;
const OUTPUT_TOKENS_MAX: u32 = 10_000_000;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(catalogue))
        .routes(routes!(show_one, update, delete))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PriceFilter {
    /// In the pattern, whatever the case.
    model: Option<String>,
}

/// Lists the workspace's own prices, oldest first
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/prices",
    tag = "Prices",
    operation_id = "listPrices",
    params(Paging, PriceFilter),
    responses((status = 200, body = List<body::Price>))
)]
async fn list(
    State(state): State<AppState>,
    access: Access,
    Paged { page, filter }: Paged<PriceFilter>,
) -> Result<Json<List<body::Price>>, ApiError> {
    access.require(Permission::Read)?;
    let model = page::text("model", filter.model)?;
    let found = price::list(
        &mut *access.read(&state).await?,
        access.workspace_id(),
        model.as_deref(),
        &page,
    )
    .await?;
    let position = |price: &Override| (price.created_at, price.id);
    Ok(Json(page::list(&found, &page, position, show)))
}

/// Shows the bundled prices, which the workspace's own go before
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/prices/catalogue",
    tag = "Prices",
    operation_id = "showCatalogue",
    responses((status = 200, body = body::Catalogue))
)]
async fn catalogue(access: Access) -> Result<Json<body::Catalogue>, ApiError> {
    access.require(Permission::Read)?;
    let bundled = prices::catalogue();
    Ok(Json(body::Catalogue {
        version: bundled.version.clone(),
        entries: bundled.entries.iter().map(show_entry).collect(),
    }))
}

/// Shows one of the workspace's own prices
#[utoipa::path(
    get,
    path = "/api/workspaces/{workspace_id}/prices/{id}",
    tag = "Prices",
    operation_id = "showPrice",
    responses((status = 200, body = body::Price))
)]
async fn show_one(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
) -> Result<Tagged<body::Price>, ApiError> {
    access.require(Permission::Read)?;
    let price = price::by_id(&mut *access.read(&state).await?, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("price"))?;
    Ok(Tagged(show(&price)))
}

/// Puts a price before the catalogue's
#[utoipa::path(
    post,
    path = "/api/workspaces/{workspace_id}/prices",
    tag = "Prices",
    operation_id = "createPrice",
    params(IdempotencyKey),
    request_body = body::CreatePrice,
    responses((status = 201, body = body::Price))
)]
async fn create(
    State(state): State<AppState>,
    access: Access,
    Creating { body, once }: Creating<body::CreatePrice>,
) -> Result<Created, ApiError> {
    access.require(Permission::WritePrices)?;
    let creation = Creation {
        state: &state,
        user_id: access.user_id(),
        workspace_id: access.workspace_id(),
        once,
    };
    if let Some(earlier) = creation.admit().await? {
        return Ok(earlier);
    }
    let now = state.now();
    let given = body::UpdatePrice {
        prices: body.prices,
        default_output_tokens: body.default_output_tokens,
    };
    let price = Override {
        id: state.new_id(),
        workspace_id: access.workspace_id(),
        entry: checked(body.model, &given)?,
        created_at: now,
        updated_at: now,
    };
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    capacity::require(&state, &mut tx, price.workspace_id, Counted::Prices).await?;
    price::insert(&mut tx, &price).await.map_err(model_taken)?;
    prices::reprice(&mut tx, price.workspace_id, now, feed_version).await?;
    let shown = show(&price);
    let entry = entry(AuditAction::PriceCreate, &price).after(&shown);
    creation.commit(tx, entry, &shown).await
}

/// Replaces a price
#[utoipa::path(
    patch,
    path = "/api/workspaces/{workspace_id}/prices/{id}",
    tag = "Prices",
    operation_id = "updatePrice",
    params(IfMatchParam),
    request_body = body::UpdatePrice,
    responses((status = 200, body = body::Price))
)]
async fn update(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
    Body(body): Body<body::UpdatePrice>,
) -> Result<Tagged<body::Price>, ApiError> {
    access.require(Permission::WritePrices)?;
    let now = state.now();
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let mut price = price::for_update(&mut tx, access.workspace_id(), id)
        .await?
        .ok_or(ApiError::NotFound("price"))?;
    let before = show(&price);
    if_match.check(&before)?;
    price.entry = checked(price.entry.model, &body)?;
    price.updated_at = now;
    price::update(&mut tx, &price).await?;
    prices::reprice(&mut tx, price.workspace_id, now, feed_version).await?;
    let shown = show(&price);
    let entry = entry(AuditAction::PriceUpdate, &price).before(&before);
    tx.commit(entry.after(&shown)).await?;
    Ok(Tagged(shown))
}

/// Deletes a price: the catalogue's holds again
#[utoipa::path(
    delete,
    path = "/api/workspaces/{workspace_id}/prices/{id}",
    tag = "Prices",
    operation_id = "deletePrice",
    params(IfMatchParam),
    responses((status = 204))
)]
async fn delete(
    State(state): State<AppState>,
    access: Access,
    ItemId(id): ItemId,
    if_match: IfMatch,
) -> Result<StatusCode, ApiError> {
    access.require(Permission::WritePrices)?;
    let workspace_id = access.workspace_id();
    let mut tx = access.write(&state).await?;
    let feed_version = feed::next_version(&mut tx).await?;
    let price = price::for_update(&mut tx, workspace_id, id)
        .await?
        .ok_or(ApiError::NotFound("price"))?;
    let before = show(&price);
    if_match.check(&before)?;
    price::delete(&mut tx, workspace_id, id).await?;
    prices::reprice(&mut tx, workspace_id, state.now(), feed_version).await?;
    tx.commit(entry(AuditAction::PriceDelete, &price).before(&before))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn entry(action: AuditAction, price: &Override) -> Entry {
    Entry::new(action, price.workspace_id, price.id, &price.entry.model)
}

fn checked(model: String, given: &body::UpdatePrice) -> Result<ModelPrices, ApiError> {
    let mut faults = Faults::default();
    if !(1..=PATTERN_BYTES_MAX).contains(&model.len()) || !model.bytes().all(|b| b.is_ascii_graphic()) {
        faults.invalid("model", "must be 1 to 200 visible ASCII characters");
    }
    let default_output_tokens = given.default_output_tokens.unwrap_or(0);
    if default_output_tokens > OUTPUT_TOKENS_MAX {
        faults.invalid("defaultOutputTokens", "must be at most 10000000");
    }
    let prices = check_prices(&mut faults, "prices", &given.prices);
    faults.finish(ModelPrices {
        model,
        prices,
        default_output_tokens,
    })
}

fn model_taken(error: DbError) -> ApiError {
    if error.constraint() == Some(price::MODEL_KEY) {
        ApiError::Conflict {
            field: "model",
            message: "there is a price of this pattern already".to_owned(),
        }
    } else {
        error.into()
    }
}

fn show(price: &Override) -> body::Price {
    let tokens = price.entry.default_output_tokens;
    body::Price {
        id: price.id.to_string(),
        model: price.entry.model.clone(),
        prices: show_prices(&price.entry.prices),
        default_output_tokens: (tokens > 0).then_some(tokens),
        created_at: text::timestamp(price.created_at),
        updated_at: text::timestamp(price.updated_at),
    }
}

fn show_entry(entry: &CatalogueEntry) -> body::CatalogueEntry {
    body::CatalogueEntry {
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        prices: show_prices(&entry.prices),
        source: entry.source.clone(),
        as_of: entry.as_of.clone(),
    }
}
