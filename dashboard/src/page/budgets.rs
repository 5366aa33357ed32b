//! Budgets besides the monthly one: on the workspace, an API or a key, over several windows.

use super::costs::{percent, share};
use super::destroy::Destroy;
use crate::api::{Call, use_load, use_send};
use crate::app::Here;
use crate::show::money::{cents_of_dollars, dollars, dollars_for_field, exact_dollars};
use crate::show::time::parse;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::{
    Button, Card, Dialog, Glyph, Icon, Kind, Menu, Meter, Notice, SelectField, SwitchField, TextField, Tone,
    use_guard, use_say,
};
use rateguard_api::api::Api;
use rateguard_api::budget::{Budget, BudgetStatus};
use rateguard_api::key::Key;
use rateguard_api::list::List;
use rateguard_api::name::{BudgetSubjectType, BudgetWindow};
use rateguard_model::enforced;
use serde_json::{Value, json};
use std::rc::Rc;
use yew::prelude::*;

/// Marks on the meter where an owner likes to look.
const MARKS: [u8; 2] = [50, 80];

fn window_name(window: BudgetWindow) -> &'static str {
    match window {
        BudgetWindow::Hour => "An hour",
        BudgetWindow::Day => "A day",
        BudgetWindow::Week => "A week, from Monday",
        BudgetWindow::Month => "A calendar month",
        BudgetWindow::Total => "In total, for ever",
    }
}

/// The windows that the data plane enforces, to choose from.
pub(super) fn windows() -> Vec<(AttrValue, AttrValue)> {
    BudgetWindow::ALL
        .iter()
        .filter(|window| enforced::BUDGET_WINDOWS.contains(&window.as_str()))
        .map(|window| (window.as_str().into(), window_name(*window).into()))
        .collect()
}

fn subject_name(subject: BudgetSubjectType) -> &'static str {
    match subject {
        BudgetSubjectType::Workspace => "The whole workspace",
        BudgetSubjectType::Api => "One API",
        BudgetSubjectType::Key => "One key",
        BudgetSubjectType::Tag => "One value of a tag",
        BudgetSubjectType::Model => "One model",
    }
}

/// The one that the page shows on top, with a dialog of its own.
pub fn is_monthly(budget: &BudgetStatus) -> bool {
    budget.subject.kind == BudgetSubjectType::Workspace && budget.window == BudgetWindow::Month
}

#[derive(Clone, PartialEq)]
enum Asked {
    Edit(Option<BudgetStatus>),
    Delete(BudgetStatus),
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub budgets: Vec<BudgetStatus>,
    pub reload: Callback<()>,
}

