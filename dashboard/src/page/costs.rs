//! Costs and budgets: what is spent, what is held, what is left, where it leads.

use super::breakdown::Breakdown;
use super::budgets::{Budgets, is_monthly};
use super::head::PageHead;
use crate::api::{Call, Loaded, use_load, use_poll, use_send};
use crate::app::Here;
use crate::show::money::{cents_of_dollars, dollars, dollars_for_field, exact_dollars};
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::card::alarm;
use crate::ui::{
    Badge, Button, Card, Dialog, Empty, Failed, Icon, Kind, Meter, Notice, Skeletons, Stat, SwitchField,
    TextField, Tone, use_guard, use_say,
};
use rateguard_api::budget::{Costs as Body, MonthlyBudget};
use rateguard_api::decimal::{Centi, Cents};
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

const REFRESH_MS: u32 = 5_000;
/// Marks on the meter where an owner likes to look.
const MARKS: [u8; 2] = [50, 80];

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// Hundredths of a percent, for drawing.
pub fn percent(value: Centi) -> f64 {
    value.0 as f64 / 100.0
}

pub fn money(amount: Cents) -> Html {
    html! { <span class="num nowrap" title={exact_dollars(amount)}>{ dollars(amount) }</span> }
}

/// A share of a budget, for drawing.
pub fn share(part: Cents, whole: Cents) -> f64 {
    if whole.0.0 <= 0 {
        0.0
    } else {
        part.0.0 as f64 / whole.0.0 as f64 * 100.0
    }
}

#[component]
pub fn Costs(props: &Props) -> Html {
    let here = &props.here;
    let load = use_load::<Body>(Some(Call::get(here.path("/costs"))));
    use_poll(Some(REFRESH_MS), load.reload.clone());
    let editing = use_state_eq(|| false);
    let administers = here.can(Need::Administer);
    let edit = {
        let editing = editing.clone();
        Callback::from(move |_: MouseEvent| editing.set(true))
    };
    let set = html! { <Button kind={Kind::Primary} icon={Icon::Money} onclick={edit.clone()}>{ "Set a monthly budget" }</Button> };
    let body = match &load.state {
        Loaded::Waiting => {
            html! { <><Skeletons shape="tall" count={1} /><Skeletons shape="block" count={4} /></> }
        }
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={load.reload.clone()} /> },
        Loaded::Ready(costs) => html! {
            <>
                { monthly(costs, administers, &edit) }
                if costs.budget_cents.is_none() {
                    <Empty icon={Icon::Money} title="No monthly budget"
                        text="With one you see what is spent of it and where the month will end; and calls can be stopped before it is exceeded.">
                        if administers { { set } }
                    </Empty>
                }
                <Budgets here={here.clone()} reload={load.reload.clone()}
                    budgets={costs.budgets.iter().filter(|budget| !is_monthly(budget)).cloned().collect::<Vec<_>>()} />
            </>
        },
    };
    html! {
        <div class="page">
            <PageHead title="Costs & budgets" text={html! { "Counted in billionths of a dollar, as the calls happen. Point at an amount to see all its digits." }} />
            { body }
            <Breakdown here={here.clone()} />
            if let (true, Loaded::Ready(costs)) = (*editing, &load.state) {
                <EditBudget here={here.clone()} costs={costs.clone()} ondone={load.reload.clone()}
                    onclose={let editing = editing.clone(); move |()| editing.set(false)} />
            }
        </div>
    }
}

