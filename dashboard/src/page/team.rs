//! Members and invitations.

use super::head::PageHead;
use super::keys::Secret;
use crate::api::{Call, Ignored, Loaded, use_load, use_pages, use_send};
use crate::app::{Here, SessionHandle};
use crate::state::form::{Edit, Form};
use crate::state::permission::{Need, role_help, role_name};
use crate::state::session::Change;
use crate::state::table::SortKey;
use crate::state::toast::Say;
use crate::ui::field::Choice;
use crate::ui::{
    Badge, Button, Column, Confirm, Dialog, Empty, Failed, Glyph, Icon, Kind, Menu, Notice, Pager, PickField,
    Row, Skeletons, Table, TextField, Tone, use_guard, use_say,
};
use rateguard_api::invitation::{Invitation, InvitationWithLink};
use rateguard_api::list::List;
use rateguard_api::member::Member;
use rateguard_api::name::{InvitationStatus, Role};
use serde_json::json;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[derive(Clone, PartialEq)]
enum Asked {
    Invite,
    Role(Member),
    Remove(Member),
    Transfer(Member),
}

#[component]
pub fn Team(props: &Props) -> Html {
    let here = &props.here;
    let pages = use_pages::<Member>(Some(Call::get(here.path("/members"))));
    let asked = use_state_eq(|| None::<Asked>);
    let turn = use_state_eq(|| 0_u32);
    let administers = here.can(Need::Administer);
    let reload = pages.load.reload.clone();
    let invite = {
        let asked = asked.clone();
        Callback::from(move |_: MouseEvent| asked.set(Some(Asked::Invite)))
    };
    let body = match &pages.load.state {
        Loaded::Waiting => html! { <Skeletons shape="tall" count={1} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={reload.clone()} /> },
        Loaded::Ready(list) => {
            let rows = list
                .data
                .iter()
                .map(|member| row(member, here, &asked))
                .collect::<Vec<_>>();
            let columns = vec![Column::left("Name"), Column::left("Role"), Column::left("Joined")];
            html! {
                <>
                    <Table label="Members" {columns} {rows} search="Search members" />
                    <Pager cursors={pages.cursors.clone()} next={list.next_cursor.clone()} />
                </>
            }
        }
    };
    let onclose = {
        let asked = asked.clone();
        Callback::from(move |()| asked.set(None))
    };
    let invited = {
        let turn = turn.clone();
        Callback::from(move |()| turn.set(*turn + 1))
    };
    html! {
        <div class="page">
            <PageHead title="Team" text={html! { "Who works in this workspace, and what they may." }}>
                if administers { <Button kind={Kind::Primary} icon={Icon::Plus} onclick={invite}>{ "Invite" }</Button> }
            </PageHead>
            { body }
            if administers { <Invitations here={here.clone()} key={*turn} /> }
            { match (*asked).clone() {
                None => html! {},
                Some(Asked::Invite) => html! { <Invite here={here.clone()} {onclose} ondone={invited} /> },
                Some(Asked::Role(member)) => html! { <ChangeRole here={here.clone()} {member} {onclose} ondone={reload} /> },
                Some(Asked::Remove(member)) => html! { <Part here={here.clone()} {member} transfer=false {onclose} ondone={reload} /> },
                Some(Asked::Transfer(member)) => html! { <Part here={here.clone()} {member} transfer=true {onclose} ondone={reload} /> },
            } }
        </div>
    }
}

fn row(member: &Member, here: &Here, asked: &UseStateHandle<Option<Asked>>) -> Row {
    let me = member.id == here.user.id;
    let ask = |wanted: Asked| {
        let asked = asked.clone();
        Callback::from(move |_: MouseEvent| asked.set(Some(wanted.clone())))
    };
    // An admin manages members up to admin; only an owner touches owners.
    let manages = here.can(Need::Own) || (here.can(Need::Administer) && member.role != Role::Owner);
    let acts = html! {
        if manages || me {
            <Menu label={format!("Actions for {}", member.name)}>
                if manages { <button type="button" onclick={ask(Asked::Role(member.clone()))}><Glyph icon={Icon::Edit} size={16} />{ "Change role…" }</button> }
                if here.can(Need::Own) && !me {
                    <button type="button" onclick={ask(Asked::Transfer(member.clone()))}><Glyph icon={Icon::Key} size={16} />{ "Make owner…" }</button>
                }
                <button type="button" class="bad" onclick={ask(Asked::Remove(member.clone()))}>
                    <Glyph icon={Icon::Leave} size={16} />{ if me { "Leave the workspace…" } else { "Remove…" } }</button>
            </Menu>
        }
    };
    let name = html! {
        <div class="name">{ &member.name }{ " " }if me { <Badge tone={Tone::Brand}>{ "You" }</Badge> }
            <div class="sub break">{ &member.email }</div></div>
    };
    Row {
        key: member.id.clone(),
        search: format!("{} {} {}", member.name, member.email, role_name(member.role)),
        cells: vec![
            (name, SortKey::Text(member.name.clone())),
            (
                html! { role_name(member.role) },
                SortKey::Text(member.role.to_string()),
            ),
            (
                html! { <span class="nowrap">{ here.zone.show_date(&member.created_at) }</span> },
                SortKey::Text(member.created_at.clone()),
            ),
        ],
        acts,
    }
}