#[component]
pub fn Budgets(props: &Props) -> Html {
    let here = &props.here;
    let asked = use_state_eq(|| None::<Asked>);
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis")).with("limit", "200")));
    let keys = use_load::<List<Key>>(Some(Call::get(here.path("/keys")).with("limit", "200")));
    let apis: Vec<(String, String)> = apis
        .state
        .ready()
        .map(|list| {
            list.data
                .iter()
                .map(|api| (api.id.clone(), api.name.clone()))
                .collect()
        })
        .unwrap_or_default();
    let keys: Vec<(String, String)> = keys
        .state
        .ready()
        .map(|list| {
            list.data
                .iter()
                .map(|key| (key.id.clone(), key.name.clone()))
                .collect()
        })
        .unwrap_or_default();
    let administers = here.can(Need::Administer);
    let ask = |wanted: Asked| {
        let asked = asked.clone();
        Callback::from(move |_: MouseEvent| asked.set(Some(wanted.clone())))
    };
    let onclose = {
        let asked = asked.clone();
        Callback::from(move |()| asked.set(None))
    };
    let about = |budget: &BudgetStatus| {
        let id = budget.subject.id.as_deref().unwrap_or_default();
        let of = |names: &[(String, String)]| {
            names
                .iter()
                .find(|(known, _)| known == id)
                .map_or_else(|| "deleted".to_owned(), |(_, name)| name.clone())
        };
        let subject = match budget.subject.kind {
            BudgetSubjectType::Api => format!("API {}", of(&apis)),
            BudgetSubjectType::Key => format!("Key {}", of(&keys)),
            kind => subject_name(kind).to_owned(),
        };
        format!("{subject} · {}", window_name(budget.window).to_lowercase())
    };
    html! {
        <section class="stack" aria-label="Budgets">
            <div class="row apart">
                <h2>{ "Other budgets" }</h2>
                if administers { <Button small=true icon={Icon::Plus} onclick={ask(Asked::Edit(None))}>{ "Add budget" }</Button> }
            </div>
            if props.budgets.is_empty() {
                <p class="soft">{ "Budgets on an API or a key, or over an hour, a day or a week, stand here." }</p>
            }
            <div class="grid-cards">
                { for props.budgets.iter().map(|budget| {
                    let actions = html! {
                        if administers {
                            <Menu label={format!("Actions for {}", budget.name)}>
                                <button type="button" onclick={ask(Asked::Edit(Some(budget.clone())))}><Glyph icon={Icon::Edit} size={16} />{ "Edit" }</button>
                                <hr />
                                <button type="button" class="bad" onclick={ask(Asked::Delete(budget.clone()))}><Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
                            </Menu>
                        }
                    };
                    one(budget, here, about(budget), actions)
                }) }
            </div>
            { match (*asked).clone() {
                None => html! {},
                Some(Asked::Edit(budget)) => html! {
                    <EditBudget here={here.clone()} {budget} {apis} {keys} {onclose} ondone={props.reload.clone()} />
                },
                Some(Asked::Delete(budget)) => html! {
                    <Destroy title="Delete this budget?" name={budget.name} action="Delete budget"
                        path={here.path(&["/budgets/", &budget.id].concat())} {onclose} ondone={props.reload.clone()}>
                        <p>{ "What it stopped is not stopped by it any more. This cannot be undone." }</p>
                    </Destroy>
                },
            } }
        </section>
    }
}

fn one(budget: &BudgetStatus, here: &Here, about: String, actions: Html) -> Html {
    let used = percent(budget.percent_used);
    let ends = budget
        .window_end
        .as_deref()
        .and_then(parse)
        .map(|ms| here.zone.civil(ms).date_clock());
    let rule = if budget.auto_shutoff {
        "Refuses calls over it"
    } else {
        "Only counts"
    };
    html! {
        <Card title={budget.name.clone()} note={about} {actions}>
            <div class="stack tight">
                <p><strong class="num" title={exact_dollars(budget.current_spend_cents)}>{ dollars(budget.current_spend_cents) }</strong>
                    <span class="soft">{ format!(" of {}", dollars(budget.budget_cents)) }</span></p>
                <Meter label={format!("Spent of {}", budget.name)} spent={used} held={share(budget.reserved_cents, budget.budget_cents)} ticks={MARKS.to_vec()} />
                <p class="soft small">{ format!("{used:.1} % · left {}", dollars(budget.remaining_cents)) }</p>
                <p class="soft small">{ rule }{ ends.map(|ends| format!(" · until {ends}")) }</p>
            </div>
        </Card>
    }
}

