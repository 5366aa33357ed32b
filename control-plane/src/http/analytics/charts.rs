//! Requests over time, the summary, the busiest endpoints, latency.

use super::parameters::{
    ChartParams, EndpointParams, LatencyParams, Params, Plans, SummaryParams, asked, filter, kept, limit,
};
use super::{Own, reader, show};
use crate::analytics::Reader;
use crate::analytics::query::range::{self, Plan};
use crate::analytics::query::{Filter, QueryError};
use crate::db::{names, tenant};
use crate::http::error::ApiError;
use crate::http::extract::Access;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use rateguard_api::analytics as body;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

const ENDPOINTS_DEFAULT: u32 = 10;
const ENDPOINTS_MAX: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(requests))
        .routes(routes!(own_requests))
        .routes(routes!(summary))
        .routes(routes!(own_summary))
        .routes(routes!(top_endpoints))
        .routes(routes!(own_top_endpoints))
        .routes(routes!(latency))
        .routes(routes!(own_latency))
}

/// Shows requests, errors, costs and tokens over time
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/requests", tag = "Analytics",
    operation_id = "showRequests", params(ChartParams), responses((status = 200, body = body::Requests)))]
async fn requests(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<ChartParams>,
) -> Result<Json<body::Requests>, ApiError> {
    let now = state.now();
    let asked = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    let filter = filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?;
    let granularity = params
        .granularity
        .unwrap_or_else(|| range::suitable(asked.0, asked.1));
    let time_zone = access.membership.workspace.time_zone;
    let plans = Plans::new(asked, Some(granularity), params.compare, time_zone, now)?;
    let reader = reader(&state, &access)?;
    let workspace_id = access.workspace_id();
    let points = async |plan: &Plan| -> Result<Vec<body::RequestPoint>, QueryError> {
        let sums = reader.usage_over_time(workspace_id, plan, &filter).await?;
        Ok(show::points(plan, &sums))
    };
    let previous = async {
        Ok(match &plans.previous {
            Some(plan) => Some(body::PreviousRequests {
                range: show::range(plan),
                data: points(plan).await?,
            }),
            None => None,
        })
    };
    let (data, previous) = tokio::try_join!(points(&plans.current), previous)?;
    Ok(Json(body::Requests {
        range: show::range(&plans.current),
        granularity,
        data,
        previous,
    }))
}

/// Shows the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/requests", tag = "Analytics", operation_id = "showOwnRequests",
    params(ChartParams), responses((status = 200, body = body::Requests), (status = 404)))]
async fn own_requests(
    state: State<AppState>,
    Own(access): Own,
    params: Params<ChartParams>,
) -> Result<Json<body::Requests>, ApiError> {
    requests(state, access, params).await
}

/// Shows totals of a range
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/summary", tag = "Analytics",
    operation_id = "showSummary", params(SummaryParams), responses((status = 200, body = body::Summary)))]
async fn summary(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<SummaryParams>,
) -> Result<Json<body::Summary>, ApiError> {
    let now = state.now();
    let asked = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    let filter = filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?;
    let time_zone = access.membership.workspace.time_zone;
    let plans = Plans::of(kept(&filter), asked, None, params.compare, time_zone, now)?;
    let reader = reader(&state, &access)?;
    let workspace_id = access.workspace_id();
    let previous = async {
        Ok(match &plans.previous {
            Some(plan) => Some(figures(reader, workspace_id, plan, &filter).await?),
            None => None,
        })
    };
    let current = figures(reader, workspace_id, &plans.current, &filter);
    let (mut summary, previous) = tokio::try_join!(current, previous)?;
    summary.previous = previous.map(Box::new);
    Ok(Json(summary))
}

async fn figures(
    reader: &Reader,
    workspace_id: Uuid,
    plan: &Plan,
    filter: &Filter,
) -> Result<body::Summary, QueryError> {
    let (sums, quantiles) = tokio::try_join!(
        reader.usage_total(workspace_id, plan, filter),
        reader.latency_total(workspace_id, plan, filter)
    )?;
    Ok(show::summary(plan, &sums, &quantiles))
}

/// Shows the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/summary", tag = "Analytics", operation_id = "showOwnSummary",
    params(SummaryParams), responses((status = 200, body = body::Summary), (status = 404)))]
async fn own_summary(
    state: State<AppState>,
    Own(access): Own,
    params: Params<SummaryParams>,
) -> Result<Json<body::Summary>, ApiError> {
    summary(state, access, params).await
}

