//! The list of APIs.

use super::head::PageHead;
use crate::api::{Call, Ignored, Loaded, use_pages, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::show::time::parse;
use crate::state::permission::Need;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::{
    Badge, Column, Confirm, Empty, Failed, Glyph, Go, Icon, Menu, Pager, Row, Skeletons, Table, Tone, use_go,
    use_say,
};
use rateguard_api::api::Api;
use rateguard_api::name::CostModelType;
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// How calls are priced, in two words.
pub fn price_words(api: &Api) -> &'static str {
    match api.cost_model.as_ref().map(|model| model.kind) {
        None => "Not priced",
        Some(CostModelType::PerRequest) => "Per request",
        Some(CostModelType::PerToken) => "Per token",
        Some(CostModelType::PerUnit) => "Per unit",
        Some(CostModelType::Tiered) => "Tiered",
        Some(CostModelType::Catalogue) => "Price catalogue",
    }
}

#[component]
pub fn Apis(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<Api>(Some(Call::get(here.path("/apis"))));
    let deleting = use_state_eq(|| None::<Api>);
    let (send, say, go) = (use_send(), use_say(), use_go());
    let writes = here.can(Need::Write);
    let reload = pages.load.reload.clone();
    let switch = {
        let (send, say, reload, here) = (send.clone(), say.clone(), reload.clone(), here.clone());
        Callback::from(move |api: Api| {
            let (say, reload) = (say.clone(), reload.clone());
            let (on, name) = (!api.is_active, api.name.clone());
            let call = Call::patch(here.path(&format!("/apis/{}", api.id)), json!({ "isActive": on }));
            send.run::<Ignored>(call, move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!("{name} is {}.", if on { "on" } else { "off" })));
                    reload.emit(());
                }
                Err(failure) => say.emit(Say::Bad(failure.text())),
            });
        })
    };
    let new = html! { <Go to={Route::NewApi} class="btn primary"><Glyph icon={Icon::Plus} size={16} />{ "Add API" }</Go> };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() && pages.cursors.page() == 1 => html! {
            <Empty icon={Icon::Api} title="No API yet"
                text="Tell RateGuard which API your applications call. Its credential stays here; they get keys of their own.">
                if writes { { new.clone() } }
            </Empty>
        },
        Loaded::Ready(list) => {
            let rows = list
                .data
                .iter()
                .map(|api| row(api, here, writes, &switch, &deleting, &go))
                .collect::<Vec<_>>();
            let columns = vec![
                Column::left("Name"),
                Column::left("Upstream"),
                Column::left("Price"),
                Column::left("State"),
                Column::left("Changed"),
            ];
            html! {
                <>
                    <Table label="APIs" {columns} {rows} search="Search APIs" />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                </>
            }
        }
    };
    html! {
        <div class="page">
            <PageHead title="APIs" text={html! { "What your applications call through RateGuard, with its credential and its prices." }}>
                if writes { { new } }
            </PageHead>
            { body }
            if let Some(api) = (*deleting).clone() {
                <DeleteApi here={here.clone()} {api} onclose={let deleting = deleting.clone(); move |()| deleting.set(None)} ondone={reload} />
            }
        </div>
    }
}

fn row(
    api: &Api,
    here: &Rc<Here>,
    writes: bool,
    switch: &Callback<Api>,
    deleting: &UseStateHandle<Option<Api>>,
    go: &Callback<Route>,
) -> Row {
    let route = Route::Api { id: api.id.clone() };
    let state = if api.is_active {
        html! { <Badge tone={Tone::Good} dot=true>{ "On" }</Badge> }
    } else {
        html! { <Badge dot=true>{ "Off" }</Badge> }
    };
    let credential = !api.has_credential && api.auth_type != rateguard_api::name::AuthType::None;
    let name = html! {
        <div class="name"><Go to={route.clone()}>{ &api.name }</Go>
            <div class="sub mono">{ format!("/proxy/{}", api.slug) }</div></div>
    };
    let upstream = html! {
        <div><span class="break">{ &api.base_url }</span>
            if credential { <div><Badge tone={Tone::Warn}>{ "No credential" }</Badge></div> }</div>
    };
    let acts = html! {
        <Menu label={format!("Actions for {}", api.name)}>
            <button type="button" onclick={let (go, route) = (go.clone(), route.clone()); move |_| go.emit(route.clone())}>
                <Glyph icon={Icon::Edit} size={16} />{ if writes { "Edit" } else { "Look at" } }</button>
            if writes {
                <button type="button" onclick={let (switch, api) = (switch.clone(), api.clone()); move |_| switch.emit(api.clone())}>
                    <Glyph icon={if api.is_active { Icon::Pause } else { Icon::Play }} size={16} />{ if api.is_active { "Switch off" } else { "Switch on" } }</button>
                <hr />
                <button type="button" class="bad" onclick={let (deleting, api) = (deleting.clone(), api.clone()); move |_| deleting.set(Some(api.clone()))}>
                    <Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
            }
        </Menu>
    };
    Row {
        key: api.id.clone(),
        search: format!("{} {} {}", api.name, api.slug, api.base_url),
        cells: vec![
            (name, SortKey::Text(api.name.clone())),
            (upstream, SortKey::Text(api.base_url.clone())),
            (
                html! { price_words(api) },
                SortKey::Text(price_words(api).to_owned()),
            ),
            (
                state,
                SortKey::Text(if api.is_active { "a" } else { "b" }.to_owned()),
            ),
            (
                html! { <span class="nowrap" title={here.zone.show(&api.updated_at)}>{ here.zone.show_date(&api.updated_at) }</span> },
                parse(&api.updated_at).map_or(SortKey::Missing, |ms| SortKey::Number(ms as f64)),
            ),
        ],
        acts,
    }
}

#[derive(Properties, PartialEq)]
pub struct DeleteProps {
    pub here: Rc<Here>,
    pub api: Api,
    pub onclose: Callback<()>,
    pub ondone: Callback<()>,
}

#[component]
pub fn DeleteApi(props: &DeleteProps) -> Html {
    let (send, say) = (use_send(), use_say());
    let fault = use_state(|| None::<AttrValue>);
    let onconfirm = {
        let (send, fault) = (send.clone(), fault.clone());
        let (path, name) = (
            props.here.path(&format!("/apis/{}", props.api.id)),
            props.api.name.clone(),
        );
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |()| {
            let (say, fault, name) = (say.clone(), fault.clone(), name.clone());
            let (onclose, ondone) = (onclose.clone(), ondone.clone());
            send.run::<Ignored>(Call::delete(path.clone()), move |answer| match answer {
                Ok(_) => {
                    say.emit(Say::Good(format!("{name} is deleted.")));
                    onclose.emit(());
                    ondone.emit(());
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    html! {
        <Confirm title="Delete this API?" name={props.api.slug.clone()} action="Delete API" busy={send.busy}
            fault={(*fault).clone()} {onconfirm} onclose={props.onclose.clone()}>
            <p>{ "Calls to " }<code>{ format!("/proxy/{}", props.api.slug) }</code>{ " are refused from then on, and its credential is erased. What it cost stays in the history. This cannot be undone." }</p>
        </Confirm>
    }
}