fn monthly(costs: &Body, administers: bool, edit: &Callback<MouseEvent>) -> Html {
    let (Some(budget), Some(spent)) = (costs.budget_cents, costs.current_spend_cents) else {
        return html! {};
    };
    let zero = Cents::default();
    let held = costs.reserved_cents.unwrap_or(zero);
    let used = costs.percent_used.map_or_else(|| share(spent, budget), percent);
    let projected = costs.projected_month_end_cents.unwrap_or(zero);
    let over = projected > budget;
    let (tone, word) = match alarm(used) {
        "bad" => (Tone::Bad, "Used up"),
        "warn" => (Tone::Warn, "Nearly used up"),
        _ => (Tone::Good, "Within budget"),
    };
    let actions = html! {
        if administers { <Button small=true icon={Icon::Edit} onclick={edit.clone()}>{ "Change" }</Button> }
    };
    let note = if costs.auto_shutoff {
        "Calls that would exceed it are refused with 402."
    } else {
        "It warns only: calls over it are let through."
    };
    html! {
        <>
            <Card title="This month" {note} {actions}>
                <div class="stack">
                    <div class="row apart">
                        <p><span class="big-money" title={exact_dollars(spent)}>{ dollars(spent) }</span>
                            <span class="soft">{ format!(" of {}", dollars(budget)) }</span></p>
                        <Badge {tone} dot=true>{ word }</Badge>
                    </div>
                    <div>
                        <Meter label="Spent of the monthly budget" spent={used} held={share(held, budget)} ticks={MARKS.to_vec()} />
                        <div class="meter-legend">
                            <span>{ format!("Spent {used:.1} %") }</span>
                            <span class="held">{ "Held for calls in flight " }{ dollars(held) }</span>
                            <span class="left">{ "Left " }{ dollars(costs.remaining_cents.unwrap_or(zero)) }</span>
                        </div>
                    </div>
                </div>
            </Card>
            <div class="grid-4">
                { figure("Left", costs.remaining_cents, html! { "After what is held." }) }
                { figure("A day", costs.daily_rate_cents, html! { "On average, this month." }) }
                { figure("At the month's end", costs.projected_month_end_cents, if over {
                    html! { <Badge tone={Tone::Warn}>{ "Over the budget at this pace" }</Badge> }
                } else {
                    html! { "If it goes on like this." }
                }) }
            </div>
        </>
    }
}

fn figure(label: &'static str, amount: Option<Cents>, note: Html) -> Html {
    let value = amount.map_or_else(|| "–".to_owned(), dollars);
    let exact = amount.map(|amount| AttrValue::from(exact_dollars(amount)));
    html! { <Stat {label} {value} {exact} {note} /> }
}

#[derive(Properties, PartialEq)]
struct EditProps {
    here: Rc<Here>,
    costs: Rc<Body>,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn EditBudget(props: &EditProps) -> Html {
    let form = use_reducer(|| {
        let budget = props
            .costs
            .budget_cents
            .map(dollars_for_field)
            .unwrap_or_default();
        let shutoff = props.costs.budget_cents.is_none() || props.costs.auto_shutoff;
        Form::new([
            ("monthlyBudgetCents", budget),
            ("autoShutoff", shutoff.to_string()),
        ])
    });
    let (send, say) = (use_send(), use_say());
    use_guard(form.is_dirty());
    let store = {
        let (form, send, path) = (form.clone(), send.clone(), props.here.path("/budget"));
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |body: serde_json::Value| {
            let (form, say, onclose, ondone) = (form.clone(), say.clone(), onclose.clone(), ondone.clone());
            send.run::<MonthlyBudget>(Call::patch(path.clone(), body), move |answer| match answer {
                Ok(budget) => {
                    say.emit(Say::Good(match budget.monthly_budget_cents {
                        Some(limit) => format!("The monthly budget is {}.", dollars(limit)),
                        None => "The monthly budget is removed.".to_owned(),
                    }));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => form.dispatch(Edit::Refused(
                    failure,
                    vec!["monthlyBudgetCents".to_owned(), "autoShutoff".to_owned()],
                )),
            });
        })
    };
    let onsubmit = {
        let (form, store) = (form.clone(), store.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            match cents_of_dollars(form.text("monthlyBudgetCents")) {
                Some(cents) => store
                    .emit(json!({ "monthlyBudgetCents": cents, "autoShutoff": form.is_on("autoShutoff") })),
                None => form.dispatch(Edit::Faults(vec![(
                    "monthlyBudgetCents".to_owned(),
                    "Must be an amount in dollars, such as 500 or 12.50.".to_owned(),
                )])),
            }
        })
    };
    let remove = Callback::from(move |_: MouseEvent| store.emit(json!({ "monthlyBudgetCents": null })));
    html! {
        <Dialog title="Monthly budget" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <p class="soft">{ format!("For the whole workspace and the calendar month in its zone, {}.", props.here.zone.name) }</p>
                <TextField form={form.clone()} name="monthlyBudgetCents" label="Budget" before="$" inputmode="decimal" placeholder="500" focus=true />
                <SwitchField form={form.clone()} name="autoShutoff" label="Refuse calls that would exceed it" hint="Off: the budget only warns." />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    if props.costs.budget_cents.is_some() {
                        <Button kind={Kind::Danger} onclick={remove}>{ "Remove" }</Button>
                    }
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Save budget" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}
