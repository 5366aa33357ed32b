//! Lines over time: legend that hides and shows, values under the pointer or by the arrow keys, a table of the same.

use super::geometry::{Scale, area, decimals, line, lone, nearest, ticks, time_ticks};
use crate::show::money::dollars;
use crate::show::number::{grouped, millis, short};
use crate::show::zone::Zone;
use crate::ui::{Button, Empty, Icon, Kind};
use rateguard_api::decimal::Cents;
use rateguard_model::money::NanoUsd;
use std::collections::BTreeSet;
use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{Element, HtmlElement};
use yew::prelude::*;

/// One line; the values belong to the chart's times.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub name: AttrValue,
    pub values: Vec<Option<f64>>,
    /// What the first is compared with: of its colour, dashed.
    pub faint: bool,
}

impl Series {
    pub fn new(name: impl Into<AttrValue>, values: Vec<Option<f64>>) -> Self {
        Self {
            name: name.into(),
            values,
            faint: false,
        }
    }

    #[must_use]
    pub fn faint(mut self) -> Self {
        self.faint = true;
        self
    }

    fn class(&self, at: usize) -> String {
        if self.faint {
            return "s1 faint".to_owned();
        }
        format!("s{}", at % 6 + 1)
    }
}

/// How a value is written: short on the axis, in full elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Count,
    /// Values are nano-USD; whole numbers up to 2^53 are exact.
    Money,
    Millis,
}

impl Show {
    /// `step` is from one mark of the axis to the next.
    fn axis(self, value: f64, step: f64) -> String {
        match self {
            Self::Count => short(value),
            Self::Money => match decimals(step / 1e9) {
                0 => format!("${}", short(value / 1e9)),
                count => format!("${:.*}", count.max(2), value / 1e9),
            },
            Self::Millis => match decimals(step) {
                0 => millis(value),
                count => format!("{value:.count$} ms"),
            },
        }
    }

    /// The top of an axis on which nothing is.
    fn unit(self) -> f64 {
        match self {
            Self::Count | Self::Millis => 1.0,
            Self::Money => 1e9,
        }
    }

    fn full(self, value: f64) -> String {
        match self {
            Self::Count => grouped(value.max(0.0).round() as u64),
            Self::Money => dollars(Cents(NanoUsd(value.round() as i64))),
            Self::Millis => millis(value),
        }
    }
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub label: AttrValue,
    /// Milliseconds since 1970, rising.
    pub times: Vec<i64>,
    /// Width of a point of time; days are written as dates.
    pub step_ms: i64,
    pub series: Vec<Series>,
    pub show: Show,
    pub zone: Zone,
    #[prop_or(240.0)]
    pub height: f64,
    /// Columns instead of lines: for what adds up.
    #[prop_or_default]
    pub columns: bool,
}

const TOP: f64 = 10.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 26.0;
const LEFT: f64 = 58.0;
const WIDTH_MIN: f64 = 240.0;
const DAY_MS: i64 = 86_400_000;

/// The width of an element in pixels, followed.
#[hook]
fn use_width(node: &NodeRef) -> f64 {
    let width = use_state_eq(|| 640.0);
    let (setter, node) = (width.setter(), node.clone());
    use_effect_with((), move |()| {
        let closure = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
            if let Ok(entry) = entries.get(0).dyn_into::<web_sys::ResizeObserverEntry>() {
                setter.set(entry.content_rect().width().max(WIDTH_MIN));
            }
        });
        let observer = web_sys::ResizeObserver::new(closure.as_ref().unchecked_ref()).ok();
        if let (Some(observer), Some(element)) = (&observer, node.cast::<Element>()) {
            observer.observe(&element);
        }
        move || {
            if let Some(observer) = observer {
                observer.disconnect();
            }
            drop(closure);
        }
    });
    *width
}

