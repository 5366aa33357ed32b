//! The overview: how the workspace is doing now.

use super::costs::{money, percent};
use super::figures::OverTime;
use super::head::PageHead;
use super::look::{use_following, use_look, use_part};
use crate::api::{Call, Failure, Load, Loaded, use_load, use_poll};
use crate::app::Here;
use crate::route::Route;
use crate::show::money::{dollars, exact_dollars};
use crate::show::number::{change, grouped, millis, percent as share};
use crate::state::permission::Need;
use crate::state::table::SortKey;
use crate::ui::{
    Badge, Card, Column, Empty, Failed, Glyph, Go, Icon, Meter, Row, Skeletons, Stat, Table, Tone,
};
use rateguard_api::analytics::{Endpoint, Figures, Requests, TopEndpoints};
use rateguard_api::api::Api;
use rateguard_api::budget::Costs;
use rateguard_api::key::Key;
use rateguard_api::list::List;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Overview(props: &Props) -> Html {
    let here = &props.here;
    let look = use_look(here);
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis")).with("limit", "1")));
    let keys = use_load::<List<Key>>(Some(Call::get(here.path("/keys")).with("limit", "1")));
    let costs = use_load::<Costs>(Some(Call::get(here.path("/costs"))));
    let summary = use_part::<Figures>(here, &look, "summary", &[]);
    let requests = use_part::<Requests>(here, &look, "requests", &[]);
    let top = use_part::<TopEndpoints>(here, &look, "top-endpoints", &[]);
    use_following(
        &look,
        vec![
            summary.waiting.clone(),
            requests.waiting.clone(),
            top.waiting.clone(),
        ],
    );
    use_poll(look.every_ms, costs.reload.clone());
    let fresh = matches!((&apis.state, &keys.state), (Loaded::Ready(apis), Loaded::Ready(keys)) if apis.data.is_empty() || keys.data.is_empty());
    html! {
        <div class="page">
            <PageHead title="Overview" text={html! { here.workspace.name.clone() }}>
                { look.controls.clone() }
            </PageHead>
            if fresh && here.can(Need::Write) { <FirstSteps /> }
            { figures(&summary) }
            <OverTime requests={requests.state.clone()} here={here.clone()} range={look.range} />
            <div class="stack loose">
                <Spending costs={costs.state.clone()} reload={costs.reload.clone()} />
                <Top top={top.state.clone()} />
            </div>
        </div>
    }
}

#[component]
fn FirstSteps() -> Html {
    html! {
        <Card title="Make your first governed request" note="An API, a key, one line of code: under five minutes.">
            <Go to={Route::Welcome} class="btn primary"><Glyph icon={Icon::Bolt} size={16} />{ "Begin" }</Go>
        </Card>
    }
}

/// The server has no analytics at all.
pub fn missing(failure: &Failure) -> bool {
    matches!(failure.status(), Some(404 | 501 | 503))
}

/// Nothing was answered: there is no latency.
pub fn latency_words(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), millis)
}

pub fn no_analytics() -> Html {
    html! {
        <Empty icon={Icon::Chart} title="No analytics on this server" small=true
            text="Requests are governed and billed all the same. Charts need a ClickHouse; the operator connects one." />
    }
}

pub fn figures(summary: &Load<Figures>) -> Html {
    match &summary.state {
        Loaded::Waiting => html! { <Skeletons shape="block" count={4} /> },
        Loaded::Failed(failure) if missing(failure) => no_analytics(),
        Loaded::Failed(failure) => {
            html! { <Failed failure={failure.clone()} retry={summary.reload.clone()} /> }
        }
        Loaded::Ready(summary) => cards(summary),
    }
}

fn cards(summary: &Figures) -> Html {
    let cost = summary.cost.total_cost_cents;
    let before = summary.previous.as_deref();
    let more = |now: f64, of: fn(&Figures) -> f64| before.and_then(|before| change(now, of(before)));
    let requests = more(summary.requests.total_requests as f64, |one| {
        one.requests.total_requests as f64
    });
    let spent = more(cost.0.0 as f64, |one| one.cost.total_cost_cents.0.0 as f64);
    let failed = before
        .filter(|before| before.requests.total_requests > 0)
        .map(|before| [&share(before.requests.error_rate), " before"].concat());
    let slow = before
        .and_then(|before| before.latency.p95)
        .map(|ms| [&millis(ms), " before"].concat());
    let errors = format!("{} of them failed", grouped(summary.requests.total_errors));
    let latency = match summary.latency.p95 {
        None => "nothing was answered".to_owned(),
        Some(_) => format!(
            "half within {}, 99 % within {}",
            latency_words(summary.latency.p50),
            latency_words(summary.latency.p99)
        ),
    };
    html! {
        <div class="grid-4">
            <Stat label="Requests" value={grouped(summary.requests.total_requests)} note={compared(errors, requests)} />
            <Stat label="Cost" value={dollars(cost)} exact={exact_dollars(cost)} note={compared("by the prices set for each API".to_owned(), spent)} />
            <Stat label="Errors" value={share(summary.requests.error_rate)} note={compared("of all requests".to_owned(), failed)} />
            <Stat label="Latency, p95" value={latency_words(summary.latency.p95)} note={compared(latency, slow)} />
        </div>
    }
}

