//! Making and changing a rate limit.

use super::head::PageHead;
use super::rule_form::{FIELDS, body, values_of};
use super::rule_parts::{Behaviour, Help, Limit, Matching};
use super::rules::delete_rule;
use crate::api::{Call, Loaded, use_load, use_send};
use crate::app::Here;
use crate::route::Route;
use crate::state::form::{Edit, Form};
use crate::state::permission::Need;
use crate::state::toast::Say;
use crate::ui::go::use_leave;
use crate::ui::{Button, Failed, FormFoot, Icon, Kind, Skeletons, use_guard, use_say};
use rateguard_api::rule::Rule;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
    pub id: Option<String>,
}

#[component]
pub fn RuleEditor(props: &Props) -> Html {
    let here = &props.here;
    let path = props.id.as_ref().map(|id| here.path(&format!("/rules/{id}")));
    let load = use_load::<Rule>(path.map(Call::get));
    match (&props.id, &load.state) {
        (None, _) => {
            html! { <Editor here={here.clone()} stored={None::<Rc<Rule>>} tag={None::<String>} reload={Callback::noop()} /> }
        }
        (_, Loaded::Waiting) => html! { <div class="page"><Skeletons shape="tall" count={2} /></div> },
        (_, Loaded::Failed(failure)) => {
            html! { <div class="page"><Failed failure={failure.clone()} retry={load.reload.clone()} /></div> }
        }
        (_, Loaded::Ready(rule)) => html! {
            <Editor here={here.clone()} stored={Some(rule.clone())} tag={load.tag.clone()} reload={load.reload.clone()} />
        },
    }
}

#[derive(Properties, PartialEq)]
struct EditorProps {
    here: Rc<Here>,
    stored: Option<Rc<Rule>>,
    tag: Option<String>,
    reload: Callback<()>,
}

#[component]
fn Editor(props: &EditorProps) -> Html {
    let here = &props.here;
    let default_mode = here.workspace.settings.failure_mode;
    let form = use_reducer(|| Form::new(values_of(props.stored.as_deref(), default_mode)));
    let (send, say, leave) = (use_send(), use_say(), use_leave());
    let deleting = use_state_eq(|| false);
    use_guard(form.is_dirty());
    {
        let form = form.dispatcher();
        use_effect_with(props.stored.clone(), move |stored| {
            if stored.is_some() {
                form.dispatch(Edit::Load(values_of(stored.as_deref(), default_mode)));
            }
        });
    }
    let onsubmit = {
        let (form, send, here, leave) = (form.clone(), send.clone(), here.clone(), leave.clone());
        let (stored, tag, reload) = (props.stored.clone(), props.tag.clone(), props.reload.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let body = match body(&form) {
                Ok(body) => body,
                Err(faults) => return form.dispatch(Edit::Faults(faults)),
            };
            let call = match &stored {
                Some(rule) => {
                    Call::patch(here.path(&format!("/rules/{}", rule.id)), body).based_on(tag.clone())
                }
                None => Call::post(here.path("/rules"), body),
            };
            let (form, say, leave, reload, made) = (
                form.clone(),
                say.clone(),
                leave.clone(),
                reload.clone(),
                stored.is_none(),
            );
            send.run::<Rule>(call, move |answer| match answer {
                Ok(rule) => {
                    form.dispatch(Edit::Saved);
                    say.emit(Say::Good(format!("{} is saved.", rule.name)));
                    if made {
                        leave.emit(Route::Rules);
                    } else {
                        reload.emit(());
                    }
                }
                Err(failure) => {
                    form.dispatch(Edit::Refused(
                        failure,
                        FIELDS.iter().map(|field| (*field).to_owned()).collect(),
                    ));
                }
            });
        })
    };
    let writes = here.can(Need::Write);
    let title = props
        .stored
        .as_ref()
        .map_or_else(|| "Add a rate limit".to_owned(), |rule| rule.name.clone());
    html! {
        <div class="page">
            <PageHead {title} text={html! { "Saving an edit starts with empty counters." }}>
                if let (Some(_), true) = (&props.stored, writes) {
                    <Button kind={Kind::Danger} icon={Icon::Trash} onclick={let deleting = deleting.clone(); move |_| deleting.set(true)}>{ "Delete…" }</Button>
                }
            </PageHead>
            <div class="editor">
                <form class="form" {onsubmit} novalidate=true>
                    <fieldset class="form" disabled={!writes}>
                        <Limit form={form.clone()} />
                        <Matching form={form.clone()} here={here.clone()} />
                        <Behaviour form={form.clone()} />
                    </fieldset>
                    if writes {
                        <FormFoot form={form.clone()} busy={send.busy} edit={props.stored.is_some()} back={Some(Route::Rules)}
                            action={if props.stored.is_some() { "Save" } else { "Add rate limit" }} reload={Some(props.reload.clone())} />
                    }
                </form>
                <Help form={form.clone()} />
            </div>
            if let (Some(rule), true) = (&props.stored, *deleting) {
                { delete_rule(here, rule, {
                    let deleting = deleting.clone();
                    Callback::from(move |()| deleting.set(false))
                }, Callback::from({
                    let leave = leave.clone();
                    move |()| leave.emit(Route::Rules)
                })) }
            }
        </div>
    }
}