fn when(zone: &Zone, at: i64, step_ms: i64) -> String {
    let civil = zone.civil(at);
    if step_ms >= DAY_MS {
        civil.date()
    } else {
        civil.date_clock()
    }
}

#[component]
pub fn Lines(props: &Props) -> Html {
    let host = use_node_ref();
    let width = use_width(&host);
    let hidden = use_state_eq(BTreeSet::<usize>::new);
    let cursor = use_state_eq(|| None::<usize>);
    let as_table = use_state_eq(|| false);
    let toggle = {
        let as_table = as_table.clone();
        Callback::from(move |_: MouseEvent| as_table.set(!*as_table))
    };
    let empty = props.times.is_empty() || props.series.is_empty();
    html! {
        <div class="chart">
            <div class="keys">
                { for props.series.iter().enumerate().map(|(at, series)| legend(at, series, &hidden)) }
                if !empty {
                    <Button kind={Kind::Quiet} small=true onclick={toggle}>{ if *as_table { "As a chart" } else { "As a table" } }</Button>
                }
            </div>
            <div class="plot" ref={host}>
                if empty {
                    <Empty icon={Icon::Chart} title="Nothing in this range" small=true />
                } else if *as_table {
                    { table(props) }
                } else {
                    <Plot label={props.label.clone()} times={props.times.clone()} step_ms={props.step_ms}
                        series={props.series.clone()} show={props.show} zone={props.zone.clone()} height={props.height}
                        columns={props.columns} {width} hidden={(*hidden).clone()} cursor={cursor.clone()} />
                }
            </div>
        </div>
    }
}

fn legend(at: usize, series: &Series, hidden: &UseStateHandle<BTreeSet<usize>>) -> Html {
    let shown = !hidden.contains(&at);
    let hidden = hidden.clone();
    let onclick = Callback::from(move |_: MouseEvent| {
        let mut next = (*hidden).clone();
        if !next.remove(&at) {
            next.insert(at);
        }
        hidden.set(next);
    });
    html! {
        <button type="button" class={classes!("key", series.class(at))} aria-pressed={shown.to_string()} {onclick}>{ &series.name }</button>
    }
}

fn table(props: &Props) -> Html {
    html! {
        <div class="as-table" tabindex="0"><table class="table" aria-label={props.label.clone()}>
            <thead><tr>
                <th scope="col">{ format!("Time ({})", props.zone.name) }</th>
                { for props.series.iter().map(|series| html! { <th scope="col" class="right">{ &series.name }</th> }) }
            </tr></thead>
            <tbody>
                { for props.times.iter().enumerate().map(|(row, at)| html! {
                    <tr>
                        <th scope="row">{ when(&props.zone, *at, props.step_ms) }</th>
                        { for props.series.iter().map(|series| html! {
                            <td class="right num">{ series.values.get(row).copied().flatten().map_or_else(|| "–".to_owned(), |value| props.show.full(value)) }</td>
                        }) }
                    </tr>
                }) }
            </tbody>
        </table></div>
    }
}

#[derive(Properties, PartialEq)]
struct PlotProps {
    label: AttrValue,
    times: Vec<i64>,
    step_ms: i64,
    series: Vec<Series>,
    show: Show,
    zone: Zone,
    height: f64,
    columns: bool,
    width: f64,
    hidden: BTreeSet<usize>,
    cursor: UseStateHandle<Option<usize>>,
}

impl PlotProps {
    fn shown(&self) -> impl Iterator<Item = (usize, &Series)> {
        self.series
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.hidden.contains(at))
    }

    fn x(&self) -> Scale {
        let ends = (self.times.first().copied(), self.times.last().copied());
        // A column takes the time from its point to the next.
        let width = if self.columns { self.step_ms } else { 0 };
        let (start, end) = (ends.0.unwrap_or(0), ends.1.unwrap_or(1) + width);
        Scale {
            from: (start as f64, end as f64),
            to: (LEFT, self.width - RIGHT),
        }
    }

    /// Where a point's value stands: in the middle of its column.
    fn middle(&self, at: usize) -> f64 {
        let half = if self.columns { self.step_ms / 2 } else { 0 };
        (self.times.get(at).copied().unwrap_or(0) + half) as f64
    }

    fn top(&self) -> Vec<f64> {
        let values = self
            .shown()
            .flat_map(|(_, series)| series.values.iter().flatten());
        let max = values.fold(0.0, |max: f64, value| max.max(*value));
        if max > 0.0 {
            ticks(max, 4)
        } else {
            vec![0.0, self.show.unit()]
        }
    }
}

