//! Charts over time of what the analytics API answers.

use crate::api::Loaded;
use crate::app::Here;
use crate::chart::{Lines, Series, Show};
use crate::show::time::parse;
use crate::state::range::Range;
use crate::ui::{Card, Failed, Skeletons};
use rateguard_api::analytics::{RequestPoint, Requests};
use yew::prelude::*;

/// One line over the points.
fn series(name: &'static str, points: &[RequestPoint], value: fn(&RequestPoint) -> Option<f64>) -> Series {
    Series {
        name: name.into(),
        values: points.iter().map(value).collect(),
    }
}

#[derive(Properties, PartialEq)]
pub struct OverTimeProps {
    pub requests: Loaded<Requests>,
    pub here: std::rc::Rc<Here>,
    pub range: Range,
}

/// Requests, cost and latency over the range.
#[component]
pub fn OverTime(props: &OverTimeProps) -> Html {
    let requests = match &props.requests {
        Loaded::Waiting => return html! { <Skeletons shape="tall" count={1} /> },
        // Said once, with the figures.
        Loaded::Failed(failure) if super::overview::missing(failure) => return html! {},
        Loaded::Failed(failure) => return html! { <Failed failure={failure.clone()} /> },
        Loaded::Ready(requests) => requests,
    };
    let points = &requests.data;
    let times: Vec<i64> = points
        .iter()
        .map(|point| parse(&point.timestamp).unwrap_or_default())
        .collect();
    let step_ms = props.range.granularity().ms();
    let zone = &props.here.zone;
    let counts = vec![
        series("Requests", points, |point| Some(point.requests as f64)),
        series("Errors", points, |point| Some(point.errors as f64)),
        series("Rate limited", points, |point| Some(point.rate_limited as f64)),
    ];
    // Nano-USD below 2^53 are exact as a float, which is for drawing.
    let cost = vec![series("Cost", points, |point| Some(point.cost_cents.0.0 as f64))];
    let latency = vec![series("Average latency", points, |point| point.avg_latency_ms)];
    html! {
        <>
            <Card title="Requests">
                <Lines label="Requests over time" times={times.clone()} {step_ms} series={counts} show={Show::Count} zone={zone.clone()} />
            </Card>
            <div class="grid-2">
                <Card title="Cost">
                    <Lines label="Cost over time" times={times.clone()} {step_ms} series={cost} show={Show::Money} zone={zone.clone()} height={180.0} />
                </Card>
                <Card title="Latency">
                    <Lines label="Latency over time" {times} {step_ms} series={latency} show={Show::Millis} zone={zone.clone()} height={180.0} />
                </Card>
            </div>
        </>
    }
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
