//! Every component in all its states, for people who change them. Not part of the product's pages; its figures are made up.

use super::shell::Public;
use crate::api::Failure;
use crate::chart::{Bar, Bars, Lines, Series, Show};
use crate::show::zone::Zone;
use crate::state::form::{Edit, Form};
use crate::state::range::Range;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::{
    Badge, Button, Card, CheckList, Code, Column, Confirm, CopyField, Dialog, Empty, Failed, Glyph, Icon,
    Kind, Live, Menu, Meter, Notice, PickField, RangePicker, Row, Rows, SelectField, Skeletons, Stat,
    SwitchField, Table, Tabs, TextArea, TextField, Tone, use_say,
};
use yew::prelude::*;

#[component]
pub fn Design() -> Html {
    html! {
        <Public>
            <div class="page">
                <header class="page-head"><div><h1>{ "Components" }</h1><p>{ "Each in all its states. The figures here are made up." }</p></div></header>
                <Colours />
                <Buttons />
                <Fields />
                <Words />
                <Overlays />
                <Data />
                <Charts />
                <States />
            </div>
        </Public>
    }
}

#[component]
fn Colours() -> Html {
    let names = [
        "canvas", "surface", "sunken", "text", "brand-c", "good", "warn", "bad", "info", "c1", "c2", "c3",
        "c4", "c5", "c6",
    ];
    html! {
        <Card title="Colours">
            <div class="swatches">{ for names.into_iter().map(|name| html! {
                <div class="swatch"><span class={name}></span>{ name.trim_end_matches("-c") }</div>
            }) }</div>
        </Card>
    }
}

#[component]
fn Buttons() -> Html {
    html! {
        <Card title="Button">
            <div class="stack">
                <div class="row">
                    <Button kind={Kind::Primary} icon={Icon::Plus}>{ "Primary" }</Button>
                    <Button>{ "Plain" }</Button>
                    <Button kind={Kind::Quiet}>{ "Quiet" }</Button>
                    <Button kind={Kind::Danger} icon={Icon::Trash}>{ "Danger…" }</Button>
                    <Button kind={Kind::Destroy}>{ "Destroy" }</Button>
                    <Button icon={Icon::Refresh} label="Only an icon" />
                </div>
                <div class="row">
                    <Button kind={Kind::Primary} busy=true>{ "Busy" }</Button>
                    <Button kind={Kind::Primary} disabled=true>{ "Disabled" }</Button>
                    <Button disabled=true>{ "Disabled" }</Button>
                    <Button small=true>{ "Small" }</Button>
                    <Button small=true kind={Kind::Quiet} icon={Icon::Edit}>{ "Small, quiet" }</Button>
                </div>
            </div>
        </Card>
    }
}

#[component]
fn Fields() -> Html {
    let form = use_reducer(|| {
        Form::new([
            ("text", "Some text"),
            ("wrong", "not a URL"),
            ("money", "12.50"),
            ("area", "a\nb"),
            ("select", "b"),
            ("on", "true"),
            ("pick", "one"),
            ("list", "a"),
        ])
    });
    {
        let form = form.dispatcher();
        use_effect_with((), move |()| {
            form.dispatch(Edit::Faults(vec![(
                "wrong".to_owned(),
                "Must be an https URL.".to_owned(),
            )]));
        });
    }
    let options: Vec<(AttrValue, AttrValue)> =
        vec![("a".into(), "First".into()), ("b".into(), "Second".into())];
    let choices = vec![
        Choice::new("one", "One", "With a word of help."),
        Choice::new("two", "Two", "And another."),
    ];
    html! {
        <Card title="Fields">
            <div class="stack">
                <div class="grid-2">
                    <TextField form={form.clone()} name="text" label="Text" hint="A hint below." />
                    <TextField form={form.clone()} name="wrong" label="With a fault" hint="And a hint." />
                    <TextField form={form.clone()} name="money" label="With affixes" before="$" after="/ 1M" />
                    <TextField form={form.clone()} name="none" label="Empty" placeholder="Placeholder" optional=true />
                    <TextField form={form.clone()} name="text" label="Disabled" disabled=true />
                    <SelectField form={form.clone()} name="select" label="Select" options={options.clone()} />
                </div>
                <TextArea form={form.clone()} name="area" label="Lines" />
                <PickField form={form.clone()} name="pick" label="Pick" {choices} />
                <CheckList form={form.clone()} name="list" label="Several" {options} />
                <SwitchField form={form.clone()} name="on" label="Switch" hint="With a hint." />
                <SwitchField form={form.clone()} name="off" label="Off" />
            </div>
        </Card>
    }
}