/// Lists the busiest endpoints
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/top-endpoints", tag = "Analytics",
    operation_id = "showTopEndpoints", params(EndpointParams),
    responses((status = 200, body = body::TopEndpoints)))]
async fn top_endpoints(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<EndpointParams>,
) -> Result<Json<body::TopEndpoints>, ApiError> {
    let now = state.now();
    let asked = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    let filter = filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?;
    let limit = limit(params.limit.as_deref(), ENDPOINTS_DEFAULT, ENDPOINTS_MAX)?;
    let time_zone = access.membership.workspace.time_zone;
    let plan = Plans::new(asked, None, None, time_zone, now)?.current;
    let groups = reader(&state, &access)?
        .top_endpoints(access.workspace_id(), &plan, &filter, limit)
        .await?;
    let endpoints = groups.into_iter().map(|sums| {
        let mut key = sums.key.iter().cloned();
        body::Endpoint {
            endpoint: key.next().unwrap_or_default(),
            method: key.next().unwrap_or_default(),
            request_count: sums.requests,
            avg_latency_ms: show::average(&sums),
            error_rate: show::share(sums.errors, sums.requests),
            total_cost_cents: show::cents(sums.cost_nanos),
        }
    });
    Ok(Json(body::TopEndpoints {
        range: show::range(&plan),
        endpoints: endpoints.collect(),
    }))
}

/// Lists the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/top-endpoints", tag = "Analytics", operation_id = "showOwnTopEndpoints",
    params(EndpointParams), responses((status = 200, body = body::TopEndpoints), (status = 404)))]
async fn own_top_endpoints(
    state: State<AppState>,
    Own(access): Own,
    params: Params<EndpointParams>,
) -> Result<Json<body::TopEndpoints>, ApiError> {
    top_endpoints(state, access, params).await
}

/// Shows percentiles of latency, over time and by API
#[utoipa::path(get, path = "/api/workspaces/{workspace_id}/analytics/latency", tag = "Analytics",
    operation_id = "showLatency", params(LatencyParams), responses((status = 200, body = body::Latency)))]
async fn latency(
    State(state): State<AppState>,
    access: Access,
    Params(params): Params<LatencyParams>,
) -> Result<Json<body::Latency>, ApiError> {
    let now = state.now();
    let asked = asked(params.start.as_deref(), params.end.as_deref(), now)?;
    let filter = filter(params.api_id.as_deref(), params.key_id.as_deref(), params.model)?;
    let granularity = params
        .granularity
        .unwrap_or_else(|| range::suitable(asked.0, asked.1));
    let time_zone = access.membership.workspace.time_zone;
    let plans = Plans::of(
        kept(&filter),
        asked,
        Some(granularity),
        params.compare,
        time_zone,
        now,
    )?;
    let reader = reader(&state, &access)?;
    let workspace_id = access.workspace_id();
    let previous = async {
        Ok(match &plans.previous {
            Some(plan) => {
                let of = reader.latency(workspace_id, plan, &filter).await?;
                Some(body::PreviousLatency {
                    range: show::range(plan),
                    overall: show::percentiles(&of.total),
                    data: show::latency_points(plan, &of.over_time),
                })
            }
            None => None,
        })
    };
    let current = reader.latency(workspace_id, &plans.current, &filter);
    let (current, previous) = tokio::try_join!(current, previous)?;
    let ids: Vec<Uuid> = current.by_api.keys().copied().collect();
    let known = names::of_apis(
        &mut *tenant::begin(&state.db, workspace_id).await?,
        workspace_id,
        &ids,
    )
    .await?;
    let mut apis: Vec<body::ApiLatency> = current
        .by_api
        .iter()
        .map(|(id, quantiles)| body::ApiLatency {
            api_id: show::id(*id),
            name: known.get(id).cloned(),
            percentiles: show::percentiles(quantiles),
        })
        .collect();
    apis.sort_by(|a, b| (a.name.is_none(), &a.name).cmp(&(b.name.is_none(), &b.name)));
    Ok(Json(body::Latency {
        range: show::range(&plans.current),
        granularity,
        overall: show::percentiles(&current.total),
        data: show::latency_points(&plans.current, &current.over_time),
        apis,
        previous,
    }))
}

/// Shows the same for the token's workspace
#[utoipa::path(get, path = "/api/analytics/latency", tag = "Analytics", operation_id = "showOwnLatency",
    params(LatencyParams), responses((status = 200, body = body::Latency), (status = 404)))]
async fn own_latency(
    state: State<AppState>,
    Own(access): Own,
    params: Params<LatencyParams>,
) -> Result<Json<body::Latency>, ApiError> {
    latency(state, access, params).await
}
