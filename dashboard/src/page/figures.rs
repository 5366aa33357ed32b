//! Charts over time of what the analytics API answers.

use super::overview::missing;
use crate::api::Loaded;
use crate::app::Here;
use crate::chart::{Lines, Series, Show};
use crate::show::time::parse;
use crate::state::range::Range;
use crate::ui::{Card, Failed, Skeletons};
use rateguard_api::analytics::{Latency, Percentiles, RequestPoint, Requests};
use std::rc::Rc;
use yew::prelude::*;

/// A value of each point.
fn values(points: &[RequestPoint], value: fn(&RequestPoint) -> f64) -> Vec<Option<f64>> {
    points.iter().map(|point| Some(value(point))).collect()
}

/// What all charts of a page have in common.
#[derive(Clone, PartialEq)]
struct Axis {
    times: Vec<i64>,
    step_ms: i64,
    here: Rc<Here>,
}

impl Axis {
    fn new<'a>(here: &Rc<Here>, range: Range, times: impl Iterator<Item = &'a String>) -> Self {
        Self {
            times: times.map(|time| parse(time).unwrap_or_default()).collect(),
            step_ms: range.granularity().ms(),
            here: here.clone(),
        }
    }

    fn chart(
        &self,
        title: &'static str,
        label: &'static str,
        series: Vec<Series>,
        show: Show,
        wide: bool,
    ) -> Html {
        html! {
            <Card {title}>
                <Lines {label} times={self.times.clone()} step_ms={self.step_ms} {series} {show} zone={self.here.zone.clone()}
                    height={if wide { 240.0 } else { 180.0 }} columns={show == Show::Money} />
            </Card>
        }
    }
}

#[derive(Properties, PartialEq)]
pub struct OverTimeProps {
    pub requests: Loaded<Requests>,
    /// With it also the percentiles of latency, and what the errors were.
    #[prop_or_default]
    pub latency: Option<Loaded<Latency>>,
    pub here: Rc<Here>,
    pub range: Range,
}

/// Requests, cost, errors and latency over the range.
#[component]
pub fn OverTime(props: &OverTimeProps) -> Html {
    let requests = match &props.requests {
        Loaded::Waiting => return html! { <Skeletons shape="tall" count={1} /> },
        // Said once, with the figures.
        Loaded::Failed(failure) if missing(failure) => return html! {},
        Loaded::Failed(failure) => return html! { <Failed failure={failure.clone()} /> },
        Loaded::Ready(requests) => requests,
    };
    let points = &requests.data;
    let axis = Axis::new(
        &props.here,
        props.range,
        points.iter().map(|point| &point.timestamp),
    );
    let mut counts = vec![
        Series::new("Requests", values(points, |point| point.requests as f64)),
        Series::new("Errors", values(points, |point| point.errors as f64)),
        Series::new("Rate limited", values(points, |point| point.rate_limited as f64)),
    ];
    // Nano-USD below 2^53 are exact as a float, which is for drawing.
    let nanos = |point: &RequestPoint| point.cost_cents.0.0 as f64;
    let mut cost = vec![Series::new("Cost", values(points, nanos))];
    let previous = requests.previous.as_ref();
    // Where there was nothing there is nothing to compare with.
    if let Some(previous) = previous.filter(|previous| previous.data.iter().any(|point| point.requests > 0)) {
        let before = &previous.data;
        counts.push(Series::new("Requests before", values(before, |point| point.requests as f64)).faint());
        cost.push(Series::new("Before", values(before, nanos)).faint());
    }
    let errors = || {
        vec![
            Series::new("Rate limited", values(points, |point| point.rate_limited as f64)),
            Series::new(
                "Over budget",
                values(points, |point| point.budget_exceeded as f64),
            ),
            Series::new("4xx", values(points, |point| point.client_errors as f64)),
            Series::new("5xx", values(points, |point| point.server_errors as f64)),
        ]
    };
    let average = || {
        let average = points.iter().map(|point| point.avg_latency_ms).collect();
        let series = vec![Series::new("Average latency", average)];
        axis.chart("Latency", "Latency over time", series, Show::Millis, false)
    };
    html! {
        <>
            { axis.chart("Requests", "Requests over time", counts, Show::Count, true) }
            <div class="grid-2">
                { axis.chart("Cost", "Cost over time", cost, Show::Money, false) }
                if props.latency.is_some() {
                    { axis.chart("Errors", "Errors over time", errors(), Show::Count, false) }
                } else {
                    { average() }
                }
            </div>
            { match &props.latency {
                None | Some(Loaded::Failed(_)) => html! {},
                Some(Loaded::Waiting) => html! { <Skeletons shape="tall" count={1} /> },
                Some(Loaded::Ready(latency)) => percentiles(latency, &props.here, props.range),
            } }
        </>
    }
}

/// One of the percentiles.
type Read = fn(&Percentiles) -> Option<f64>;

/// Within which so many requests were answered; of the provider and of streams only if there is something to tell.
fn percentiles(latency: &Latency, here: &Rc<Here>, range: Range) -> Html {
    let lines: [(&'static str, Read); 5] = [
        ("Half", |one| one.p50),
        ("95 %", |one| one.p95),
        ("99 %", |one| one.p99),
        ("Provider, 95 %", |one| one.upstream_p95),
        ("First token, 95 %", |one| one.ttft_p95),
    ];
    let told = lines
        .into_iter()
        .filter(|(_, value)| value(&latency.overall).is_some());
    let series = told.map(|(name, value)| {
        let values = latency.data.iter().map(|point| value(&point.percentiles));
        Series::new(name, values.collect())
    });
    let axis = Axis::new(here, range, latency.data.iter().map(|point| &point.timestamp));
    axis.chart(
        "Latency",
        "Latency over time",
        series.collect(),
        Show::Millis,
        true,
    )
}

#[cfg(test)]
mod tests {
    use rateguard_api::analytics::Figures;

    /// `Figures` is what the console reads of a summary: money does not survive the flattening of `Summary`.
    #[test]
    fn a_summary_is_read_with_its_money_exact() {
        let json = r#"{"range":{"start":"2026-11-22T00:00:00Z","end":"2026-11-22T01:00:00Z","timeZone":"UTC"},
            "requests":{"totalRequests":3,"totalErrors":1,"errorRate":0.33},
            "cost":{"totalCostCents":0.0000001,"tokens":{"input":1,"cached":0,"cacheWrite":0,"output":2,"reasoning":0,"audio":0}},
            "latency":{"avgMs":1.5,"p50":null,"p95":2.0,"p99":2.0},"cache":{"hits":0,"hitRate":0},
            "rateLimit":{"limited":1,"share":0.33},"previous":null}"#;
        let figures: Figures = serde_json::from_str(json).unwrap();
        assert_eq!(figures.cost.total_cost_cents.0.0, 1);
        assert_eq!(figures.latency.p50, None);
    }
}