#[component]
fn Words() -> Html {
    html! {
        <Card title="Badge, notice, copy, code">
            <div class="stack">
                <div class="row">
                    <Badge>{ "Plain" }</Badge><Badge tone={Tone::Good} dot=true>{ "Good" }</Badge><Badge tone={Tone::Warn} dot=true>{ "Warning" }</Badge>
                    <Badge tone={Tone::Bad} dot=true>{ "Bad" }</Badge><Badge tone={Tone::Info}>{ "Info" }</Badge><Badge tone={Tone::Brand}>{ "Brand" }</Badge>
                </div>
                <Notice>{ "Something to know." }</Notice>
                <Notice tone={Tone::Good}>{ "Something went well." }</Notice>
                <Notice tone={Tone::Warn}>{ "Something to look at." }</Notice>
                <Notice tone={Tone::Bad}>{ "Something went wrong." }</Notice>
                <CopyField text="https://console.example/accept-invitation#token=x" what="A link" />
                <CopyField text="rg_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" what="A secret" loud=true />
                <Code title="curl" code={"curl -i https://gateway.example/proxy/openai/chat/completions \\\n  -H \"authorization: Bearer $RATEGUARD_KEY\""} />
            </div>
        </Card>
    }
}

#[component]
fn Overlays() -> Html {
    let (dialog, confirm) = (use_state_eq(|| false), use_state_eq(|| false));
    let say = use_say();
    let tab = use_state_eq(|| 0_usize);
    let (range, live) = (use_state_eq(Range::default), use_state_eq(|| true));
    html! {
        <Card title="Dialog, toast, menu, tabs, range">
            <div class="stack">
                <div class="row">
                    <Button onclick={let dialog = dialog.clone(); move |_| dialog.set(true)}>{ "Dialog" }</Button>
                    <Button onclick={let confirm = confirm.clone(); move |_| confirm.set(true)}>{ "Confirm by name" }</Button>
                    <Button onclick={let say = say.clone(); move |_| say.emit(Say::Good("It is saved.".to_owned()))}>{ "Good toast" }</Button>
                    <Button onclick={move |_| say.emit(Say::Bad("It could not be saved.".to_owned()))}>{ "Bad toast" }</Button>
                    <Menu label="A menu" place={classes!("left")}>
                        <button type="button"><Glyph icon={Icon::Edit} size={16} />{ "Edit" }</button>
                        <hr />
                        <button type="button" class="bad"><Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
                    </Menu>
                </div>
                <Tabs label="Example" names={vec!["First".into(), "Second".into()]} chosen={*tab} onchoose={let tab = tab.clone(); move |at| tab.set(at)}>
                    <p>{ if *tab == 0 { "The first panel." } else { "The second panel." } }</p>
                </Tabs>
                <div class="row">
                    <RangePicker range={*range} onchange={let range = range.clone(); move |next| range.set(next)} />
                    <Live on={*live} ontoggle={let live = live.clone(); move |on| live.set(on)} />
                </div>
            </div>
            if *dialog {
                <Dialog title="A dialog" onclose={let dialog = dialog.clone(); move |()| dialog.set(false)}>
                    <p>{ "Escape closes it, and the focus goes back." }</p>
                    <footer><Button kind={Kind::Primary} onclick={let dialog = dialog.clone(); move |_| dialog.set(false)}>{ "Good" }</Button></footer>
                </Dialog>
            }
            if *confirm {
                <Confirm title="Delete this?" name="example" action="Delete" onconfirm={let confirm = confirm.clone(); move |()| confirm.set(false)}
                    onclose={let confirm = confirm.clone(); move |()| confirm.set(false)}><p>{ "This cannot be undone." }</p></Confirm>
            }
        </Card>
    }
}