#[derive(Properties, PartialEq)]
struct EditProps {
    here: Rc<Here>,
    budget: Option<BudgetStatus>,
    apis: Vec<(String, String)>,
    keys: Vec<(String, String)>,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

/// What a creation sends, or with `edit` an update.
fn body(form: &Form, edit: bool) -> Result<Value, Vec<(String, String)>> {
    let Some(limit) = cents_of_dollars(form.text("limitCents")) else {
        return Err(vec![(
            "limitCents".to_owned(),
            "Must be an amount in dollars, such as 20 or 0.50.".to_owned(),
        )]);
    };
    let mut body =
        json!({ "name": form.text("name"), "limitCents": limit, "autoShutoff": form.is_on("autoShutoff") });
    if !edit {
        let kind = form.get("subject");
        body["subject"] = match kind {
            "API" | "KEY" => json!({ "type": kind, "id": form.get("subject.id") }),
            _ => json!({ "type": kind }),
        };
        body["window"] = json!(form.get("window"));
    }
    Ok(body)
}

fn options(pairs: &[(String, String)]) -> Vec<(AttrValue, AttrValue)> {
    let first = (AttrValue::Static(""), AttrValue::Static("Choose…"));
    std::iter::once(first)
        .chain(
            pairs
                .iter()
                .map(|(id, name)| (id.clone().into(), name.clone().into())),
        )
        .collect()
}

#[component]
fn EditBudget(props: &EditProps) -> Html {
    let form = use_reducer(|| {
        let budget = props.budget.as_ref();
        Form::new([
            (
                "name",
                budget.map(|budget| budget.name.clone()).unwrap_or_default(),
            ),
            ("subject", "WORKSPACE".to_owned()),
            ("subject.id", String::new()),
            ("window", "DAY".to_owned()),
            (
                "limitCents",
                budget
                    .map(|budget| dollars_for_field(budget.budget_cents))
                    .unwrap_or_default(),
            ),
            (
                "autoShutoff",
                budget.is_none_or(|budget| budget.auto_shutoff).to_string(),
            ),
        ])
    });
    let (send, say) = (use_send(), use_say());
    use_guard(form.is_dirty());
    let edit = props.budget.is_some();
    let onsubmit = {
        let (form, send, here, budget) = (
            form.clone(),
            send.clone(),
            props.here.clone(),
            props.budget.clone(),
        );
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form, budget.is_some()) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = match &budget {
                Some(budget) => Call::patch(here.path(&format!("/budgets/{}", budget.id)), body),
                None => Call::post(here.path("/budgets"), body),
            };
            let (form, say, onclose, ondone) = (form.clone(), say.clone(), onclose.clone(), ondone.clone());
            send.run::<Budget>(call, move |answer| match answer {
                Ok(budget) => {
                    say.emit(Say::Good(format!("{} is saved.", budget.name)));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => {
                    let shown = [
                        "name",
                        "subject",
                        "subject.id",
                        "window",
                        "limitCents",
                        "autoShutoff",
                    ];
                    form.dispatch(Edit::Refused(failure, shown.map(str::to_owned).to_vec()));
                }
            });
        })
    };
    let subjects: Vec<(AttrValue, AttrValue)> = BudgetSubjectType::ALL
        .iter()
        .filter(|kind| enforced::BUDGET_SUBJECTS.contains(&kind.as_str()))
        .map(|kind| (kind.as_str().into(), subject_name(*kind).into()))
        .collect();
    let subject = form.get("subject").to_owned();
    html! {
        <Dialog title={if edit { "Edit budget" } else { "Add a budget" }} onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <TextField form={form.clone()} name="name" label="Name" placeholder="Search, a day" focus=true />
                if !edit {
                    <SelectField form={form.clone()} name="subject" label="Whose spend" options={subjects} />
                    if subject == "API" { <SelectField form={form.clone()} name="subject.id" label="API" options={options(&props.apis)} /> }
                    if subject == "KEY" { <SelectField form={form.clone()} name="subject.id" label="Key" options={options(&props.keys)} /> }
                    <SelectField form={form.clone()} name="window" label="Over" options={windows()} hint="Starts anew with each, by the workspace's clock." />
                }
                <TextField form={form.clone()} name="limitCents" label="Limit" before="$" inputmode="decimal" placeholder="20" />
                <SwitchField form={form.clone()} name="autoShutoff" label="Refuse calls that would exceed it" hint="Off: it only counts." />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Save budget" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rateguard_api::budget::{ChangeBudget, CreateBudget};

    #[test]
    fn the_bodies_are_ones_that_the_api_reads() {
        let form = Form::new([
            ("name", "n"),
            ("subject", "KEY"),
            ("subject.id", "1"),
            ("window", "DAY"),
            ("limitCents", "$2.50"),
            ("autoShutoff", "true"),
        ]);
        let created: CreateBudget = serde_json::from_value(body(&form, false).unwrap()).unwrap();
        assert_eq!(created.limit_cents.0.0, 2_500_000_000);
        assert_eq!(created.subject.unwrap().id.as_deref(), Some("1"));
        serde_json::from_value::<ChangeBudget>(body(&form, true).unwrap()).unwrap();
        assert!(body(&Form::new([("limitCents", "much")]), false).is_err());
    }
}
