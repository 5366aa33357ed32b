//! The audit log: who changed what, when, from where.

use super::head::PageHead;
use crate::api::{Call, Loaded, use_pages};
use crate::app::Here;
use crate::ui::{Badge, Empty, Failed, Icon, Pager, Skeletons, Tone};
use rateguard_api::audit::{Actor, AuditEntry};
use rateguard_api::name::AuditAction;
use std::rc::Rc;
use web_sys::HtmlSelectElement;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

/// What is written to, as the API filters by it, with the words for it.
fn kinds() -> Vec<(&'static str, String)> {
    let mut names: Vec<&'static str> = AuditAction::ALL
        .iter()
        .map(|action| action.resource_type())
        .collect();
    names.sort_unstable();
    names.dedup();
    let all = std::iter::once(("", "Everything".to_owned()));
    all.chain(names.into_iter().map(|name| (name, words(name))))
        .collect()
}

/// `data-plane` as `Data plane`, `api` as `API`.
fn words(name: &str) -> String {
    if name == "api" {
        return "API".to_owned();
    }
    let text = name.replace(['-', '_'], " ");
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string())
        .unwrap_or_default();
    first + letters.as_str()
}

/// `key.rotate` as `rotate`: the noun is shown beside it.
fn verb(action: &str) -> &str {
    action.split_once('.').map_or(action, |(_, verb)| verb)
}

fn actor(actor: &Actor) -> String {
    let name = actor.email.clone().unwrap_or_else(|| {
        if actor.user_id.is_some() {
            "a former user"
        } else {
            "nobody"
        }
        .to_owned()
    });
    if actor.token_id.is_some() {
        format!("{name}, by access token")
    } else {
        name
    }
}

fn pretty(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| json.to_owned())
}

#[component]
pub fn Audit(props: &Props) -> Html {
    let here = &props.here;
    let kind = use_state_eq(String::new);
    let call = Call::get(here.path("/audit")).maybe("resourceType", Some((*kind).clone()));
    let pages = use_pages::<AuditEntry>(Some(call));
    let onchange = {
        let (kind, cursors) = (kind.clone(), pages.cursors.dispatcher());
        Callback::from(move |event: Event| {
            cursors.dispatch(crate::state::cursor::Turn::First);
            kind.set(event.target_unchecked_into::<HtmlSelectElement>().value());
        })
    };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={2} /> },
        Loaded::Failed(failure) => {
            html! { <Failed failure={failure.clone()} retry={pages.load.reload.clone()} /> }
        }
        Loaded::Ready(list) if list.data.is_empty() => html! {
            <Empty icon={Icon::Audit} title="Nothing is written here yet" text="Every change to this workspace is, from now on." />
        },
        Loaded::Ready(list) => html! {
            <>
                <div class="card flush"><ul>{ for list.data.iter().map(|entry| one(entry, here)) }</ul></div>
                <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
            </>
        },
    };
    html! {
        <div class="page">
            <PageHead title="Audit" text={html! { "Every change, with what it was before and after. It cannot be edited, and holds no secret." }}>
                <div class="field">
                    <label class="unseen" for="audit-kind">{ "Show" }</label>
                    <select id="audit-kind" class="control" {onchange}>
                        { for kinds().into_iter().map(|(value, text)| html! { <option {value} selected={value == kind.as_str()}>{ text }</option> }) }
                    </select>
                </div>
            </PageHead>
            { body }
        </div>
    }
}

fn one(entry: &AuditEntry, here: &Here) -> Html {
    let verb = verb(entry.action.as_str());
    let tone = match verb {
        "create" | "accept" => Tone::Good,
        "delete" | "revoke" | "remove" => Tone::Bad,
        _ => Tone::Info,
    };
    let from = [entry.ip.clone(), entry.user_agent.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" · ");
    html! {
        <li key={entry.id.clone()} class="entry">
            <details>
                <summary>
                    <span class="soft num nowrap">{ here.zone.show(&entry.at) }</span>
                    <span><Badge {tone}>{ verb.replace(['-', '_'], " ") }</Badge></span>
                    <span class="break"><span class="soft">{ words(&entry.resource.kind) }</span>{ " " }<strong>{ &entry.resource.name }</strong></span>
                    <span class="soft break">{ actor(&entry.actor) }</span>
                </summary>
                <div class="diff">
                    if !from.is_empty() { <p class="soft break">{ "From " }{ from }</p> }
                    if let Some(id) = &entry.request_id { <p class="soft">{ "Request " }<code>{ id }</code></p> }
                    <div class="grid-2">
                        if let Some(before) = &entry.before { <div><h3>{ "Before" }</h3><pre tabindex="0">{ pretty(before.get()) }</pre></div> }
                        if let Some(after) = &entry.after { <div><h3>{ "After" }</h3><pre tabindex="0">{ pretty(after.get()) }</pre></div> }
                    </div>
                </div>
            </details>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_actors_have_words() {
        assert_eq!(verb("key.rotate"), "rotate");
        assert_eq!(verb("login"), "login");
        assert_eq!(words("data-plane"), "Data plane");
        assert!(kinds().iter().any(|(name, _)| *name == "key"));
        assert_eq!(actor(&Actor::default()), "nobody");
        let program = Actor {
            email: Some("a@b.c".into()),
            token_id: Some("1".into()),
            ..Actor::default()
        };
        assert_eq!(actor(&program), "a@b.c, by access token");
    }
}