/// Roles that one may give.
fn choices(role: Role) -> Vec<Choice> {
    Role::ALL
        .iter()
        .filter(|one| **one >= role)
        .map(|one| Choice::new(one.as_str(), role_name(*one), role_help(*one)))
        .collect()
}

#[derive(Properties, PartialEq)]
struct InviteProps {
    here: Rc<Here>,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn Invite(props: &InviteProps) -> Html {
    let form = use_reducer(|| Form::new([("email", ""), ("role", "MEMBER")]));
    use_guard(form.is_dirty());
    let made = use_state(|| None::<(AttrValue, AttrValue)>);
    let send = use_send();
    let onsubmit = {
        let (form, send, made, path, ondone) = (
            form.clone(),
            send.clone(),
            made.clone(),
            props.here.path("/invitations"),
            props.ondone.clone(),
        );
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = json!({ "email": form.text("email"), "role": form.get("role") });
            let (form, made, ondone) = (form.clone(), made.clone(), ondone.clone());
            send.run::<InvitationWithLink>(Call::post(path.clone(), body), move |answer| match answer {
                Ok(invited) => {
                    let text = if invited.mailed {
                        format!(
                            "It goes to {} by e-mail too. The link is shown this once.",
                            invited.record.email
                        )
                    } else {
                        format!(
                            "Send it to {} yourself: no e-mail goes out. It is shown this once.",
                            invited.record.email
                        )
                    };
                    made.set(Some((invited.accept_url.into(), text.into())));
                    ondone.emit(());
                }
                Err(failure) => form.dispatch(Edit::Refused(
                    failure,
                    vec!["email".to_owned(), "role".to_owned()],
                )),
            });
        })
    };
    if let Some((secret, text)) = (*made).clone() {
        return html! { <Secret title="The invitation's link" {secret} {text} ondone={props.onclose.clone()} /> };
    }
    html! {
        <Dialog title="Invite somebody" onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <TextField form={form.clone()} name="email" label="E-mail" kind="email" focus=true />
                <PickField form={form.clone()} name="role" label="Role" choices={choices(props.here.role())} />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy}>{ "Invite" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

#[derive(Properties, PartialEq)]
struct MemberProps {
    here: Rc<Here>,
    member: Member,
    #[prop_or_default]
    transfer: bool,
    onclose: Callback<()>,
    ondone: Callback<()>,
}

#[component]
fn ChangeRole(props: &MemberProps) -> Html {
    let form = use_reducer(|| Form::new([("role", props.member.role.as_str())]));
    let (send, say) = (use_send(), use_say());
    let onsubmit = {
        let (form, send) = (form.clone(), send.clone());
        let (path, name) = (
            props.here.path(&format!("/members/{}", props.member.id)),
            props.member.name.clone(),
        );
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let (form, say, name, onclose, ondone) = (
                form.clone(),
                say.clone(),
                name.clone(),
                onclose.clone(),
                ondone.clone(),
            );
            send.run::<Ignored>(
                Call::patch(path.clone(), json!({ "role": form.get("role") })),
                move |answer| match answer {
                    Ok(_) => {
                        say.emit(Say::Good(format!("The role of {name} is changed.")));
                        onclose.emit(());
                        ondone.emit(());
                    }
                    Err(failure) => form.dispatch(Edit::Refused(failure, vec!["role".to_owned()])),
                },
            );
        })
    };
    html! {
        <Dialog title={format!("Role of {}", props.member.name)} onclose={props.onclose.clone()}>
            <form class="stack" {onsubmit} novalidate=true>
                <PickField form={form.clone()} name="role" label="Role" choices={choices(props.here.role())} />
                if let Some(fault) = &form.fault { <Notice tone={Tone::Bad}>{ fault.clone() }</Notice> }
                <footer>
                    <Button onclick={props.onclose.reform(|_| ())}>{ "Cancel" }</Button>
                    <Button kind={Kind::Primary} submit=true busy={send.busy} disabled={!form.is_dirty()}>{ "Change role" }</Button>
                </footer>
            </form>
        </Dialog>
    }
}

