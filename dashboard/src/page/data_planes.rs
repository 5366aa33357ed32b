//! Data planes: their tokens, and those that were heard of.

use super::destroy::Destroy;
use super::head::PageHead;
use super::keys::Secret;
use crate::api::{Call, Loaded, use_pages, use_poll, use_send};
use crate::app::Here;
use crate::show::number::grouped;
use crate::show::time::{ago, parse};
use crate::state::form::{Edit, Form};
use crate::state::table::SortKey;
use crate::ui::{
    Badge, Button, Column, Dialog, Empty, Failed, Icon, Kind, Notice, Pager, Row, Skeletons, Table,
    TextField, Tone, use_guard,
};
use rateguard_api::data_plane::{DataPlaneNode, DataPlaneToken, DataPlaneTokenWithSecret};
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

/// A poll hangs 25 s; two missed are a sign.
const QUIET_AFTER_MS: i64 = 60_000;
const REFRESH_MS: u32 = 5_000;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[component]
pub fn DataPlanes(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<DataPlaneToken>(Some(Call::get(here.path("/data-planes"))));
    use_poll(Some(REFRESH_MS), pages.load.reload.clone());
    let creating = use_state_eq(|| false);
    let revoking = use_state_eq(|| None::<DataPlaneToken>);
    let reload = pages.load.reload.clone();
    let open = {
        let creating = creating.clone();
        Callback::from(move |_: MouseEvent| creating.set(true))
    };
    let new =
        html! { <Button kind={Kind::Primary} icon={Icon::Plus} onclick={open}>{ "Create token" }</Button> };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() && pages.cursors.page() == 1 => html! {
            <Empty icon={Icon::Plane} title="No data plane of this workspace"
                text="A data plane is an Envoy with the RateGuard filter, and its limit service. Its token lets it fetch this workspace's configuration.">{ new.clone() }</Empty>
        },
        Loaded::Ready(list) => {
            let rows = list
                .data
                .iter()
                .map(|token| row(token, here, &revoking))
                .collect::<Vec<_>>();
            let columns = vec![
                Column::left("Name"),
                Column::left("State"),
                Column::right("Nodes"),
                Column::left("Made"),
            ];
            html! {
                <>
                    <Table label="Tokens of data planes" {columns} {rows} search="Search data planes" />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                    <section class="stack tight"><h2>{ "Nodes" }</h2>{ nodes(&list.data, here) }</section>
                </>
            }
        }
    };
    html! {
        <div class="page">
            <PageHead title="Data planes" text={html! { "The Envoys that enforce this workspace's limits, and the tokens that they identify themselves with." }}>{ new }</PageHead>
            { body }
            if *creating {
                <NewToken here={here.clone()} ondone={reload.clone()} onclose={let creating = creating.clone(); move |()| creating.set(false)} />
            }
            if let Some(token) = (*revoking).clone() {
                <Destroy title="Revoke this token?" name={token.name} action="Revoke token" done="is revoked."
                    path={here.path(&["/data-planes/", &token.id].concat())} ondone={reload} onclose={let revoking = revoking.clone(); move |()| revoking.set(None)}>
                    <p>{ "Data planes that use it get no configuration any more. They go on with the last one they have, so changes and revocations do not reach them." }</p>
                </Destroy>
            }
        </div>
    }
}

fn row(token: &DataPlaneToken, here: &Here, revoking: &UseStateHandle<Option<DataPlaneToken>>) -> Row {
    let (tone, state) = if token.revoked_at.is_some() {
        (Tone::Bad, "Revoked")
    } else {
        (Tone::Good, "Valid")
    };
    let own = token.revoked_at.is_none() && !token.all_workspaces;
    let acts = html! {
        if own {
            <Button small=true kind={Kind::Danger} onclick={let (revoking, token) = (revoking.clone(), token.clone()); move |_| revoking.set(Some(token.clone()))}>{ "Revoke…" }</Button>
        }
    };
    let name = html! {
        <div class="name">{ &token.name }
            if token.all_workspaces { <div class="sub">{ "The operator's, for every workspace" }</div> }</div>
    };
    Row {
        key: token.id.clone(),
        search: token.name.clone(),
        cells: vec![
            (name, SortKey::Text(token.name.clone())),
            (
                html! { <Badge {tone} dot=true>{ state }</Badge> },
                SortKey::Text(state.to_owned()),
            ),
            (
                html! { token.nodes.len() },
                SortKey::Number(token.nodes.len() as f64),
            ),
            (
                html! { <span class="nowrap">{ here.zone.show(&token.created_at) }</span> },
                SortKey::Text(token.created_at.clone()),
            ),
        ],
        acts,
    }
}