#[component]
fn Plot(props: &PlotProps) -> Html {
    let x = props.x();
    let marks = props.top();
    let y = Scale {
        from: (0.0, marks.last().copied().unwrap_or(1.0)),
        to: (props.height - BOTTOM, TOP),
    };
    let cursor = &props.cursor;
    let onpointermove = {
        let (cursor, times, half) = (cursor.clone(), props.times.clone(), props.middle(0) - x.from.0);
        Callback::from(move |event: PointerEvent| {
            let plot = event
                .current_target()
                .and_then(|target| target.dyn_into::<Element>().ok());
            let left = plot.map_or(0.0, |plot| plot.get_bounding_client_rect().left());
            cursor.set(nearest(
                &times,
                x.value(f64::from(event.client_x()) - left) - half,
            ));
        })
    };
    let forget = {
        let cursor = cursor.clone();
        move || cursor.set(None)
    };
    let onpointerleave = {
        let forget = forget.clone();
        Callback::from(move |_: PointerEvent| forget())
    };
    let onblur = Callback::from(move |_: FocusEvent| forget());
    let onkeydown = {
        let (cursor, last) = (cursor.clone(), props.times.len().saturating_sub(1));
        Callback::from(move |event: KeyboardEvent| {
            let next = match (event.key().as_str(), *cursor) {
                ("ArrowRight", at) => Some(at.map_or(0, |at| (at + 1).min(last))),
                ("ArrowLeft", at) => Some(at.map_or(last, |at| at.saturating_sub(1))),
                ("Home", _) => Some(0),
                ("End", _) => Some(last),
                ("Escape", _) => None,
                _ => return,
            };
            event.prevent_default();
            cursor.set(next);
        })
    };
    let label = format!("{}. Line chart; the arrow keys read its values.", props.label);
    let at = cursor.filter(|at| *at < props.times.len());
    html! {
        <>
            <svg height={props.height.to_string()} viewBox={format!("0 0 {:.0} {:.0}", props.width, props.height)} tabindex="0"
                role="img" aria-label={label} {onpointermove} {onpointerleave} {onkeydown} {onblur}>
                { grid(props, x, y, &marks) }
                if props.columns { { columns(props, x, y) } } else { { lines(props, x, y) } }
                if let Some(at) = at { { cross(props, at, x, y) } }
            </svg>
            if let Some(at) = at {
                <Tip x={x.px(props.middle(at))} width={props.width}>
                    <strong>{ when(&props.zone, props.times.get(at).copied().unwrap_or(0), props.step_ms) }</strong>
                    { for props.shown().map(|(line, series)| html! {
                        <span class={classes!("key", series.class(line))}>{ &series.name }
                            <b>{ series.values.get(at).copied().flatten().map_or_else(|| "–".to_owned(), |value| props.show.full(value)) }</b></span>
                    }) }
                </Tip>
            }
        </>
    }
}

