//! What costs are made of: a ranking and a table by API, key, model, tag, member or endpoint, and files of all of it.

use super::costs::money;
use super::look::{Look, use_following, use_look, use_part};
use super::overview::{missing, no_analytics};
use crate::api::{Call, Loaded, use_client};
use crate::app::Here;
use crate::browser;
use crate::chart::{Bar, Bars};
use crate::show::money::dollars;
use crate::show::number::{change, grouped, percent};
use crate::show::time::rfc3339;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::{Badge, Button, Card, Column, Empty, Failed, Icon, Row, Skeletons, Table, Tabs, use_say};
use rateguard_api::analytics::{CostBreakdown, CostGroup};
use rateguard_api::name::{CostGrouping, ExportFormat};
use std::rc::Rc;
use yew::platform::spawn_local;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// What the costs are broken down by, with the word on the tab and what stands for requests without any.
const BY: [(CostGrouping, &str, &str); 6] = [
    (CostGrouping::Api, "API", "no API"),
    (CostGrouping::Key, "Key", "no key"),
    (CostGrouping::Model, "Model", "no model"),
    (CostGrouping::Tag, "Tag", "no tag"),
    (CostGrouping::Member, "Member", "nobody"),
    (CostGrouping::Endpoint, "Endpoint", "no API"),
];

/// In the ranking; the table has them all.
const BARS_MAX: usize = 8;

#[component]
pub fn Breakdown(props: &Props) -> Html {
    let here = &props.here;
    let look = use_look(here);
    let chosen = use_state_eq(|| 0_usize);
    let (by, _, without) = BY.get(*chosen).copied().unwrap_or(BY[0]);
    let load = use_part::<CostBreakdown>(
        here,
        &look,
        "costs",
        &[("by", by.as_str().to_owned()), ("compare", "previous".to_owned())],
    );
    use_following(&look, vec![load.waiting.clone()]);
    let body = match &load.state {
        Loaded::Waiting => html! { <Skeletons count={4} /> },
        Loaded::Failed(failure) if missing(failure) => return no_analytics(),
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={load.reload.clone()} /> },
        // The tab was changed and its answer is still to come.
        Loaded::Ready(costs) if costs.by != by => html! { <Skeletons count={4} /> },
        Loaded::Ready(costs) if costs.groups.is_empty() => {
            html! { <Empty icon={Icon::Money} title="No request in this range" small=true /> }
        }
        Loaded::Ready(costs) => groups(costs, without),
    };
    let names: Vec<AttrValue> = BY.iter().map(|(_, name, _)| AttrValue::Static(name)).collect();
    html! {
        <Card title="What it is made of" note="By the prices at the time of each request." actions={html! { <div class="row">{ look.controls.clone() }</div> }}>
            <div class="stack">
                <Tabs label="Costs by" {names} chosen={*chosen} onchoose={let chosen = chosen.clone(); move |at| chosen.set(at)}>
                    { body }
                </Tabs>
                <Export here={here.clone()} {look} />
            </div>
        </Card>
    }
}

fn name(group: &CostGroup, without: &'static str) -> AttrValue {
    match (&group.name, &group.id) {
        (Some(name), _) => name.clone().into(),
        (None, Some(id)) if !id.is_empty() => id.clone().into(),
        _ => without.into(),
    }
}

fn groups(costs: &CostBreakdown, without: &'static str) -> Html {
    let total = costs.total_cost_cents;
    let before = costs
        .previous
        .as_ref()
        .and_then(|previous| change(total.0.0 as f64, previous.total_cost_cents.0.0 as f64));
    let bars = costs.groups.iter().take(BARS_MAX).map(|group| Bar {
        name: name(group, without),
        value: group.cost_cents.0.0 as f64,
        text: dollars(group.cost_cents).into(),
    });
    let columns = vec![
        Column::left("Name"),
        Column::right("Cost"),
        Column::right("Share"),
        Column::right("Before"),
        Column::right("Requests"),
        Column::right("Tokens in"),
        Column::right("Tokens out"),
    ];
    let rows = costs.groups.iter().map(|group| row(group, without));
    html! {
        <div class="stack">
            <p><strong>{ money(total) }</strong><span class="soft">{ format!(" in {} requests", grouped(costs.total_requests)) }
                if let Some(before) = before { { " · " }{ before } }
                if costs.by == CostGrouping::Tag { { " · requests with several tags are in several lines" } }</span></p>
            <Bars label="Costs" bars={bars.collect::<Vec<_>>()} />
            <Table label="Costs" {columns} rows={rows.collect::<Vec<_>>()} search="Search costs" />
        </div>
    }
}

