//! The log of requests: filtered, read page by page as one scrolls, followed while its newest row is seen.

use super::look::{Filter, Look};
use super::request_detail::RequestDetail;
use super::request_words::{REASONS, plain, status};
use crate::api::{Call, use_log, use_poll};
use crate::app::Here;
use crate::show::money::dollars;
use crate::show::number::{count, millis};
use crate::show::time::parse;
use crate::state::form::Form;
use crate::state::log::{Log, Part};
use crate::ui::{Button, Card, Empty, Failed, Icon, Rows, SelectField, Skeletons};
use rateguard_api::analytics::Event;
use rateguard_api::name::StatusClass;
use std::ops::Range;
use std::rc::Rc;
use yew::prelude::*;

/// Read at once: as many as the API gives.
const PAGE: &str = "200";
/// Rows left below when the next page is read.
const AHEAD: usize = 100;
/// Kept in memory; whoever wants more filters, or exports.
const ROWS_MAX: usize = 20_000;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub look: Look,
    /// Of the whole page.
    pub filters: Vec<Filter>,
    /// Endpoints to choose from.
    #[prop_or_default]
    pub endpoints: Vec<AttrValue>,
    #[prop_or("Request log".into())]
    pub title: AttrValue,
    #[prop_or("Newest first. Choose one to see all of it; the arrow keys and Enter do, too.".into())]
    pub note: AttrValue,
    /// Stands before the filters.
    #[prop_or_default]
    pub children: Html,
}

const FIELDS: [&str; 4] = ["status", "errorType", "endpoint", "minLatencyMs"];

#[component]
pub fn RequestLog(props: &Props) -> Html {
    let here = &props.here;
    let form = use_reducer(|| Form::new(FIELDS.map(|name| (name, ""))));
    let begin = use_memo((props.look.range, here.zone.name.clone()), |_| {
        props.look.start.clone()
    });
    let mut call = Call::get(here.path("/analytics/events"))
        .with("start", (*begin).clone())
        .with("limit", PAGE);
    for (name, value) in &props.filters {
        call = call.with(name, value.clone());
    }
    for name in FIELDS {
        call = call.maybe(name, Some(form.get(name).to_owned()));
    }
    let load = use_log(call);
    let log = &load.log;
    let at_top = use_state_eq(|| true);
    let opened = use_state_eq(|| None::<Rc<Event>>);
    // Whoever reads further down keeps their place.
    let follows = *at_top && opened.is_none();
    use_poll(
        props.look.every_ms.filter(|_| follows),
        load.read.reform(|()| Part::Newer),
    );
    let ondraw = {
        let (read, at_top, has_more) = (load.read.clone(), at_top.setter(), log.next.is_some());
        let count = log.rows.len();
        Callback::from(move |rows: Range<usize>| {
            at_top.set(rows.start == 0);
            if has_more && rows.end + AHEAD >= count && count < ROWS_MAX {
                read.emit(Part::Older);
            }
        })
    };
    let onopen = {
        let (opened, log) = (opened.clone(), log.clone());
        Callback::from(move |at: usize| opened.set(log.rows.get(at).cloned()))
    };
    let row = {
        let (here, log) = (here.clone(), log.clone());
        Callback::from(move |at: usize| {
            log.rows
                .get(at)
                .map_or_else(Html::default, |event| cells(event, &here))
        })
    };
    let body = match (&load.failure, log.begun) {
        (Some(failure), false) => {
            html! { <Failed failure={failure.clone()} retry={load.read.reform(|()| Part::First)} /> }
        }
        (None, false) => html! { <Skeletons shape="tall" count={1} /> },
        (_, true) if log.rows.is_empty() => {
            html! { <Empty icon={Icon::Search} title="No such request" small=true text="None in this range that the filters let through." /> }
        }
        _ => html! {
            <>
                <Rows label="Requests" head={head()} count={log.rows.len()} {row} {onopen} {ondraw} />
                <p class="soft small" role="status">
                    { loaded(log) }
                    if let Some(failure) = &load.failure { { " " }{ failure.text() } }
                </p>
            </>
        },
    };
    html! {
        <Card title={props.title.clone()} note={props.note.clone()} actions={html! {
            if !follows { <Button small=true icon={Icon::Refresh} onclick={load.read.reform(|_| Part::First)}>{ "To the newest" }</Button> }
        }}>
            <div class="stack">
                { props.children.clone() }
                <div class="filters">{ filters(&form, &props.endpoints) }</div>
                { body }
            </div>
            if let Some(event) = &*opened {
                <RequestDetail event={event.clone()} here={here.clone()} onclose={let opened = opened.clone(); move |()| opened.set(None)} />
            }
        </Card>
    }
}