fn grid(props: &PlotProps, x: Scale, y: Scale, marks: &[f64]) -> Html {
    let (start, end) = (x.from.0 as i64, x.from.1 as i64);
    let count = ((props.width / 110.0) as usize).max(2);
    let offset = props.zone.offset_ms(start);
    let step = marks.get(1).copied().unwrap_or(1.0);
    let long = end - start > 2 * DAY_MS;
    html! {
        <g class="grid">
            { for marks.iter().map(|mark| {
                let py = y.px(*mark).to_string();
                html! {
                    <>
                        <line x1={x.to.0.to_string()} x2={x.to.1.to_string()} y1={py.clone()} y2={py.clone()} />
                        <text x={(x.to.0 - 8.0).to_string()} y={py} text-anchor="end" dominant-baseline="middle">{ props.show.axis(*mark, step) }</text>
                    </>
                }
            }) }
            { for time_ticks(start, end, offset, count).into_iter().map(|at| {
                let civil = props.zone.civil(at);
                let text = if long || props.step_ms >= DAY_MS { civil.day_month() } else { civil.clock() };
                html! { <text x={x.px(at as f64).to_string()} y={(props.height - 7.0).to_string()} text-anchor="middle">{ text }</text> }
            }) }
        </g>
    }
}

fn lines(props: &PlotProps, x: Scale, y: Scale) -> Html {
    props
        .shown()
        .map(|(at, series)| {
            let values = props.times.iter().zip(&series.values);
            let points: Vec<_> = values
                .map(|(time, value)| (x.px(*time as f64), value.map(|value| y.px(value))))
                .collect();
            html! {
                <g class={series.class(at)}>
                    <path class="area" d={area(&points, y.to.0)} />
                    <path class="line" d={line(&points)} />
                    { for lone(&points).into_iter().map(|(px, py)| html! {
                        <circle class="dot" r="4" cx={px.to_string()} cy={py.to_string()} />
                    }) }
                </g>
            }
        })
        .collect()
}

/// Beside each other where there are several.
fn columns(props: &PlotProps, x: Scale, y: Scale) -> Html {
    let count = props.shown().count().max(1) as f64;
    let slot = (x.px(props.step_ms as f64) - x.px(0.0)) * 0.8 / count;
    let shown = props.shown().enumerate().map(|(nth, (at, series))| {
        let left = slot * (nth as f64 + count * 0.125);
        let bars = props.times.iter().zip(&series.values).filter_map(|(time, value)| {
            let (px, py) = (x.px(*time as f64) + left, y.px((*value)?));
            let high = (y.to.0 - py).max(0.0);
            Some(html! { <rect class="bar" x={px.to_string()} y={py.to_string()} width={slot.max(1.0).to_string()} height={high.to_string()} /> })
        });
        html! { <g class={series.class(at)}>{ for bars }</g> }
    });
    shown.collect()
}

fn cross(props: &PlotProps, at: usize, x: Scale, y: Scale) -> Html {
    let px = x.px(props.middle(at)).to_string();
    html! {
        <>
            <line class="cross" x1={px.clone()} x2={px.clone()} y1={y.to.1.to_string()} y2={y.to.0.to_string()} />
            { for props.shown().filter_map(|(line, series)| series.values.get(at).copied().flatten().map(|value| html! {
                <circle class={classes!("dot", series.class(line))} r="4" cx={px.clone()} cy={y.px(value).to_string()} />
            })) }
        </>
    }
}

#[derive(Properties, PartialEq)]
struct TipProps {
    x: f64,
    width: f64,
    children: Html,
}

/// Its place is set through the style object: the content security policy refuses the attribute.
#[component]
fn Tip(props: &TipProps) -> Html {
    let node = use_node_ref();
    use_effect_with((node.clone(), props.x, props.width), |(node, x, width)| {
        if let Some(element) = node.cast::<HtmlElement>() {
            let on_left = *x > width / 2.0;
            let (side, other, px) = if on_left {
                ("right", "left", width - x + 12.0)
            } else {
                ("left", "right", x + 12.0)
            };
            let style = element.style();
            // Names and values are well-formed, which is all that can be wrong.
            let _ = style.set_property(side, &format!("{px:.0}px"));
            let _ = style.set_property(other, "auto");
        }
    });
    html! { <div class="tip" role="status" ref={node}>{ props.children.clone() }</div> }
}
