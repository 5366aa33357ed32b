//! The list of rate limits.

use super::destroy::Destroy;
use super::head::PageHead;
use super::look::use_look;
use super::request_log::RequestLog;
use super::rule_tester::RuleTester;
use super::rule_words::{algorithm_name, limit_words, scope_words};
use crate::api::{Call, Ignored, Loaded, use_load, use_pages, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::show::number::count;
use crate::state::permission::Need;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::{
    Badge, Button, Column, Empty, Failed, Glyph, Go, Icon, Menu, Pager, Row, Skeletons, Table, Tone, use_go,
    use_say,
};
use rateguard_api::api::Api;
use rateguard_api::list::List;
use rateguard_api::name::Mode;
use rateguard_api::rule::{Rule, RuleReset};
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn Rules(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<Rule>(Some(Call::get(here.path("/rules"))));
    let apis = use_load::<List<Api>>(Some(Call::get(here.path("/apis")).with("limit", "200")));
    let deleting = use_state_eq(|| None::<Rule>);
    let testing = use_state_eq(|| false);
    let (send, say, go) = (use_send(), use_say(), use_go());
    let reload = pages.load.reload.clone();
    let writes = here.can(Need::Write);
    let switch = {
        let (send, say, reload, here) = (send.clone(), say.clone(), reload.clone(), here.clone());
        Callback::from(move |rule: Rule| {
            let (say, reload, name, on) = (say.clone(), reload.clone(), rule.name.clone(), !rule.enabled);
            let call = Call::patch(
                here.path(&format!("/rules/{}", rule.id)),
                json!({ "enabled": on }),
            );
            send.run::<Ignored>(call, move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!("{name} is {}.", if on { "on" } else { "off" })));
                    reload.emit(());
                }
                Err(failure) => say.emit(Say::Bad(failure.text())),
            });
        })
    };
    let reset = {
        let (send, say, here) = (send.clone(), say.clone(), here.clone());
        Callback::from(move |rule: Rule| {
            let (say, name) = (say.clone(), rule.name.clone());
            let call = Call::post(here.path(&format!("/rules/{}/reset", rule.id)), json!({}));
            send.run::<RuleReset>(call, move |answer| match answer {
                Ok(done) => say.emit(Say::Good(format!(
                    "{name} starts anew: {} emptied.",
                    count(done.buckets_removed as usize, "counter")
                ))),
                Err(failure) => say.emit(Say::Bad(failure.text())),
            });
        })
    };
    let new = html! { <Go to={Route::NewRule} class="btn primary"><Glyph icon={Icon::Plus} size={16} />{ "Add rate limit" }</Go> };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() && pages.cursors.page() == 1 => html! {
            <Empty icon={Icon::Gauge} title="No rate limit yet"
                text="Limit requests, tokens or money; per key, per address, or for all together. Try one in shadow mode first: it counts and never refuses.">
                if writes { { new.clone() } }
            </Empty>
        },
        Loaded::Ready(list) => {
            let known = apis
                .state
                .ready()
                .map(|list| list.data.clone())
                .unwrap_or_default();
            let acts = Acts {
                writes,
                switch: &switch,
                reset: &reset,
                deleting: &deleting,
                go: &go,
            };
            let rows = list
                .data
                .iter()
                .map(|rule| row(rule, &known, &acts))
                .collect::<Vec<_>>();
            let columns = vec![
                Column::left("Name"),
                Column::left("Limit"),
                Column::left("Counted"),
                Column::left("Applies to"),
                Column::left("State"),
            ];
            html! {
                <>
                    <Table label="Rate limits" {columns} {rows} search="Search rate limits" />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                    if list.data.iter().any(|rule| rule.enabled && rule.mode == Mode::Shadow) { <Shadow here={here.clone()} /> }
                </>
            }
        }
    };
    html! {
        <div class="page">
            <PageHead title="Rate limits" text={html! { "A call must be admitted by every limit that matches it; nothing is counted unless all do." }}>
                <Button icon={Icon::Search} onclick={let testing = testing.clone(); move |_| testing.set(true)}>{ "Test a request" }</Button>
                if writes { { new } }
            </PageHead>
            { body }
            if *testing {
                <RuleTester here={here.clone()} onclose={let testing = testing.clone(); move |()| testing.set(false)} />
            }
            if let Some(rule) = (*deleting).clone() {
                { delete_rule(here, &rule, {
                    let deleting = deleting.clone();
                    Callback::from(move |()| deleting.set(None))
                }, reload) }
            }
        </div>
    }
}