/// Who polled, with what they run and whether they took it.
fn nodes(tokens: &[DataPlaneToken], here: &Here) -> Html {
    let now = crate::browser::now_ms() as i64;
    let rows: Vec<Row> = tokens
        .iter()
        .flat_map(|token| token.nodes.iter().map(move |node| (token, node)))
        .map(|(token, node)| node_row(token, node, here, now))
        .collect();
    if rows.is_empty() {
        return html! { <Empty icon={Icon::Plane} title="No data plane was heard of yet" small=true text="They appear when they fetch their configuration." /> };
    }
    let columns = vec![
        Column::left("Node"),
        Column::left("Last seen"),
        Column::left("Configuration"),
        Column::left("Software"),
        Column::left("Refused"),
    ];
    html! { <Table label="Data planes" {columns} {rows} search="Search nodes" /> }
}

fn node_row(token: &DataPlaneToken, node: &DataPlaneNode, here: &Here, now: i64) -> Row {
    let seen = parse(&node.last_seen_at);
    let quiet = seen.is_none_or(|ms| now - ms > QUIET_AFTER_MS);
    let (tone, text) = match (seen, quiet) {
        (Some(ms), true) => (Tone::Warn, ago(ms, now)),
        (Some(_), false) => (Tone::Good, "now".to_owned()),
        (None, _) => (Tone::Plain, node.last_seen_at.clone()),
    };
    let role = if node.role == "limits" {
        "Limit service"
    } else {
        "Filter"
    };
    let refused = html! {
        if node.rejection_count == 0 {
            { "Never" }
        } else {
            <div><Badge tone={Tone::Bad}>{ grouped(node.rejection_count) }</Badge>
                if let Some(reason) = &node.rejection_reason { <div class="sub break">{ reason }</div> }</div>
        }
    };
    Row {
        key: format!("{} {} {}", token.id, node.node_id, node.role),
        search: format!("{} {role} {} {}", node.node_id, token.name, node.software_version),
        cells: vec![
            (
                html! { <div class="name break">{ &node.node_id }<div class="sub">{ format!("{role} · {}", token.name) }</div></div> },
                SortKey::Text(node.node_id.clone()),
            ),
            (
                html! { <span title={here.zone.show(&node.last_seen_at)}><Badge {tone} dot=true>{ text }</Badge></span> },
                seen.map_or(SortKey::Missing, |ms| SortKey::Number(ms as f64)),
            ),
            (
                html! { <code class="break">{ &node.version }</code> },
                SortKey::Text(node.version.clone()),
            ),
            (
                html! { &node.software_version },
                SortKey::Text(node.software_version.clone()),
            ),
            (refused, SortKey::Number(node.rejection_count as f64)),
        ],
        acts: Html::default(),
    }
}

#[derive(Properties, PartialEq)]
struct NewTokenProps {
    here: Rc<Here>,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn NewToken(props: &NewTokenProps) -> Html {
    let form = use_reducer(|| Form::new([("name", "")]));
    use_guard(form.is_dirty());
    let made = use_state(|| None::<AttrValue>);
    let send = use_send();
    let onsubmit = {
        let (form, send, made, path, ondone) = (
            form.clone(),
            send.clone(),
            made.clone(),
            props.here.path("/data-planes"),
            props.ondone.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (body, form, made, ondone) = (
                json!({ "name": form.text("name") }),
                form.clone(),
                made.clone(),
                ondone.clone(),
            );
            send.run::<DataPlaneTokenWithSecret>(
                Call::post(path.clone(), body),
                move |answer| match answer {
                    Ok(created) => {
                        made.set(Some(created.token.into()));
                        ondone.emit(());
                    }
                    Err(failure) => form.dispatch(Edit::Refused(failure, vec!["name".to_owned()])),
                },
            );
        })
    };
    if let Some(secret) = (*made).clone() {
        return html! { <Secret title="The data plane's token" {secret} ondone={props.onclose.clone()} /> };
    }
    html! {
        <Dialog title="New token for a data plane" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <p class="soft">{ "Whoever has it can read this workspace's configuration, the credentials of its APIs included." }</p>
                <TextField form={form.clone()} name="name" label="Name" placeholder="Gateway, Frankfurt" focus=true />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Create token" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}