type Options = Vec<(AttrValue, AttrValue)>;

fn filters(form: &UseReducerHandle<Form>, endpoints: &[AttrValue]) -> Html {
    let all = |text: &'static str| (AttrValue::Static(""), AttrValue::Static(text));
    let mut answers: Options = vec![all("Every answer")];
    answers.extend(
        [
            (StatusClass::Success, "2xx, success"),
            (StatusClass::Redirect, "3xx, redirect"),
            (StatusClass::ClientError, "4xx, refused or wrong"),
            (StatusClass::ServerError, "5xx, failed"),
            (StatusClass::None, "No answer"),
        ]
        .map(|(class, text)| (class.as_str().into(), text.into())),
    );
    let mut reasons: Options = vec![all("Whatever the reason")];
    reasons.extend(REASONS.map(|reason| (reason.as_str().into(), plain(reason.as_str()).into())));
    let mut paths: Options = vec![all("Every endpoint")];
    paths.extend(endpoints.iter().map(|path| (path.clone(), path.clone())));
    let slower: Options = vec![
        all("However long"),
        ("1000".into(), "1 s and more".into()),
        ("5000".into(), "5 s and more".into()),
        ("30000".into(), "30 s and more".into()),
    ];
    let field = |name: &'static str, label: &'static str, options: Options| {
        html! { <SelectField form={form.clone()} {name} {label} {options} /> }
    };
    html! {
        <>
            { field("status", "Answer", answers) }
            { field("errorType", "Reason", reasons) }
            { field("endpoint", "Endpoint", paths) }
            { field("minLatencyMs", "Took", slower) }
        </>
    }
}

fn loaded(log: &Log) -> String {
    let text = count(log.rows.len(), "request");
    match &log.next {
        None => [text.as_str(), ", all there are."].concat(),
        Some(_) if log.rows.len() >= ROWS_MAX => {
            [text.as_str(), "; for those before, filter or export."].concat()
        }
        Some(_) => [text.as_str(), " so far; more come as you scroll."].concat(),
    }
}

fn head() -> Html {
    ["Time", "Answer", "Request", "Key", "Model", "Took", "Cost"]
        .into_iter()
        .map(|name| html! { <span role="columnheader">{ name }</span> })
        .collect()
}

fn cells(event: &Event, here: &Here) -> Html {
    let (tone, answer) = status(event);
    let time = parse(&event.timestamp).map(|ms| here.zone.civil(ms).to_the_second());
    let cell =
        |text: &str| html! { <span role="gridcell" class="cut" title={text.to_owned()}>{ text }</span> };
    html! {
        <>
            <span role="gridcell" class="num">{ time }</span>
            <span role="gridcell" class="cut">
                <span class={classes!("badge", tone.class())}>{ answer }</span>
                if let Some(reason) = &event.error_type { { " " }{ plain(reason) } }
            </span>
            { cell(&[event.method.as_str(), " ", &event.endpoint].concat()) }
            { cell(event.key_name.as_deref().unwrap_or("–")) }
            { cell(event.model.as_deref().unwrap_or("–")) }
            <span role="gridcell" class="num">{ millis(f64::from(event.latency_ms)) }</span>
            <span role="gridcell" class="num">{ dollars(event.cost_cents) }</span>
        </>
    }
}