/// A note, and how things were in as much time right before.
fn compared(note: String, before: Option<String>) -> Html {
    html! {
        <>
            { note }
            if let Some(before) = before { <><br /><span title="Compared with as much time right before">{ before }</span></> }
        </>
    }
}

#[derive(Properties, PartialEq)]
struct SpendingProps {
    costs: Loaded<Costs>,
    reload: Callback<()>,
}

#[component]
fn Spending(props: &SpendingProps) -> Html {
    let actions = html! { <Go to={Route::Costs}>{ "Details" }</Go> };
    let body = match &props.costs {
        Loaded::Waiting => html! { <Skeletons count={3} /> },
        Loaded::Failed(failure) => {
            html! { <Failed failure={failure.clone()} retry={props.reload.clone()} /> }
        }
        Loaded::Ready(costs) => match (costs.budget_cents, costs.current_spend_cents) {
            (Some(budget), Some(spent)) => {
                let used = costs.percent_used.map_or(0.0, percent);
                let projected = costs.projected_month_end_cents.unwrap_or_default();
                html! {
                    <div class="stack">
                        <p><span class="big-money" title={exact_dollars(spent)}>{ dollars(spent) }</span>
                            <span class="soft">{ format!(" of {}", dollars(budget)) }</span></p>
                        <Meter label="Spent of the monthly budget" spent={used} ticks={vec![50, 80]} />
                        <p class="soft small">{ format!("{used:.1} % used · at this pace ") }{ money(projected) }{ " at the month's end " }
                            if projected > budget { <Badge tone={Tone::Warn}>{ "over budget" }</Badge> }</p>
                    </div>
                }
            }
            _ => html! {
                <Empty icon={Icon::Money} title="No monthly budget" small=true text="With one, you see where the month will end.">
                    <Go to={Route::Costs} class="btn">{ "Costs & budgets" }</Go>
                </Empty>
            },
        },
    };
    html! { <Card title="This month" note="Of the monthly budget." {actions}>{ body }</Card> }
}

#[derive(Properties, PartialEq)]
struct TopProps {
    top: Loaded<TopEndpoints>,
}

#[component]
fn Top(props: &TopProps) -> Html {
    let body = match &props.top {
        Loaded::Waiting => html! { <Skeletons count={3} /> },
        // Said once, above.
        Loaded::Failed(failure) if missing(failure) => return html! {},
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} /> },
        Loaded::Ready(top) if top.endpoints.is_empty() => {
            html! { <Empty icon={Icon::Api} title="No request in this range" small=true /> }
        }
        Loaded::Ready(top) => endpoints(&top.endpoints),
    };
    html! { <Card title="Top endpoints" note="By requests.">{ body }</Card> }
}

pub fn endpoints(endpoints: &[Endpoint]) -> Html {
    let columns = vec![
        Column::left("Endpoint"),
        Column::right("Requests"),
        Column::right("Errors"),
        Column::right("Latency"),
        Column::right("Cost"),
    ];
    let rows = endpoints.iter().map(|one| Row {
        key: format!("{} {}", one.method, one.endpoint),
        search: one.endpoint.clone(),
        cells: vec![
            (html! { <span class="name break"><Badge>{ &one.method }</Badge>{ " " }if one.endpoint.is_empty() { <span class="soft">{ "no API" }</span> } else { <code>{ &one.endpoint }</code> }</span> }, SortKey::Text(one.endpoint.clone())),
            (html! { grouped(one.request_count) }, SortKey::Number(one.request_count as f64)),
            (html! { share(one.error_rate) }, SortKey::Number(one.error_rate)),
            (html! { latency_words(one.avg_latency_ms) }, one.avg_latency_ms.map_or(SortKey::Missing, SortKey::Number)),
            (money(one.total_cost_cents), SortKey::Number(one.total_cost_cents.0.0 as f64)),
        ],
        acts: Html::default(),
    });
    html! { <Table label="Endpoints" {columns} rows={rows.collect::<Vec<_>>()} /> }
}
