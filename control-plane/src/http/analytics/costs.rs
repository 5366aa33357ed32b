//! Costs, broken down.

use super::parameters::{CostParams, Params, Plans, asked, filter, limit};
use super::{Own, reader, show};
use crate::analytics::query::range::Kept;
use crate::analytics::query::usage::Sums;
use crate::db::{names, tenant};
use crate::http::error::ApiError;
use crate::http::extract::Access;
use crate::http::page;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use rateguard_api::analytics as body;
use rateguard_api::name::CostGrouping;
use std::collections::{BTreeMap, HashMap};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

const GROUPS_DEFAULT: u32 = 100;
const GROUPS_MAX: u32 = 1_000;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(costs))
        .routes(routes!(own_costs))
}

/// Breaks costs down by API, key, model, tag, member or endpoint
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/costs", tag = "Analytics",
    operation_id = "showCostBreakdown", params(CostParams), responses((status = 200, body = body::CostBreakdown)))]
async fn costs(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<CostParams>,
) -> Result<Json<body::CostBreakdown>, ApiError> {
    let now = state.now();
    let asked = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    let by = params.by.unwrap_or(CostGrouping::Api);
    let limit = limit(params.limit.as_deref(), GROUPS_DEFAULT, GROUPS_MAX)?;
    let is_filtered = params.api_id.is_some() || params.key_id.is_some() || params.model.is_some();
    if by == CostGrouping::Tag && is_filtered {
        return Err(ApiError::invalid(
            "by",
            "tags are not kept by API, key or model; leave out the filter",
        ));
    }
    if by != CostGrouping::Tag && params.tag.is_some() {
        return Err(ApiError::invalid("tag", "goes with `by=tag` only"));
    }
    let filter = filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?;
    let tag = page::text("tag", params.tag)?;
    let tag = tag.as_deref();
    // Tags are kept by the hour.
    let kept = if by == CostGrouping::Tag {
        Kept::TAGS
    } else {
        Kept::ROLLUPS
    };
    let time_zone = access.membership.workspace.time_zone;
    let plans = Plans::of(kept, asked, None, params.compare, time_zone, now)?;
    let reader = reader(&state, &access)?;
    let workspace_id = access.workspace_id();
    let (total, groups) = tokio::try_join!(
        reader.usage_total(workspace_id, &plans.current, &filter),
        reader.costs(workspace_id, &plans.current, &filter, by, tag, limit)
    )?;
    let mut earlier = None;
    let previous = match &plans.previous {
        Some(plan) => {
            let (total, groups) = tokio::try_join!(
                reader.usage_total(workspace_id, plan, &filter),
                reader.cost_of_groups(workspace_id, plan, &filter, by, tag)
            )?;
            earlier = Some(groups);
            Some(body::PreviousCosts {
                range: show::range(plan),
                total_cost_cents: show::cents(total.cost_nanos),
                total_requests: total.requests,
            })
        }
        None => None,
    };
    let known = known_names(&state, workspace_id, by, &groups).await?;
    let shown = groups
        .iter()
        .map(|sums| group(sums, by, &known, total.cost_nanos, earlier.as_ref()));
    Ok(Json(body::CostBreakdown {
        range: show::range(&plans.current),
        by,
        total_cost_cents: show::cents(total.cost_nanos),
        total_requests: total.requests,
        groups: shown.collect(),
        previous,
    }))
}

/// Shows the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/costs", tag = "Analytics", operation_id = "showOwnCostBreakdown",
    params(CostParams), responses((status = 200, body = body::CostBreakdown), (status = 404)))]
async fn own_costs(
    state: State<AppState>,
    Own(access): Own,
    params: Params<CostParams>,
) -> Result<Json<body::CostBreakdown>, ApiError> {
    costs(state, access, params).await
}

/// Of the groups' ids, where ids are what they are by.
async fn known_names(
    state: &AppState,
    workspace_id: Uuid,
    by: CostGrouping,
    groups: &[Sums],
) -> Result<HashMap<Uuid, String>, ApiError> {
    let ids = groups.iter().filter_map(|sums| sums.key.first()?.parse().ok());
    let ids: Vec<Uuid> = ids.collect();
    let mut db = tenant::begin(&state.db, workspace_id).await?;
    Ok(match by {
        CostGrouping::Api => names::of_apis(&mut db, workspace_id, &ids).await?,
        CostGrouping::Key => names::of_keys(&mut db, workspace_id, &ids).await?,
        CostGrouping::Member => names::of_people(&mut db, &ids).await?,
        CostGrouping::Model | CostGrouping::Tag | CostGrouping::Endpoint => HashMap::new(),
    })
}

fn group(
    sums: &Sums,
    by: CostGrouping,
    known: &HashMap<Uuid, String>,
    total_nanos: i64,
    earlier: Option<&BTreeMap<Vec<String>, i64>>,
) -> body::CostGroup {
    let first = sums.key.first().cloned().unwrap_or_default();
    let second = sums.key.get(1).cloned().unwrap_or_default();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let (id, name, method) = match by {
        CostGrouping::Api | CostGrouping::Key | CostGrouping::Member => {
            let id = first.parse().unwrap_or(Uuid::nil());
            (show::id(id), known.get(&id).cloned(), None)
        }
        CostGrouping::Model => (some(first.clone()), some(first), None),
        CostGrouping::Endpoint => (some(first.clone()), some(first), some(second)),
        CostGrouping::Tag => {
            let tag = format!("{first}={second}");
            (Some(tag.clone()), Some(tag), None)
        }
    };
    let whole = u64::try_from(total_nanos).ok().filter(|whole| *whole > 0);
    body::CostGroup {
        id,
        name,
        method,
        request_count: sums.requests,
        cost_cents: show::cents(sums.cost_nanos),
        share: whole.map(|whole| show::share(u64::try_from(sums.cost_nanos).unwrap_or(0), whole)),
        tokens: show::tokens(sums),
        previous_cost_cents: earlier
            .map(|groups| show::cents(groups.get(&sums.key).copied().unwrap_or_default())),
    }
}