fn row(group: &CostGroup, without: &'static str) -> Row {
    let name = name(group, without);
    let tokens = &group.tokens;
    let count = |number: i64| {
        let number = u64::try_from(number).unwrap_or(0);
        (Html::from(grouped(number)), SortKey::Number(number as f64))
    };
    let share = group.share;
    let before = group.previous_cost_cents;
    Row {
        key: [
            group.method.as_deref().unwrap_or_default(),
            group.id.as_deref().unwrap_or_default(),
        ]
        .concat(),
        search: name.to_string(),
        cells: vec![
            (
                html! { <span class="name break">if let Some(method) = &group.method { <Badge>{ method }</Badge>{ " " } }{ &name }</span> },
                SortKey::Text(name.to_string()),
            ),
            (
                money(group.cost_cents),
                SortKey::Number(group.cost_cents.0.0 as f64),
            ),
            (
                Html::from(share.map_or_else(|| "–".to_owned(), percent)),
                share.map_or(SortKey::Missing, SortKey::Number),
            ),
            (
                before.map_or_else(|| Html::from("–"), money),
                before.map_or(SortKey::Missing, |before| SortKey::Number(before.0.0 as f64)),
            ),
            count(i64::try_from(group.request_count).unwrap_or(i64::MAX)),
            count(tokens.input + tokens.cached + tokens.cache_write),
            count(tokens.output + tokens.reasoning),
        ],
        acts: Html::default(),
    }
}

#[derive(Properties, PartialEq)]
struct ExportProps {
    here: Rc<Here>,
    look: Look,
}

/// Single requests are kept for 30 days, and the server's clock is not ours.
const KEPT_MS: i64 = 30 * 86_400_000 - 60_000;

/// Every request of the range as a file. The access token is in memory only, so no link can be followed.
#[component]
fn Export(props: &ExportProps) -> Html {
    let (client, say) = (use_client(), use_say());
    let busy = use_state_eq(|| false);
    let export = |format: ExportFormat| {
        let (here, range) = (props.here.clone(), props.look.range);
        let (client, say, busy) = (client.clone(), say.clone(), busy.clone());
        Callback::from(move |_: MouseEvent| {
            let now = browser::now_ms() as i64;
            let (start, end) = range.bounds(now, here.zone.midnight(now));
            let call = Call::get(here.path("/analytics/export"))
                .with("start", rfc3339(start.max(now - KEPT_MS)))
                .with("end", rfc3339(end))
                .with("format", format.as_str());
            let day = here.zone.civil(now).for_field();
            let file = [
                "rateguard-",
                format.as_str(),
                "-",
                range.name(),
                "-",
                day.get(..10).unwrap_or(""),
                ".csv",
            ]
            .concat();
            let (client, say, busy) = (client.clone(), say.clone(), busy.clone());
            busy.set(true);
            spawn_local(async move {
                match client.download(&call).await {
                    Ok(body) => {
                        if browser::save(&body, &file).is_none() {
                            say.emit(Say::Bad("The browser does not allow this download.".to_owned()));
                        }
                    }
                    Err(failure) => say.emit(Say::Bad(failure.text())),
                }
                busy.set(false);
            });
        })
    };
    html! {
        <div class="row">
            <Button small=true icon={Icon::Download} busy={*busy} onclick={export(ExportFormat::Csv)}>{ "Export CSV" }</Button>
            <Button small=true icon={Icon::Download} busy={*busy} onclick={export(ExportFormat::Focus)}>{ "Export FOCUS" }</Button>
            <span class="soft small">{ "Every request of the range. FOCUS is the FinOps format that cost tools read." }</span>
        </div>
    }
}