struct Acts<'a> {
    writes: bool,
    switch: &'a Callback<Rule>,
    reset: &'a Callback<Rule>,
    deleting: &'a UseStateHandle<Option<Rule>>,
    go: &'a Callback<Route>,
}

fn state(rule: &Rule) -> (Tone, &'static str) {
    match (rule.enabled, rule.mode) {
        (false, _) => (Tone::Plain, "Off"),
        (true, Mode::Shadow) => (Tone::Info, "Shadow"),
        (true, Mode::Enforce) => (Tone::Good, "Enforced"),
    }
}

fn row(rule: &Rule, apis: &[Api], acts: &Acts<'_>) -> Row {
    let route = Route::Rule { id: rule.id.clone() };
    let (tone, state) = state(rule);
    let api = match &rule.api_id {
        None => "Every API".to_owned(),
        Some(id) => apis
            .iter()
            .find(|api| &api.id == id)
            .map_or_else(|| "A deleted API".to_owned(), |api| api.name.clone()),
    };
    let within = [rule.methods.join(", "), rule.endpoint.clone().unwrap_or_default()].join(" ");
    let menu = html! {
        <Menu label={format!("Actions for {}", rule.name)}>
            <button type="button" onclick={let (go, route) = (acts.go.clone(), route.clone()); move |_| go.emit(route.clone())}>
                <Glyph icon={Icon::Edit} size={16} />{ if acts.writes { "Edit" } else { "Look at" } }</button>
            if acts.writes {
                <button type="button" onclick={let (switch, rule) = (acts.switch.clone(), rule.clone()); move |_| switch.emit(rule.clone())}>
                    <Glyph icon={if rule.enabled { Icon::Pause } else { Icon::Play }} size={16} />{ if rule.enabled { "Switch off" } else { "Switch on" } }</button>
                <button type="button" onclick={let (reset, rule) = (acts.reset.clone(), rule.clone()); move |_| reset.emit(rule.clone())}>
                    <Glyph icon={Icon::Rotate} size={16} />{ "Empty its counters" }</button>
                <hr />
                <button type="button" class="bad" onclick={let (deleting, rule) = (acts.deleting.clone(), rule.clone()); move |_| deleting.set(Some(rule.clone()))}>
                    <Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
            }
        </Menu>
    };
    let limit = limit_words(rule);
    Row {
        key: rule.id.clone(),
        search: format!("{} {limit} {api} {within} {state}", rule.name),
        cells: vec![
            (
                html! { <span class="name"><Go to={route}>{ &rule.name }</Go></span> },
                SortKey::Text(rule.name.clone()),
            ),
            (
                html! { <div>{ &limit }<div class="sub">{ algorithm_name(rule.algorithm) }</div></div> },
                SortKey::Text(limit.clone()),
            ),
            (
                html! { scope_words(&rule.scopes) },
                SortKey::Text(scope_words(&rule.scopes)),
            ),
            (
                html! { <div>{ &api }if !within.trim().is_empty() { <div class="sub mono break">{ within.trim() }</div> }</div> },
                SortKey::Text(api.clone()),
            ),
            (
                html! { <Badge {tone} dot=true>{ state }</Badge> },
                SortKey::Text(state.to_owned()),
            ),
        ],
        acts: menu,
    }
}

/// What limits in shadow mode would have refused.
#[component]
fn Shadow(props: &Props) -> Html {
    let look = use_look(&props.here);
    let controls = look.controls.clone();
    html! {
        <RequestLog here={props.here.clone()} {look} filters={vec![("shadow", "true".to_owned())]} title="Shadow results"
            note="Requests that a limit in shadow mode would have refused, and did not. Open one to see which limit.">
            <div class="row">{ controls }</div>
        </RequestLog>
    }
}

/// Asks before a rate limit is deleted.
pub fn delete_rule(here: &Here, rule: &Rule, onclose: Callback<()>, ondone: Callback<()>) -> Html {
    html! {
        <Destroy title="Delete this rate limit?" name={rule.name.clone()} action="Delete rate limit"
            path={here.path(&["/rules/", &rule.id].concat())} {onclose} {ondone}>
            <p>{ "What it limited is not limited by it any more, within a second. This cannot be undone." }</p>
        </Destroy>
    }
}
