//! Analytics: figures, charts, endpoints and single requests over a range of time, of what one chooses.

use super::figures::OverTime;
use super::head::PageHead;
use super::look::{Filter, Look, use_following, use_look, use_part};
use super::overview::{endpoints, figures, latency_words, missing};
use super::request_log::RequestLog;
use crate::api::Loaded;
use crate::app::Here;
use crate::state::form::Form;
use crate::state::table::SortKey;
use crate::ui::{Card, Column, Empty, Failed, Icon, Row, SelectField, Skeletons, Table};
use rateguard_api::analytics::{CostBreakdown, Figures, Latency, Requests, TopEndpoints};
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// Names of the filters, with what the API groups by to find their values.
const FILTERS: [(&str, &str, &str, &str); 3] = [
    ("apiId", "api", "API", "Every API"),
    ("keyId", "key", "Key", "Every key"),
    ("model", "model", "Model", "Every model"),
];

#[component]
pub fn Analytics(props: &Props) -> Html {
    let here = &props.here;
    let look = use_look(here);
    let form = use_reducer(|| Form::new(FILTERS.map(|(name, ..)| (name, ""))));
    let filters: Vec<Filter> = FILTERS
        .iter()
        .map(|(name, ..)| (*name, form.get(name).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let summary = use_part::<Figures>(here, &look, "summary", &filters);
    let requests = use_part::<Requests>(here, &look, "requests", &filters);
    let top = use_part::<TopEndpoints>(here, &look, "top-endpoints", &filters);
    let latency = use_part::<Latency>(here, &look, "latency", &filters);
    use_following(
        &look,
        vec![
            summary.waiting.clone(),
            requests.waiting.clone(),
            top.waiting.clone(),
            latency.waiting.clone(),
        ],
    );
    let gone = matches!(&summary.state, Loaded::Failed(failure) if missing(failure));
    let paths = top.state.ready().map(|top| {
        top.endpoints
            .iter()
            .filter(|one| !one.endpoint.is_empty())
            .map(|one| one.endpoint.clone().into())
            .collect::<Vec<AttrValue>>()
    });
    let details = match (&summary.state, &top.state) {
        (Loaded::Failed(_) | Loaded::Waiting, _) => html! {},
        (Loaded::Ready(summary), _) if summary.requests.total_requests == 0 => {
            html! { <Empty icon={Icon::Chart} title="No request in this range" text="Choose a longer one, or make a call." /> }
        }
        (Loaded::Ready(_), top) => html! {
            <>
                { apis(&latency.state) }
                <Card title="Endpoints" note="By requests.">
                    { match top {
                        Loaded::Ready(top) => endpoints(&top.endpoints),
                        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} /> },
                        Loaded::Waiting => html! { <Skeletons count={3} /> },
                    } }
                </Card>
            </>
        },
    };
    html! {
        <div class="page">
            <PageHead title="Analytics">{ look.controls.clone() }</PageHead>
            if !gone {
                <div class="filters">
                    { for FILTERS.iter().map(|(name, by, label, all)| html! {
                        <Chooser here={here.clone()} look={look.clone()} form={form.clone()} {name} {by} {label} {all} />
                    }) }
                </div>
            }
            { figures(&summary) }
            <OverTime requests={requests.state.clone()} latency={Some(latency.state.clone())} here={here.clone()} range={look.range} />
            { details }
            if !gone {
                <RequestLog here={here.clone()} {look} {filters} endpoints={paths.unwrap_or_default()} />
            }
        </div>
    }
}

/// Percentiles of each API.
fn apis(latency: &Loaded<Latency>) -> Html {
    let Some(latency) = latency.ready().filter(|latency| latency.apis.len() > 1) else {
        return html! {};
    };
    let columns = vec![
        Column::left("API"),
        Column::right("Half"),
        Column::right("95 %"),
        Column::right("99 %"),
        Column::right("Provider, 95 %"),
        Column::right("First token, 95 %"),
    ];
    let rows = latency.apis.iter().map(|one| {
        let name = match (&one.api_id, &one.name) {
            (None, _) => "no API",
            (_, None) => "a deleted API",
            (_, Some(name)) => name,
        };
        let mut cells = vec![(
            html! { <span class="name">{ name }</span> },
            SortKey::Text(name.to_owned()),
        )];
        let values = &one.percentiles;
        let values = [
            values.p50,
            values.p95,
            values.p99,
            values.upstream_p95,
            values.ttft_p95,
        ];
        cells.extend(values.map(|ms| {
            (
                Html::from(latency_words(ms)),
                ms.map_or(SortKey::Missing, SortKey::Number),
            )
        }));
        Row {
            key: one.api_id.clone().unwrap_or_default(),
            search: String::new(),
            cells,
            acts: Html::default(),
        }
    });
    html! { <Card title="Latency by API" note="Within which so many requests were answered."><Table label="Latency by API" {columns} rows={rows.collect::<Vec<_>>()} /></Card> }
}

#[derive(Properties, PartialEq)]
struct ChooserProps {
    here: Rc<Here>,
    look: Look,
    form: UseReducerHandle<Form>,
    name: &'static str,
    by: &'static str,
    label: &'static str,
    all: &'static str,
}

/// Lets one choose among what was used in the range, deleted things too.
#[component]
fn Chooser(props: &ChooserProps) -> Html {
    // Of the range as it was chosen: a filter need not know what came in a second ago.
    let look = use_memo(props.look.range, |_| props.look.clone());
    let groups = use_part::<CostBreakdown>(&props.here, &look, "costs", &[("by", props.by.to_owned())]);
    let chosen = props.form.get(props.name);
    let mut options = vec![(AttrValue::Static(""), AttrValue::Static(props.all))];
    let mut is_known = chosen.is_empty();
    for group in groups.state.ready().map_or(&[][..], |found| &found.groups) {
        if let Some(id) = &group.id {
            is_known |= id == chosen;
            options.push((
                id.clone().into(),
                group.name.clone().unwrap_or_else(|| id.clone()).into(),
            ));
        }
    }
    if !is_known {
        options.push((chosen.to_owned().into(), "What was chosen before".into()));
    }
    html! { <SelectField form={props.form.clone()} name={props.name} label={props.label} {options} /> }
}
