//! Bodies of the analytics API (SPEC 5) that the overview shows, and the hook that gets them.

use crate::api::{Call, Load, use_load};
use crate::app::Here;
use crate::browser;
use crate::state::range::Range;
use rateguard_api::decimal::Cents;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use yew::prelude::*;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub requests: Requests,
    pub cost: Cost,
    pub latency: Latency,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    pub total_requests: u64,
    pub total_errors: u64,
    /// A share of one.
    pub error_rate: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub total_cost_cents: Cents,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub avg_ms: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TopEndpoints {
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub endpoint: String,
    pub method: String,
    pub request_count: u64,
    pub avg_latency_ms: f64,
    pub error_rate: f64,
    pub total_cost_cents: Cents,
}

/// Asks for one part of the analytics in the range; `turn` makes it ask again for the range as it is then.
#[hook]
pub fn use_analytics<T: DeserializeOwned + 'static>(
    here: &Here,
    part: &'static str,
    range: Range,
    turn: u32,
) -> Load<T> {
    let bounds = use_memo((range, turn, here.zone.name.clone()), |(range, ..)| {
        let now = browser::now_ms() as i64;
        range.query(now, here.zone.midnight(now))
    });
    let call = Call::get(here.path(&format!("/analytics/{part}")))
        .with("start", bounds.0.clone())
        .with("end", bounds.1.clone());
    use_load::<T>(Some(call))
}
