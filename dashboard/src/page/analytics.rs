//! Analytics: figures and endpoints over a range of time.

use super::figures::{OverTime, use_analytics};
use super::head::PageHead;
use super::overview::{endpoints, figures, latency_words, missing};
use crate::api::{Loaded, use_poll};
use crate::app::Here;
use crate::chart::{Bar, Bars};
use crate::ui::range::use_range;
use crate::ui::{Card, Empty, Failed, Icon, Live, RangePicker, Skeletons};
use rateguard_api::analytics::{Figures, Requests, TopEndpoints};
use std::rc::Rc;
use yew::prelude::*;

const REFRESH_MS: u32 = 5_000;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Analytics(props: &Props) -> Html {
    let here = &props.here;
    let (range, choose) = use_range();
    let live = use_state_eq(|| true);
    let turn = use_state_eq(|| 0_u32);
    let summary = use_analytics::<Figures>(here, "summary", range, *turn);
    let requests = use_analytics::<Requests>(here, "requests", range, *turn);
    let top = use_analytics::<TopEndpoints>(here, "top-endpoints", range, *turn);
    let refresh = {
        let turn = turn.clone();
        Callback::from(move |()| turn.set(turn.wrapping_add(1)))
    };
    use_poll(live.then_some(REFRESH_MS), refresh);
    let toggle = {
        let live = live.clone();
        Callback::from(move |on| live.set(on))
    };
    let details = match (&summary.state, &top.state) {
        (Loaded::Failed(failure), _) if missing(failure) => html! {},
        (Loaded::Ready(summary), _) if summary.requests.total_requests == 0 => {
            html! { <Empty icon={Icon::Chart} title="No request in this range" text="Choose a longer one, or make a call." /> }
        }
        (Loaded::Ready(summary), top) => {
            let bars = [
                ("Half", summary.latency.p50),
                ("95 %", summary.latency.p95),
                ("99 %", summary.latency.p99),
            ]
            .map(|(name, ms)| Bar {
                name: name.into(),
                value: ms.unwrap_or(0.0),
                text: latency_words(ms).into(),
            })
            .to_vec();
            html! {
                <>
                    <Card title="Latency" note="Within which so many requests were answered."><Bars label="Latency percentiles" {bars} /></Card>
                    <Card title="Endpoints" note="By requests.">
                        { match top {
                            Loaded::Ready(top) => endpoints(&top.endpoints),
                            Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} /> },
                            Loaded::Waiting => html! { <Skeletons count={3} /> },
                        } }
                    </Card>
                </>
            }
        }
        _ => html! {},
    };
    html! {
        <div class="page">
            <PageHead title="Analytics">
                <Live on={*live} ontoggle={toggle} />
                <RangePicker {range} onchange={choose} />
            </PageHead>
            { figures(&summary) }
            <OverTime requests={requests.state.clone()} here={here.clone()} {range} />
            { details }
        </div>
    }
}
