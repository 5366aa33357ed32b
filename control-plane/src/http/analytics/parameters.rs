//! Query parameters of analytics, read and checked.

use crate::analytics::query::Filter;
use crate::analytics::query::range::{self, Kept, Plan};
use crate::http::error::ApiError;
use crate::http::page;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rateguard_api::name::{Comparison, CostGrouping, Granularity};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;

/// Query parameters; what cannot be read is 422 and named.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Self)
            .map_err(|error| ApiError::invalid(error.path().to_string(), error.inner().to_string()))
    }
}

/// Of `requests`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChartParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`.
    pub start: Option<String>,
    /// Before this instant. Default: now.
    pub end: Option<String>,
    /// Default: what suits the range. A chart has 1500 points at most.
    pub granularity: Option<Granularity>,
    #[param(inline)]
    pub compare: Option<Comparison>,
    pub api_id: Option<String>,
    pub key_id: Option<String>,
    pub model: Option<String>,
}

/// Of `summary`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SummaryParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`.
    pub start: Option<String>,
    /// Before this instant. Default: now.
    pub end: Option<String>,
    #[param(inline)]
    pub compare: Option<Comparison>,
    pub api_id: Option<String>,
    /// Minutes of one key are kept for 29 days: an earlier range is of whole hours.
    pub key_id: Option<String>,
    pub model: Option<String>,
}

/// Of `latency`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LatencyParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`.
    pub start: Option<String>,
    /// Before this instant. Default: now.
    pub end: Option<String>,
    /// Default: what suits the range. A chart has 1500 points at most.
    pub granularity: Option<Granularity>,
    #[param(inline)]
    pub compare: Option<Comparison>,
    pub api_id: Option<String>,
    /// Minutes of one key are kept for 29 days: an earlier range is of whole hours.
    pub key_id: Option<String>,
    pub model: Option<String>,
}

/// Of `top-endpoints`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndpointParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`.
    pub start: Option<String>,
    /// Before this instant. Default: now.
    pub end: Option<String>,
    /// How many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 10)]
    pub limit: Option<String>,
    pub api_id: Option<String>,
    pub key_id: Option<String>,
    pub model: Option<String>,
}

/// Of `costs`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CostParams {
    /// From this instant on (RFC 3339). Default: 24 hours before `end`.
    pub start: Option<String>,
    /// Before this instant. Default: now.
    pub end: Option<String>,
    /// Default: api.
    pub by: Option<CostGrouping>,
    /// With `by=tag`: values of this tag only.
    pub tag: Option<String>,
    #[param(inline)]
    pub compare: Option<Comparison>,
    /// How many groups.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<String>,
    /// Not with `by=tag`, as the next two.
    pub api_id: Option<String>,
    pub key_id: Option<String>,
    pub model: Option<String>,
}

/// Start and end as they were given.
pub(super) type Asked = (DateTime<Utc>, DateTime<Utc>);

pub(super) fn asked(start: Option<&str>, end: Option<&str>, now: DateTime<Utc>) -> Result<Asked, ApiError> {
    let start = page::instant("start", start)?;
    let end = page::instant("end", end)?;
    Ok(range::requested(start, end, now)?)
}

pub(super) fn filter(
    api_id: Option<&str>,
    key_id: Option<&str>,
    model: Option<String>,
) -> Result<Filter, ApiError> {
    Ok(Filter {
        api_id: page::id("apiId", api_id)?,
        key_id: page::id("keyId", key_id)?,
        model: page::text("model", model)?,
    })
}

pub(super) fn limit(text: Option<&str>, default: u32, max: u32) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(default) };
    text.parse()
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| ApiError::invalid("limit", format!("must be 1 to {max}")))
}

/// What there is to answer percentiles from.
pub(super) fn kept(filter: &Filter) -> Kept {
    match filter.key_id {
        Some(_) => Kept::OF_KEYS,
        None => Kept::ROLLUPS,
    }
}

/// A range and, if asked for, the one before.
pub(super) struct Plans {
    pub current: Plan,
    pub previous: Option<Plan>,
}

impl Plans {
    pub(super) fn new(
        asked: Asked,
        granularity: Option<Granularity>,
        compare: Option<Comparison>,
        time_zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        Self::of(Kept::ROLLUPS, asked, granularity, compare, time_zone, now)
    }

    pub(super) fn of(
        kept: Kept,
        asked: Asked,
        granularity: Option<Granularity>,
        compare: Option<Comparison>,
        time_zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let current = Plan::new(asked, granularity, kept, time_zone, now)?;
        let previous = match compare {
            Some(Comparison::Previous) => {
                Some(Plan::new(current.before(), granularity, kept, time_zone, now)?)
            }
            None => None,
        };
        Ok(Self { current, previous })
    }
}