/// Removing a member, leaving, or giving the workspace away.
#[component]
fn Part(props: &MemberProps) -> Html {
    let (send, say) = (use_send(), use_say());
    let fault = use_state(|| None::<AttrValue>);
    let session = use_context::<SessionHandle>();
    let me = props.member.id == props.here.user.id;
    let onconfirm = {
        let (send, fault, here, member, transfer) = (
            send.clone(),
            fault.clone(),
            props.here.clone(),
            props.member.clone(),
            props.transfer,
        );
        let (onclose, ondone) = (props.onclose.clone(), props.ondone.clone());
        Callback::from(move |()| {
            let call = if transfer {
                Call::post(here.path("/transfer-ownership"), json!({ "memberId": member.id }))
            } else {
                Call::delete(here.path(&format!("/members/{}", member.id)))
            };
            let (say, fault, onclose, ondone, session) = (
                say.clone(),
                fault.clone(),
                onclose.clone(),
                ondone.clone(),
                session.clone(),
            );
            let (id, name) = (here.workspace.id.clone(), member.name.clone());
            send.run::<Ignored>(call, move |answer| match answer {
                Ok(_) => {
                    let text = if transfer {
                        format!("{name} is the owner.")
                    } else {
                        format!("{name} has left the workspace.")
                    };
                    say.emit(Say::Good(text));
                    onclose.emit(());
                    match &session {
                        Some(session) if me => session.dispatch(Change::Removed(id)),
                        Some(session) if transfer => session.dispatch(Change::Restart),
                        _ => ondone.emit(()),
                    }
                }
                Err(failure) => fault.set(Some(failure.text().into())),
            });
        })
    };
    let (title, action, text) = match (props.transfer, me) {
        (true, _) => (
            "Give the workspace away?",
            "Make owner",
            "They become its owner and you an admin. Only they can undo that.",
        ),
        (false, true) => (
            "Leave the workspace?",
            "Leave",
            "You see nothing of it any more, until somebody invites you again.",
        ),
        (false, false) => (
            "Remove this member?",
            "Remove",
            "They see nothing of the workspace any more. Keys stay valid.",
        ),
    };
    html! {
        <Confirm {title} {action} name={props.member.email.clone()} busy={send.busy} fault={(*fault).clone()} {onconfirm} onclose={props.onclose.clone()}>
            <p>{ text }</p>
        </Confirm>
    }
}

#[component]
fn Invitations(props: &Props) -> Html {
    let here = &props.here;
    let load = use_load::<List<Invitation>>(Some(Call::get(here.path("/invitations"))));
    let (send, say) = (use_send(), use_say());
    let revoke = {
        let (here, reload) = (here.clone(), load.reload.clone());
        Callback::from(move |id: String| {
            let (say, reload) = (say.clone(), reload.clone());
            send.run::<Ignored>(
                Call::delete(here.path(&format!("/invitations/{id}"))),
                move |answer| match answer {
                    Ok(_) => reload.emit(()),
                    Err(failure) => say.emit(Say::Bad(failure.text())),
                },
            );
        })
    };
    let body = match &load.state {
        Loaded::Waiting => html! { <Skeletons count={2} /> },
        Loaded::Failed(failure) => html! { <Failed failure={failure.clone()} retry={load.reload.clone()} /> },
        Loaded::Ready(list) if list.data.is_empty() => {
            html! { <Empty icon={Icon::Team} title="Nobody is invited" small=true /> }
        }
        Loaded::Ready(list) => {
            let rows = list.data.iter().map(|invitation| {
                let (tone, state) = match invitation.status {
                    InvitationStatus::Pending => (Tone::Info, "Waiting"),
                    InvitationStatus::Accepted => (Tone::Good, "Accepted"),
                    InvitationStatus::Declined => (Tone::Plain, "Declined"),
                    InvitationStatus::Revoked => (Tone::Plain, "Taken back"),
                    InvitationStatus::Expired => (Tone::Plain, "Expired"),
                };
                let (revoke, id) = (revoke.clone(), invitation.id.clone());
                Row {
                    key: invitation.id.clone(),
                    search: invitation.email.clone(),
                    cells: vec![
                        (html! { <span class="name break">{ &invitation.email }</span> }, SortKey::Text(invitation.email.clone())),
                        (html! { role_name(invitation.role) }, SortKey::Text(invitation.role.to_string())),
                        (html! { <Badge {tone} dot=true>{ state }</Badge> }, SortKey::Text(state.to_owned())),
                        (html! { here.zone.show_date(&invitation.expires_at) }, SortKey::Text(invitation.expires_at.clone())),
                    ],
                    acts: html! {
                        if invitation.status == InvitationStatus::Pending {
                            <Button small=true kind={Kind::Danger} onclick={move |_| revoke.emit(id.clone())}>{ "Take back" }</Button>
                        }
                    },
                }
            });
            let columns = vec![
                Column::left("E-mail"),
                Column::left("Role"),
                Column::left("State"),
                Column::left("Expires"),
            ];
            html! { <Table label="Invitations" {columns} rows={rows.collect::<Vec<_>>()} /> }
        }
    };
    html! { <section class="stack tight"><h2>{ "Invitations" }</h2>{ body }</section> }
}