#[component]
fn Data() -> Html {
    let row = |name: &str, number: f64, tone: Tone, state: &str| Row {
        key: name.to_owned(),
        search: name.to_owned(),
        cells: vec![
            (
                html! { <span class="name">{ name.to_owned() }</span> },
                SortKey::Text(name.to_owned()),
            ),
            (html! { number }, SortKey::Number(number)),
            (
                html! { <Badge {tone} dot=true>{ state.to_owned() }</Badge> },
                SortKey::Text(state.to_owned()),
            ),
        ],
        acts: html! { <Menu label="Actions"><button type="button">{ "Edit" }</button></Menu> },
    };
    let rows = vec![
        row("Billing service", 42.0, Tone::Good, "Active"),
        row("Search", 7.0, Tone::Warn, "Suspended"),
        row("<script>alert(1)</script>", 1337.0, Tone::Bad, "Revoked"),
    ];
    let columns = vec![
        Column::left("Name"),
        Column::right("Number"),
        Column::left("State"),
    ];
    let head =
        html! { <><span role="columnheader">{ "Row" }</span><span role="columnheader">{ "Text" }</span></> };
    let cells = Callback::from(|row: usize| {
        html! { <><span role="gridcell" class="num">{ row }</span><span role="gridcell" class="cut">{ "Each is 36 px high." }</span></> }
    });
    html! {
        <>
            <Card title="Table"><Table label="Example" {columns} {rows} search="Search" /></Card>
            <Card title="Long list" note="Of 10,000 rows only those that are seen are in the page.">
                <Rows label="Long list" {head} count={10_000} row={cells} onopen={Callback::noop()} ondraw={Callback::noop()} />
            </Card>
            <div class="grid-4">
                <Stat label="Requests" value="1,204,330" note={html! { "312 of them failed" }} />
                <Stat label="Cost" value="$1,250.50" exact="$1250.503219" note={html! { "exact on pointing" }} />
                <Stat label="A small cost" value="$0.00042" note={html! { "never rounded to nothing" }} />
            </div>
            <Card title="Meter">
                <div class="stack">
                    <Meter label="Low" spent={32.0} held={6.0} ticks={vec![50, 80]} />
                    <Meter label="High" spent={84.0} held={9.0} ticks={vec![50, 80]} />
                    <Meter label="Over" spent={104.0} ticks={vec![50, 80]} />
                </div>
            </Card>
        </>
    }
}

#[component]
fn Charts() -> Html {
    const HOUR_MS: i64 = 3_600_000;
    let start = 1_795_305_600_000;
    let times: Vec<i64> = (0..24).map(|n| start + n * HOUR_MS).collect();
    let wave = |scale: f64, shift: f64| {
        (0..24)
            .map(|n| Some((scale * (1.4 + (f64::from(n) / 4.0 + shift).sin())).round()))
            .collect::<Vec<_>>()
    };
    let mut gaps = wave(60.0, 2.0);
    gaps.splice(9..12, [None, None, None]);
    let series = vec![
        Series::new("Requests", wave(220.0, 0.0)),
        Series::new("Refused", wave(90.0, 1.0)),
        Series::new("With gaps", gaps),
        Series::new("Before", wave(200.0, 0.4)).faint(),
    ];
    let show = Show::Count;
    let bars = [
        ("gpt-4o-mini", 42.0),
        ("claude-3-5-haiku", 17.5),
        ("a-model-with-a-rather-long-name-2026-11-22", 3.0),
    ]
    .map(|(name, value)| Bar {
        name: name.into(),
        value,
        text: format!("${value:.2}").into(),
    });
    html! {
        <>
            <Card title="Lines"><Lines label="Example" times={times.clone()} step_ms={HOUR_MS} series={series.clone()} {show} zone={Zone::new("UTC")} /></Card>
            <div class="grid-2">
                <Card title="Columns"><Lines label="Columns" times={times.clone()} step_ms={HOUR_MS} series={series[..1].to_vec()} {show} zone={Zone::new("UTC")} columns=true /></Card>
                <Card title="Bars"><Bars label="Example" bars={bars.to_vec()} /></Card>
                <Card title="Lines without data"><Lines label="Empty" times={Vec::new()} step_ms={HOUR_MS} series={Vec::new()} {show} zone={Zone::new("UTC")} /></Card>
            </div>
        </>
    }
}

#[component]
fn States() -> Html {
    html! {
        <>
            <div class="grid-2">
                <Empty icon={Icon::Key} title="No key yet" text="With what to do about it."><Button kind={Kind::Primary}>{ "Create key" }</Button></Empty>
                <Failed failure={Failure::Network} retry={Callback::noop()} />
            </div>
            <Skeletons shape="block" count={4} />
            <Skeletons count={3} />
        </>
    }
}
